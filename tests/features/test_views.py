"""Declaring views, requests and services."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from loopwright.features import Aggregate, AggregateViewSpec, ColumnViewSpec
from loopwright.kernel.errors import InvalidInput, NotFound

Call = Callable[..., Any]


def test_the_same_declaration_is_once_and_a_change_is_a_new_digest(declared: Call) -> None:
    view = ColumnViewSpec("at_origin", "weather", "origin", ["temp", "sky"], 3_600_000_000)
    first = declared("features.declare_view", spec=view)
    events = len(declared("audit.list", type_prefix="features."))
    assert declared("features.declare_view", spec=view) == first
    assert len(declared("audit.list", type_prefix="features.")) == events
    changed = declared("features.declare_view", spec=msgspec.structs.replace(view, ttl_us=None))
    assert changed.digest != first.digest
    event = declared("audit.list", type_prefix="features.view_declared")[0]
    assert (event.payload["before"], event.payload["digest"]) == (first.digest, changed.digest)


def test_an_edit_elsewhere_in_the_project_does_not_change_a_request(declared: Call) -> None:
    before = declared("features.get", kind="request", name="asked")
    spec = before.spec
    packed_again = {**spec, "function": {**spec["function"], "digest": "d" * 64}}
    assert declared("features.declare_request", spec=packed_again).digest == before.digest
    edited = {**spec, "function": {**spec["function"], "function_digest": "e" * 64}}
    assert declared("features.declare_request", spec=edited).digest != before.digest


def test_a_misspelt_column_is_told_with_the_nearest(declared: Call, worker: Any, small: Any) -> None:
    worker.load("weather", small.weather([("JFK", 1, 20.0, "clear")]))
    with pytest.raises(InvalidInput, match=r"no column temmp.*did you mean temp"):
        declared("features.declare_view", spec=ColumnViewSpec("v", "weather", "origin", ["temmp"]))


def test_a_service_names_what_is_declared(declared: Call, small: Any) -> None:
    with pytest.raises(NotFound, match=r"recent_carier.*did you mean recent_carrier"):
        declared("features.declare_service", spec=msgspec.structs.replace(small.service, views=["recent_carier"]))
    with pytest.raises(InvalidInput, match=r"field: task.*did you mean regression"):
        declared("features.declare_service", spec=msgspec.structs.replace(small.service, task="regresion"))


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (ColumnViewSpec("v", "weather", "origin", []), "columns"),
        (ColumnViewSpec("v", "weather", "origin", ["temp"], 0), "ttl_us"),
        (AggregateViewSpec("v", "flights", "carrier", [], [Aggregate("n", "count", "is_late")]), "windows_us"),
        (AggregateViewSpec("v", "flights", "carrier", [1, 1], [Aggregate("n", "count", "is_late")]), "windows_us"),
        (AggregateViewSpec("v", "flights", "carrier", [1], []), "aggregates"),
        (ColumnViewSpec("../v", "weather", "origin", ["temp"]), "name"),
    ],
)
def test_what_cannot_be_computed_is_refused(declared: Call, spec: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        declared("features.declare_view", spec=spec)
    assert refused.value.field == field


def test_a_view_needs_a_dataset_with_time(declared: Call) -> None:
    declared("data.declare", spec={"name": "planes", "source": {"kind": "frame"}, "key": ["tailnum"]})
    with pytest.raises(InvalidInput, match="has no time"):
        declared("features.declare_view", spec=ColumnViewSpec("v", "planes", "tailnum", ["seats"]))


def test_definitions_are_listed_by_kind(declared: Call) -> None:
    names = [found.name for found in declared("features.list", kind="view")]
    assert names == ["at_origin", "landed_origin", "recent_carrier"]
