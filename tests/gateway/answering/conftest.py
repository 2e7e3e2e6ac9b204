"""A replayed project whose requests look features up, for what predicts by them and what only looks."""

from typing import Any

import msgspec
import pytest

from loopwright.data import DatasetSpec, KnownAt, SourceSpec
from loopwright.features import Aggregate, AggregateViewSpec, ColumnViewSpec, LabelSpec, RequestSpec, ServiceSpec
from loopwright.kernel.clock import HOUR_US, parse_moment
from loopwright.kernel.code import CodeRef
from loopwright.kernel.documents import digest_bytes
from loopwright.registry import InputColumn
from loopwright.registry.flavours.constant import ConstantModel
from tests.gateway.conftest import GatewayProcess, World

NOON = parse_moment("2013-03-01T12:00:00Z")
PREDICT = "/v1/past/deployments/late/predict"
CODE = """
import os
import polars as pl

def with_label(raw):
    return raw.with_columns(is_late=pl.col("arr_delay") > 15)

def asked(r):
    if (r["distance"] < 0).any():
        raise ValueError("negative distance")
    if (r["distance"] == 0).any():
        return r.head(0).select("carrier", hour=0, far=0)
    if (r["distance"] > 25_000).any():
        raise ValueError(f"tokens seen: {[name for name in os.environ if name.endswith('_TOKEN')]}")
    return r.select("carrier", hour=pl.col("scheduled_at").dt.hour(), far=pl.col("distance") > 1000)
"""
INPUTS = [
    InputColumn("carrier", "category", ["AA", "UA"]),
    InputColumn("hour", "number"),
    InputColumn("far", "number"),
    InputColumn("temp", "number"),
    InputColumn("carrier_late_share_3h", "number"),
    InputColumn("carrier_landed_3h", "number"),
]


@pytest.fixture
def planned(world: World) -> World:
    """A replayed project with a plan: an on-request function, a column view and an aggregate view."""
    return plan(world)


def plan(world: World) -> World:
    """Make a project ``past`` whose deployment ``late`` answers by a plan."""
    world.project("past", "replay")
    digest = world.code(flights=CODE)
    plain = msgspec.to_builtins
    transform = CodeRef(digest, "flights", "with_label", digest_bytes(b"f1"))
    known = {"is_late": KnownAt("landed_at")}
    flights = DatasetSpec("flights", SourceSpec("push"), ["flight_id"], "scheduled_at", known, transform)
    weather = DatasetSpec("weather", SourceSpec("push"), ["origin"], "observed_at")
    function = CodeRef(digest, "flights", "asked", digest_bytes(b"f2"))
    inputs = ["scheduled_at", "carrier", "distance"]
    late = [Aggregate("late_share", "mean", "is_late"), Aggregate("landed", "count", "is_late")]
    specs: list[tuple[str, Any]] = [
        ("data.declare", flights),
        ("data.declare", weather),
        ("features.declare_request", RequestSpec("asked", inputs, ["carrier", "hour", "far"], function)),
        ("features.declare_view", ColumnViewSpec("at_origin", "weather", "origin", ["temp"], 3 * HOUR_US)),
        ("features.declare_view", AggregateViewSpec("recent", "flights", "carrier", [3 * HOUR_US], late)),
        (
            "features.declare_service",
            ServiceSpec("late", ["asked"], ["at_origin", "recent"], LabelSpec("flights", "is_late"), "binary"),
        ),
    ]
    for verb, spec in specs:
        world.server.call(verb, "past", spec=plain(spec))
    frozen = world.server.call("features.freeze_plan", "past", service="late")
    options = {"project": "past", "plan_digest": frozen, "service": "late"}
    version = world.register(ConstantModel(0.3), INPUTS, **options)
    world.declare(project="past")
    world.release(version, project="past")
    return world


@pytest.fixture
def gateway(planned: World) -> GatewayProcess:
    return started(planned.gateway())


def started(gateway: GatewayProcess) -> GatewayProcess:
    gateway.start()
    gateway.wait_for(lambda health: bool(health["releases"]))
    return gateway


def flight(**fields: Any) -> dict[str, Any]:
    row = {"flight_id": "UA1", "scheduled_at": NOON, "carrier": "UA", "origin": "JFK", "distance": 1400}
    return {**row, **fields}


def landed(flight_id: str, delay: float, at: int = NOON) -> dict[str, Any]:
    return {
        "flight_id": flight_id,
        "scheduled_at": at - 2 * HOUR_US,
        "landed_at": at,
        "carrier": "UA",
        "arr_delay": delay,
    }
