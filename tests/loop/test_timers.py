"""Timers fire once, in one transaction with their call; the database's trouble does not use them up."""

from collections.abc import Callable
from typing import Any

import pytest

from loopwright.governance import LOCAL_ACTOR, SYSTEM, Dispatcher
from loopwright.kernel.clock import FixedClock
from loopwright.kernel.errors import StorageFull
from loopwright.kernel.verbs import VERBS
from loopwright.loop import fire_due
from loopwright.store import sql

START_RUN = "tracking.start_run"


def plan(dispatcher: Dispatcher, due_at: int, key: str, project: str = "flights", **args: Any) -> None:
    dispatcher.write(project, LOCAL_ACTOR, lambda tx: tx.later(due_at, START_RUN, {"experiment": key, **args}, key=key))


def left(dispatcher: Dispatcher, project: str = "flights") -> list[str]:
    found = dispatcher.database.read(lambda connection: sql.due_timers(connection, project, 2**62, limit=100))
    return [timer.key for timer in found]


def test_what_is_due_fires_in_order_and_once(
    dispatcher: Dispatcher, call: Callable[..., Any], wall: FixedClock
) -> None:
    for after, key in ((20, "c"), (10, "b"), (10, "a"), (90, "later")):
        plan(dispatcher, wall.at_us + after, key)
    assert fire_due(dispatcher) == 0
    wall.at_us += 50
    assert fire_due(dispatcher) == 3
    assert fire_due(dispatcher) == 0
    started = [event for event in reversed(call("audit.list")) if event.type == "tracking.run_started"]
    assert [event.payload["experiment"] for event in started] == ["b", "a", "c"]
    assert {event.actor for event in started} == {"service:timers"}
    assert left(dispatcher) == ["later"]


def test_a_call_that_fails_is_recorded_and_holds_nothing_up(
    dispatcher: Dispatcher, call: Callable[..., Any], wall: FixedClock
) -> None:
    plan(dispatcher, wall.at_us, "bad", nonsense=1)
    plan(dispatcher, wall.at_us, "good")
    fire_due(dispatcher)
    assert {event.type for event in call("audit.list", limit=2)} == {"loop.timer_failed", "tracking.run_started"}
    assert left(dispatcher) == []


def test_a_full_disk_leaves_the_timer_for_later(
    dispatcher: Dispatcher, call: Callable[..., Any], wall: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: Any, **_named: Any) -> None:
        raise StorageFull("the disk is full")

    plan(dispatcher, wall.at_us, "a")
    import msgspec

    with monkeypatch.context() as patched:
        patched.setitem(VERBS, START_RUN, msgspec.structs.replace(VERBS[START_RUN], function=full))
        with pytest.raises(StorageFull):
            fire_due(dispatcher)
    assert left(dispatcher) == ["a"]
    fire_due(dispatcher)
    assert len(call("tracking.search_runs")) == 1


def test_timers_of_replay_projects_wait_for_their_clock(dispatcher: Dispatcher, wall: FixedClock) -> None:
    args = {"name": "past", "clock": "replay", "clock_at": 0}
    dispatcher.call("projects.create", args, actor=LOCAL_ACTOR, project=SYSTEM)
    plan(dispatcher, 1, "a", "past")
    assert fire_due(dispatcher) == 0
    assert left(dispatcher, "past") == ["a"]
