"""The online store: pushing rows to five views and looking entities up, against rows of bare SQLite, one an entity."""

import sqlite3
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from frame import Bench, scratch

from loopwright.data import KnownAt
from loopwright.features import (
    Aggregate,
    AggregateViewSpec,
    BoundView,
    ColumnViewSpec,
    DatasetPushSpec,
    FeaturePlan,
    LabelSpec,
    bind_views,
)
from loopwright.features.meanings import plan_columns
from loopwright.features.online import OnlineStore, open_online_store
from loopwright.kernel.clock import HOUR_US

ENTITIES = {"carrier": 16, "origin": 3, "dest": 105, "tailnum": 4000}
FLIGHTS, PUSHED, TIMES = 100_000, 60, 100
END = 400 * 24 * HOUR_US
RIVAL = "bare sqlite3, a row an entity and view"


def flown(chance: np.random.Generator) -> pl.DataFrame:
    """Return made-up flights of a year, landed 1 to 8 hours after schedule."""
    scheduled = np.sort(chance.integers(0, 365 * 24 * 60, FLIGHTS)) * 60_000_000
    landed = scheduled + chance.integers(HOUR_US, 8 * HOUR_US, FLIGHTS)
    frame = pl.DataFrame({"flight_id": [f"F{place}" for place in range(FLIGHTS)], "at": scheduled, "landed_at": landed})
    names = [pl.Series(name, chance.integers(0, count, FLIGHTS)).cast(pl.String) for name, count in ENTITIES.items()]
    late = pl.Series("is_late", chance.random(FLIGHTS) < 0.2)
    return frame.with_columns(pl.col("at", "landed_at").cast(pl.Datetime("us", "UTC")), *names, late)


def declared() -> list[BoundView]:
    """Return shares of late flights by four entities, and where a plane flew last."""
    shares = [Aggregate("late_share", "mean", "is_late"), Aggregate("landed", "count", "is_late")]
    views: list[ColumnViewSpec | AggregateViewSpec] = [
        AggregateViewSpec(f"recent_{name}", "flights", name, [3 * HOUR_US, 24 * HOUR_US], shares) for name in ENTITIES
    ]
    views.append(ColumnViewSpec("plane", "flights", "tailnum", ["dest"]))
    dataset = DatasetPushSpec("flights", ["flight_id"], "at", {"is_late": KnownAt("landed_at")})
    label = LabelSpec("flights", "is_late")
    plan = FeaturePlan("late", "at", ["flight_id"], [], views, [dataset], plan_columns([], views), label, "binary")
    return bind_views(plan, "bench")


def median_ms(work: Callable[[], object]) -> float:
    took = []
    for _ in range(TIMES):
        started = time.perf_counter()
        work()
        took.append(time.perf_counter() - started)
    return statistics.median(took) * 1e3


class Bare:
    """A table with one row an entity and view; a push is one commit.

    Args:
        file: Of the database.
        views: Name of each view with its entity.
    """

    def __init__(self, file: Path, views: list[tuple[str, str]]) -> None:
        self._views = views
        self._connection = sqlite3.connect(file, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.execute("CREATE TABLE kept (view, entity, value, PRIMARY KEY (view, entity)) WITHOUT ROWID")

    def push(self, rows: pl.DataFrame) -> None:
        kept = [(view, entity, 0.5) for view, name in self._views for entity in rows[name].to_list()]
        self._connection.execute("BEGIN IMMEDIATE")
        self._connection.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", kept)
        self._connection.execute("COMMIT")

    def lookup(self, asked: dict[str, list[str]]) -> None:
        one = "SELECT value FROM kept WHERE view = ? AND entity = ?"
        for view, name in self._views:
            for entity in asked[name]:
                self._connection.execute(one, (view, entity)).fetchone()

    def close(self) -> None:
        self._connection.close()


def measure(bench: Bench, store: OnlineStore, bare: Bare, flights: pl.DataFrame) -> None:
    views, last = declared(), FLIGHTS - 2 * TIMES * PUSHED
    bench.progress(f"a fill of {last:,} flights")
    for view in views:
        store.fill(view, flights[:last], [], END)
    bench.progress("pushes")

    def batches() -> Iterator[pl.DataFrame]:
        return flights[last:].iter_slices(PUSHED)

    ours, theirs = batches(), batches()
    what = f"push {PUSHED} rows to {len(views)} views"
    pushed = median_ms(lambda: store.push(views, next(ours)))
    bench.claim(what, pushed, "ms", rival=median_ms(lambda: bare.push(next(theirs))), rival_name=RIVAL)
    bench.progress("look-ups")
    for rows in (PUSHED, 1):
        asked = {name: flights[name][-rows:].to_list() for name in ENTITIES}
        at_us = flights["at"].dt.epoch("us")[-rows:].to_numpy()
        took = median_ms(partial(store.lookup, views, asked, at_us))
        rival = median_ms(partial(bare.lookup, asked))
        bench.claim(
            f"look {rows} row{'s' * (rows > 1)} up in {len(views)} views", took, "ms", rival=rival, rival_name=RIVAL
        )


def main() -> None:
    bench = Bench("online")
    with scratch() as folder:
        store = open_online_store(str(folder / "online.sqlite"))
        bare = Bare(folder / "bare.sqlite", [*((f"recent_{name}", name) for name in ENTITIES), ("plane", "tailnum")])
        measure(bench, store, bare, flown(np.random.default_rng(0)))
        bare.close()
        store.close()
    bench.finish()


if __name__ == "__main__":
    main()
