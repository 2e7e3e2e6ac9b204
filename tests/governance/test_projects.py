"""Projects: made once, seen by those who have a role, clocks that only go forward."""

from collections.abc import Callable
from typing import Any

import pytest

from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, SYSTEM, Actor, Dispatcher
from loopwright.kernel.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from loopwright.kernel.verbs import Role

Create = Callable[..., Any]


@pytest.fixture
def create(dispatcher: Dispatcher) -> Create:
    return lambda name, **args: dispatcher.call(
        "projects.create", {"name": name, **args}, actor=LOCAL_ACTOR, project=SYSTEM
    )


def test_creating_again_is_once(create: Create, call: Callable[..., Any]) -> None:
    assert create("flights", owner="ops") == call("projects.get", name="flights")
    assert create("flights", owner="ana", risk="high").owner == "ana"
    assert [project.name for project in call("projects.list")] == ["flights"]


def test_a_project_keeps_its_clock(create: Create) -> None:
    with pytest.raises(Conflict, match="wall clock"):
        create("flights", clock="replay")


@pytest.mark.parametrize("name", ["_system", "_x", "*", "", "a/b", "..", "a\n", "x" * 129])
def test_a_name_is_plain_and_not_the_platforms_own(create: Create, name: str) -> None:
    with pytest.raises(InvalidInput):
        create(name)


def test_a_project_is_seen_by_those_who_have_a_role(dispatcher: Dispatcher, create: Create) -> None:
    create("other")
    ana = Actor("person:ana", {"flights": Role.ADMIN})
    assert [one.name for one in dispatcher.call("projects.list", {}, actor=ana, project=SYSTEM)] == ["flights"]
    for name in ("other", "missing"):
        with pytest.raises(PermissionDenied):
            dispatcher.call("projects.get", {"name": name}, actor=ana, project="flights")
        with pytest.raises(PermissionDenied):
            dispatcher.call("projects.create", {"name": name, "owner": "eve"}, actor=ana, project="flights")


def test_a_project_that_is_not_there_suggests_the_nearest(dispatcher: Dispatcher) -> None:
    for name, hint in (("flihgts", r"did you mean flights\?"), ("orders", "loopwright apply")):
        with pytest.raises(NotFound, match=hint):
            dispatcher.call("data.list", {}, actor=LOCAL_ACTOR, project=name)
        with pytest.raises(NotFound, match=hint):
            dispatcher.call("projects.get", {"name": name}, actor=LOCAL_ACTOR, project="flights")


def test_a_replay_clock_goes_forward_only(dispatcher: Dispatcher, create: Create) -> None:
    create("past", clock="replay", clock_at="2013-01-01")

    def move(to: int, project: str = "past") -> Any:
        return dispatcher.call("projects.set_clock", {"to": to}, actor=SERVICE_ACTOR, project=project)

    at_us = move(2_000_000_000_000_000).clock_at
    with pytest.raises(InvalidInput, match="does not go back"):
        move(at_us - 1)
    with pytest.raises(InvalidInput, match="replay clock"):
        move(at_us, "flights")
    event = dispatcher.call("tracking.start_run", {"experiment": "x"}, actor=LOCAL_ACTOR, project="past")
    assert event is not None
    newest = dispatcher.call("audit.list", {"limit": 1}, actor=LOCAL_ACTOR, project="past")[0]
    assert (newest.event_at, newest.recorded_at) == (at_us, dispatcher.wall.now_us())


def test_a_missing_project_says_what_to_do(dispatcher: Dispatcher) -> None:
    with pytest.raises(NotFound, match="loopwright apply"):
        dispatcher.call("audit.list", {}, actor=LOCAL_ACTOR, project="missing")
