"""Recording training sets: versions, lineage, repetition."""

from collections.abc import Callable
from typing import Any

import pytest

from loopwright.features import TrainingSetSpec
from loopwright.governance import Dispatcher
from loopwright.kernel.errors import InvalidInput, NotFound, PermissionDenied
from loopwright.store.types import BlobRef
from tests.store.interleaving import interruptions

Call = Callable[..., Any]


@pytest.fixture
def worker(worker: Any, declared: Call, small: Any) -> Any:
    """A worker that has imported two versions of flights and one of weather."""
    for number in (1, 2):
        worker.load("flights", small.flights([(f"F{number}", number, number + 1, "UA", "JFK", 3.0)]))
    worker.load("weather", small.weather([("JFK", 1, 5.0, "clear")]))
    return worker


def record(worker: Any, plan_digest: str, digest: str, known_by: int = 30) -> Any:
    spec = TrainingSetSpec("late", {"flights": 2, "weather": 1}, None, 20, known_by)
    args = {
        "spec": spec,
        "blob": BlobRef(digest, 7),
        "rows": 3,
        "plan_digest": plan_digest,
        "event_at_min": 1,
        "event_at_max": 9,
    }
    return worker.call("features.record_training_set", args, "flights")


def test_versions_count_up_and_the_same_set_is_once(declared: Call, worker: Any) -> None:
    plan = declared("features.freeze_plan", service="late")
    first = record(worker, plan, "a" * 64)
    assert record(worker, plan, "a" * 64) == first
    second = record(worker, plan, "b" * 64)
    assert (first.version, second.version, second.label) == (1, 2, "is_late")
    assert declared("features.training_set", service="late") == second
    assert declared("features.training_set", service="late", version=1) == first
    assert [found.version for found in declared("features.training_sets", service="late")] == [2, 1]
    assert declared("features.rows_used", ref="training_set:late/1") == BlobRef("a" * 64, 7)
    assert len(declared("audit.list", type_prefix="features.training_set")) == 2


def test_two_that_are_recorded_at_once_both_get_a_number(dispatcher: Dispatcher, declared: Call, worker: Any) -> None:
    """The parts of one training are frozen side by side."""
    plan = declared("features.freeze_plan", service="late")
    for number, played in enumerate(
        interruptions(
            dispatcher.database,
            lambda number: record(worker, plan, f"{number:02}" + "a" * 62),
            lambda number: record(worker, plan, f"{number:02}" + "b" * 62),
        )
    ):
        versions = [made.version for made in played.both()]
        assert sorted(versions) == [2 * number + 1, 2 * number + 2]


def test_lineage_names_data_views_and_code(declared: Call, worker: Any) -> None:
    record(worker, declared("features.freeze_plan", service="late"), "a" * 64)
    edges = declared("lineage.upstream", ref="flights/training_set:late/1")
    parents = {edge.parent for edge in edges}
    assert {
        "flights/dataset:flights/2",
        "flights/dataset:weather/1",
        "flights/feature_service:late",
        "flights/feature_view:recent_carrier",
        "flights/code:" + "c" * 64,
    } <= parents


def test_what_is_not_there_is_said(declared: Call) -> None:
    with pytest.raises(NotFound, match="no training set late/9"):
        declared("features.training_set", service="late", version=9)
    with pytest.raises(InvalidInput, match="no training set of this project"):
        declared("features.rows_used", ref="other/training_set:late/1")


def test_only_the_platform_records(declared: Call, dispatcher: Any) -> None:
    from loopwright.governance import Actor
    from loopwright.kernel.verbs import Role

    ana = Actor("person:ana", {"flights": Role.ADMIN})
    with pytest.raises(PermissionDenied):
        dispatcher.call("features.record_training_set", {}, actor=ana, project="flights")
