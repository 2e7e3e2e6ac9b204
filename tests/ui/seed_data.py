"""Datasets as imports make them, through real jobs: what the pages of data are looked at with."""

import io
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

import loopwright.data.jobs  # noqa: F401 - what the worker does
from loopwright.data import CheckSpec, DatasetSpec, SourceSpec
from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, SYSTEM, Actor
from loopwright.kernel.clock import FixedClock, WallClock
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.verbs import Role
from loopwright.server.context import ServerContext
from tests.inprocess import InProcessWorker
from tests.ui.seed_ground import NASTY, NOW, PROJECT

WIDE = 130
"""Columns of the widest dataset."""


class Ground:
    """A project whose rows come by a worker of this process."""

    def __init__(self, context: ServerContext) -> None:
        self.dispatcher, self.blobs = context.dispatcher, context.blobs
        folder = Path(tempfile.mkdtemp())
        self.worker = InProcessWorker(
            context.dispatcher, context.blobs, folder, FixedClock(WallClock().now_us()), project=PROJECT
        )

    def call(self, verb: str, who: str = "person:ana", **args: Any) -> Any:
        actor = Actor(who, {PROJECT: Role.ADMIN})
        return self.dispatcher.call(verb, to_builtins(args), actor=actor, project=PROJECT)

    def declare(self, name: str, key: list[str], **more: Any) -> None:
        self.call("data.declare", spec=DatasetSpec(name, SourceSpec("push"), key, **more))

    def load(
        self, name: str, frame: pl.DataFrame, operation: str = "append", who: str = "person:ana", **more: Any
    ) -> None:
        body = io.BytesIO()
        frame.write_parquet(body)
        rows = self.blobs.put(body.getvalue())
        self.dispatcher.write(PROJECT, SERVICE_ACTOR, lambda tx: tx.keep_blobs(rows))
        self.call("data.start_import", who, dataset=name, operation=operation, blobs=[rows], **more)
        self.worker.run()

    def compare(self, name: str, before: int, after: int) -> None:
        self.call("data.start_diff", dataset=name, before=before, after=after)
        self.worker.run()


def flights(day: int, rows: int = 60) -> pl.DataFrame:
    """Return flights of a day of March 2013, every third of them late."""
    start = datetime(2013, 3, day, 5, tzinfo=UTC)
    return pl.DataFrame(
        {
            "flight_id": [f"F{day:02}{number:03}" for number in range(rows)],
            "scheduled_at": [start + timedelta(minutes=9 * number) for number in range(rows)],
            "origin": [("JFK", "EWR", "LGA")[number % 3] for number in range(rows)],
            "temp": [None if number % 10 == 9 else 40.0 + number % 7 for number in range(rows)],
            "is_late": [number % 3 == 0 for number in range(rows)],
        }
    )


def seed_data(context: ServerContext) -> dict[str, str]:
    """Fill the project ``flights`` with datasets of every kind of row."""
    args = {"name": PROJECT, "clock": "replay", "clock_at": NOW}
    context.dispatcher.call("projects.create", args, actor=LOCAL_ACTOR, project=SYSTEM)
    ground = Ground(context)
    _flights(ground)
    _odd(ground)
    _people(ground)
    wide = pl.DataFrame({"id": range(30), **{f"sensor_{number:03}": [number * 0.5] * 30 for number in range(WIDE - 1)}})
    ground.declare("wide", ["id"])
    ground.load("wide", wide)
    ground.declare("few", ["id"])
    ground.load("few", pl.DataFrame({"id": [1], "at": [datetime(2013, 3, 1, tzinfo=UTC)], "name": ["only"]}))
    ground.load("few", pl.DataFrame({"id": [1]}), "delete")
    ground.declare("none", ["id"])
    return {}


def _flights(ground: Ground) -> None:
    """Two days, corrections, cancellations, a version that is held, one released, one restored, one in other units."""
    ground.declare(
        "flights",
        ["flight_id"],
        time="scheduled_at",
        checks=[CheckSpec("between", "temp", {"low": -60, "high": 130}), CheckSpec("not_null", "origin")],
    )
    ground.load("flights", flights(1), who="service:nightly", reason="day 1")
    ground.load("flights", flights(2), who="service:nightly", reason="day 2")
    corrected = flights(2).head(4).with_columns(temp=pl.col("temp") + 1.5, is_late=pl.lit(True))
    ground.load("flights", corrected, "upsert", who="person:bo", reason="the airline corrected them")
    ground.load("flights", flights(1).head(3).select("flight_id", "scheduled_at"), "delete", reason="cancelled")
    hot = flights(3).with_columns(temp=pl.when(pl.col("origin") == "JFK").then(999.0).otherwise("temp"))
    ground.load("flights", hot, reason="the sensor broke")
    ground.load("flights", hot.head(6), reason="a part of it")
    ground.call("data.release_quarantine", "person:cy", dataset="flights", version=6, reason="the two rows are known")
    ground.call("data.restore", "person:cy", dataset="flights", version=4, reason="they were not")
    celsius = pl.concat([flights(1), flights(2)]).with_columns(temp=(pl.col("temp") - 32) / 1.8, gate=pl.lit("B7"))
    ground.load("flights", celsius, "replace", reason="another feed")
    for before, after in ((2, 3), (3, 4), (7, 8)):
        ground.compare("flights", before, after)


def _odd(ground: Ground) -> None:
    ground.declare("odd", ["id"])
    odd = pl.DataFrame(
        {
            "id": range(30),
            NASTY: [NASTY, "a & b", '"quoted"'] * 10,
            "näme 東京": ["Zürich", "القاهرة", ""] * 10,
            "nothing": pl.Series([None] * 30, dtype=pl.Float64),
            "long": ["Lorem ipsum dolor sit amet " * 20, "short", None] * 10,
            "inf": [float("inf"), float("nan"), 1.0] * 10,
            "day": [date(2013, 3, 1 + number) for number in range(30)],
            "list": [[1, 2]] * 30,
        }
    )
    ground.load("odd", odd)
    ground.load("odd", odd.head(3).with_columns(pl.lit(f"</del>{NASTY}").alias(NASTY)), "upsert")
    ground.compare("odd", 1, 2)


def _people(ground: Ground) -> None:
    ground.declare("people", ["email"], personal=["email", "age"], checks=[CheckSpec("between", "age", {"low": 0})])
    ages = [20 + number for number in range(9)] + [7341]
    people = pl.DataFrame({"email": [f"ann{n}@example.org" for n in range(10)], "age": ages, "plan": ["free"] * 10})
    ground.load("people", people)
    ground.load("people", people.head(2).with_columns(age=pl.col("age") + 5000, plan=pl.lit("pro")), "upsert")
    ground.load("people", people.head(1).with_columns(email=pl.lit("bo@example.org"), age=pl.lit(-7342)))
    ground.compare("people", 1, 2)
