"""Prints how long a year of flights takes: `python tests/features/speed.py [rows]`. A look, not a timed test."""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from loopwright.data import KnownAt
from loopwright.features import (
    Aggregate,
    AggregateViewSpec,
    ColumnViewSpec,
    DatasetPushSpec,
    FeaturePlan,
    LabelSpec,
    bind_views,
    build_training_set,
)
from loopwright.features.online import open_online_store
from loopwright.features.plans import plan_columns
from loopwright.kernel.clock import HOUR_US

ENTITIES = {"carrier": 16, "origin": 3, "dest": 105, "tailnum": 4000}


def timed(name: str, work: Callable[[], Any], times: int = 1) -> None:
    """Run something and print its median time."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append((time.perf_counter() - start) * 1000)
    print(f"{name:40} {np.median(taken):9.2f} ms")


def flown(rows: int, chance: np.random.Generator) -> pl.DataFrame:
    """Return made-up flights of a year, landed 1 to 8 hours after schedule."""
    scheduled = np.sort(chance.integers(0, 365 * 24 * 60, rows)) * 60_000_000
    landed = scheduled + chance.integers(HOUR_US, 8 * HOUR_US, rows)
    frame = pl.DataFrame({"flight_id": [f"F{place}" for place in range(rows)], "at": scheduled, "landed_at": landed})
    names = [pl.Series(name, chance.integers(0, count, rows)).cast(pl.String) for name, count in ENTITIES.items()]
    late = pl.Series("is_late", chance.random(rows) < 0.2)
    return frame.with_columns(pl.col("at", "landed_at").cast(pl.Datetime("us", "UTC")), *names, late)


def main() -> None:
    """Build a training set, fill the online store, push and look up 60 flights."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    flights = flown(rows, np.random.default_rng(0))
    shares = [Aggregate("late_share", "mean", "is_late"), Aggregate("landed", "count", "is_late")]
    views: list[ColumnViewSpec | AggregateViewSpec] = [
        AggregateViewSpec(f"recent_{name}", "flights", name, [3 * HOUR_US, 24 * HOUR_US], shares) for name in ENTITIES
    ]
    views.append(ColumnViewSpec("plane", "flights", "tailnum", ["dest"]))
    dataset = DatasetPushSpec("flights", ["flight_id"], "at", {"is_late": KnownAt("landed_at")})
    label = LabelSpec("flights", "is_late")
    plan = FeaturePlan("late", "at", ["flight_id"], [], views, [dataset], plan_columns([], views), label, "binary")
    end = 400 * 24 * HOUR_US
    bounds: dict[str, Any] = {"start_at": None, "end_at": end, "known_by": end}
    scans = {"flights": flights.lazy()}
    timed(f"training set of {rows} rows", lambda: build_training_set(plan, scans, run_requests=no_requests, **bounds))
    with tempfile.TemporaryDirectory() as folder:
        store = open_online_store(str(Path(folder) / "online.sqlite"))
        bound = bind_views(plan, "speed")
        timed("fill 5 views", lambda: [store.fill(view, flights[:-6000], [], end) for view in bound])
        batches = iter(flights[-6000:].iter_slices(60))
        timed("push 60 rows to 5 views", lambda: store.push(bound, next(batches)), 100)
        asked = {name: flights[name][-60:].to_list() for name in ENTITIES}
        at_us = flights["at"].dt.epoch("us")[-60:].to_numpy()
        timed("look 60 rows up in 5 views", lambda: store.lookup(bound, asked, at_us), 100)
        one = {name: entities[:1] for name, entities in asked.items()}
        timed("look 1 row up in 5 views", lambda: store.lookup(bound, one, at_us[:1]), 100)
        store.close()


def no_requests(request: Any, inputs: pl.DataFrame) -> pl.DataFrame:
    """Nothing is computed on request here."""
    raise AssertionError(request.name)


if __name__ == "__main__":
    main()
