"""Declaring datasets."""

from collections.abc import Callable
from typing import Any

import pytest

from loopwright.data import CheckSpec, ImportResult, KnownAt, SourceSpec
from loopwright.governance import SERVICE_ACTOR, SYSTEM, Dispatcher
from loopwright.kernel.errors import Conflict, InvalidInput, NotFound
from tests.data.conftest import weather, weather_spec

Call = Callable[..., Any]


def test_declaring_twice_is_once_and_a_change_says_what(call: Call) -> None:
    first = call("data.declare", spec=weather_spec())
    assert (first.is_new, first.dataset.newest) == (True, None)
    again = call("data.declare", spec=weather_spec())
    assert (again.is_new, again.changes) == (False, [])
    changed = call("data.declare", spec=weather_spec(personal=["origin"]))
    assert [(change.field, change.before, change.after) for change in changed.changes] == [("personal", [], ["origin"])]
    assert [event.type for event in call("audit.list", type_prefix="data.")] == ["data.declared"] * 2
    assert call("data.get", dataset="weather").spec.personal == ["origin"]


def test_gateways_are_told_what_is_personal_in_every_project(call: Call, dispatcher: Dispatcher) -> None:
    call("data.declare", spec=weather_spec(personal=["origin"]))
    call("data.declare", spec=weather_spec(name="other"))
    found = dispatcher.call("data.personal_columns", {}, actor=SERVICE_ACTOR, project=SYSTEM)
    assert found == {"flights/weather": ["origin"]}


def test_gateways_are_told_which_topics_to_read(call: Call, dispatcher: Dispatcher) -> None:
    topic = SourceSpec("topic", "events/weather", arrived="came_at")
    known = {"temp": KnownAt("came_at")}
    call("data.declare", spec=weather_spec(source=topic, takes_pushes=True, known_at=known))
    call("data.declare", spec=weather_spec(name="other"))
    found = dispatcher.call("data.topics", {}, actor=SERVICE_ACTOR, project=SYSTEM)
    assert found == {"flights/weather": topic}


def test_key_and_time_stay_once_there_are_versions(call: Call, import_rows: Callable[..., ImportResult]) -> None:
    call("data.declare", spec=weather_spec(key=["origin"]))
    call("data.declare", spec=weather_spec())
    import_rows("weather", weather(1))
    with pytest.raises(Conflict, match="the key of dataset weather cannot change"):
        call("data.declare", spec=weather_spec(key=["origin"]))
    with pytest.raises(Conflict, match="the time of"):
        call("data.declare", spec=weather_spec(time=None, known_at={}))
    found = call("data.get", dataset="weather")
    assert (found.newest, found.latest, found.latest_state) == (1, 1, "ready")
    assert [dataset.name for dataset in call("data.list")] == ["weather"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "a/b"}, "name"),
        ({"key": []}, "key"),
        ({"key": ["a", "a"]}, "key"),
        ({"source": SourceSpec("csv")}, "source.location"),
        ({"source": SourceSpec("push", "", "Mars/North")}, "source.zone"),
        ({"source": SourceSpec("topic", "weather")}, "source.name"),
        ({"source": SourceSpec("topic", "/weather")}, "source.broker"),
        ({"source": SourceSpec("topic", "events/a b")}, "source.name"),
        ({"source": SourceSpec("topic", "events/weather", arrived="came_at")}, "source.arrived"),
        ({"takes_pushes": True, "personal": ["origin"]}, "takes_pushes"),
        ({"time": None}, "time"),
        ({"known_at": {"*": KnownAt("")}}, "known_at.*"),
        ({"checks": [CheckSpec("betwen", "x")]}, "checks[0].kind"),
        ({"checks": [CheckSpec("between", "x", {"low": "1", "high": 2})]}, "checks[0].args"),
        ({"checks": [CheckSpec("not_null", "x", most_share=2)]}, "checks[0].most_share"),
        ({"checks": [CheckSpec("not_null")]}, "checks[0].column"),
    ],
)
def test_a_declaration_that_cannot_be_is_refused(call: Call, changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        call("data.declare", spec=weather_spec(**changes))
    assert refused.value.field == field
    with pytest.raises(NotFound, match="no dataset is named"):
        call("data.get", dataset="weather")
