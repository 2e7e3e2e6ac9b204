"""Flights and weather in small: a project that declares them, a worker that runs jobs, a plan without a database."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from loopwright.data import DatasetSpec, KnownAt, SourceSpec
from loopwright.features import (
    Aggregate,
    AggregateViewSpec,
    ColumnViewSpec,
    DatasetPushSpec,
    FeaturePlan,
    LabelSpec,
    RequestSpec,
    ServiceSpec,
)
from loopwright.features.meanings import plan_columns
from loopwright.features.requests import RunRequest, request_runner
from loopwright.governance import Dispatcher
from loopwright.kernel.clock import HOUR_US, Clock
from loopwright.kernel.code import CodeRef
from loopwright.store.blobs import BlobStore
from loopwright.store.types import BlobRef
from tests.inprocess import InProcessWorker

CODE = CodeRef("c" * 64, "flights", "asked", "f" * 64)
ASKED = RequestSpec("asked", ["scheduled_at", "carrier"], ["carrier", "hour"], CODE)
AT_ORIGIN = ColumnViewSpec("at_origin", "weather", "origin", ["temp", "sky"], 3 * HOUR_US)
RECENT = AggregateViewSpec(
    "recent_carrier",
    "flights",
    "carrier",
    [3 * HOUR_US, 24 * HOUR_US],
    [Aggregate("late_share", "mean", "is_late"), Aggregate("landed", "count", "is_late")],
)
LANDED = AggregateViewSpec(
    "landed_origin", "flights", "origin", [2 * HOUR_US], [Aggregate("minutes", "sum", "delay")], counts="known"
)
FLIGHTS = DatasetSpec(
    "flights",
    SourceSpec("frame"),
    ["flight_id"],
    "scheduled_at",
    {"is_late": KnownAt("landed_at"), "delay": KnownAt("landed_at", HOUR_US)},
)
WEATHER = DatasetSpec(
    "weather", SourceSpec("frame"), ["origin", "observed_at"], "observed_at", {"*": KnownAt("observed_at", HOUR_US)}
)
SERVICE = ServiceSpec(
    "late", ["asked"], ["at_origin", "recent_carrier", "landed_origin"], LabelSpec("flights", "is_late"), "binary"
)


def asked(rows: pl.DataFrame) -> pl.DataFrame:
    """The on-request function of these tests."""
    return rows.select("carrier", hour=pl.col("scheduled_at").dt.hour())


def flights(rows: list[tuple[str, int, int | None, str | None, str | None, float | None]]) -> pl.DataFrame:
    """Return flights: id, scheduled and landed in hours, carrier, origin, minutes of delay."""
    schema = {
        "flight_id": pl.String,
        "scheduled_at": pl.Int64,
        "landed_at": pl.Int64,
        "carrier": pl.String,
        "origin": pl.String,
        "delay": pl.Float64,
    }
    frame = pl.DataFrame(rows, schema, orient="row")
    moments = (pl.col("scheduled_at", "landed_at") * HOUR_US).cast(pl.Datetime("us", "UTC"))
    return frame.with_columns(moments, is_late=pl.col("delay") > 15)


def weather(rows: list[tuple[str, int, float | None, str | None]]) -> pl.DataFrame:
    """Return observations: origin, hour, temperature, sky."""
    schema = {"origin": pl.String, "observed_at": pl.Int64, "temp": pl.Float64, "sky": pl.String}
    frame = pl.DataFrame(rows, schema, orient="row")
    return frame.with_columns((pl.col("observed_at") * HOUR_US).cast(pl.Datetime("us", "UTC")))


def small_plan() -> FeaturePlan:
    """Return the plan of the service ``late``, without a database."""
    datasets = [
        DatasetPushSpec(spec.name, spec.key, spec.time or "", spec.known_at, dtypes={"sky": "String"})
        for spec in (FLIGHTS, WEATHER)
    ]
    views = [AT_ORIGIN, RECENT, LANDED]
    columns = plan_columns([ASKED], views)
    return FeaturePlan(
        "late", "scheduled_at", ["flight_id"], [ASKED], views, datasets, columns, SERVICE.label, "binary", "c" * 64
    )


@dataclass
class Small:
    """What tests of this room build from."""

    plan: FeaturePlan
    run_requests: RunRequest
    flights: Callable[..., pl.DataFrame] = flights
    weather: Callable[..., pl.DataFrame] = weather
    service: ServiceSpec = SERVICE


@pytest.fixture(scope="session")
def small() -> Small:
    return Small(small_plan(), request_runner(lambda code: asked))


@dataclass
class Worker(InProcessWorker):
    """Runs queued jobs, and imports rows."""

    def load(self, dataset: str, frame: pl.DataFrame, operation: str = "append", **options: Any) -> int:
        """Import rows for real; return the version."""
        body = io.BytesIO()
        frame.write_parquet(body)
        blob: BlobRef = self.blobs.put(body.getvalue())
        args = {"dataset": dataset, "operation": operation, "blobs": [blob], **options}
        result = self.run_job(self.call("data.start_import", args, "flights"))
        assert result is not None
        assert result["state"] == "ready", result
        return int(result["version"])


@pytest.fixture
def declared(call: Callable[..., Any]) -> Callable[..., Any]:
    """The project's ``call``, with datasets, views and service declared."""
    for dataset in (FLIGHTS, WEATHER):
        call("data.declare", spec=dataset)
    for view in (AT_ORIGIN, RECENT, LANDED):
        call("features.declare_view", spec=view)
    call("features.declare_request", spec=ASKED)
    call("features.declare_service", spec=SERVICE)
    return call


@pytest.fixture
def worker(dispatcher: Dispatcher, blob_store: BlobStore, tmp_path: Path, wall: Clock) -> Worker:
    return Worker(dispatcher, blob_store, tmp_path, wall)


FLOWN = [("F1", 1, 2, "UA", "JFK", 30.0), ("F2", 2, 5, "UA", "JFK", 0.0), ("F3", 8, 9, "B6", "EWR", 5.0)]


@pytest.fixture
def loaded(declared: Callable[..., Any], worker: Worker) -> Callable[..., Any]:
    """The project's ``call``, with three flights and the weather of two airports imported."""
    worker.load("flights", flights(FLOWN))
    worker.load("weather", weather([("JFK", 1, 20.0, "clear"), ("EWR", 6, 10.0, None)]))
    return declared
