"""Timers fire once, in one transaction with their call; the database's trouble does not use them up."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from sqlalchemy import event, text

from loopwright.governance import LOCAL_ACTOR, SYSTEM, Dispatcher
from loopwright.kernel.clock import DAY_US, HOUR_US, SECOND_US, FixedClock
from loopwright.kernel.errors import StorageFull, Unavailable
from loopwright.kernel.verbs import VERBS
from loopwright.loop import fire_due
from loopwright.loop.engine.retries import PAUSES_S
from loopwright.pipelines import PipelineSpec, StepSpec
from loopwright.store import sql
from loopwright.store.engine import Database
from loopwright.store.timers import PLANNERS
from tests.loop.conftest import CODE, Loop

START_RUN = "tracking.start_run"


def plan(dispatcher: Dispatcher, due_at: int, key: str, project: str = "flights", **args: Any) -> None:
    dispatcher.write(
        project, LOCAL_ACTOR, lambda tx: sql.upsert_timer(tx, due_at, START_RUN, {"experiment": key, **args}, key)
    )


def break_verb(patched: pytest.MonkeyPatch, name: str) -> None:
    """Let a verb raise whatever a fault of ours may raise."""

    def fail(*_args: Any, **_named: Any) -> None:
        raise KeyError("a fault of ours")

    patched.setitem(VERBS, name, msgspec.structs.replace(VERBS[name], function=fail))


def wait_briefly(database: Database) -> None:
    """Let sessions wait a fifth of a second for a lock."""
    database.engine.dispose()
    event.listen(database.engine, "connect", lambda connection, _: connection.execute("SET lock_timeout = 200"))


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


def test_a_call_that_fails_holds_nothing_up_and_is_tried_again_then_told(
    dispatcher: Dispatcher, call: Callable[..., Any], wall: FixedClock
) -> None:
    plan(dispatcher, wall.at_us, "bad", nonsense=1)
    plan(dispatcher, wall.at_us, "good")
    assert fire_due(dispatcher) == 1
    assert left(dispatcher) == ["bad"]
    for pause_s in PAUSES_S:
        assert "loop.timer_failed" not in {event.type for event in call("audit.list")}
        wall.at_us += int(pause_s * SECOND_US) - 1
        assert fire_due(dispatcher) == 0
        wall.at_us += 1
        fire_due(dispatcher)
    assert left(dispatcher) == []
    [incident] = call("monitoring.incidents")
    assert (incident.kind, incident.needs_person) == (START_RUN, True)
    assert "nonsense" in incident.title
    assert [event.type for event in call("audit.list", type_prefix="loop.")] == ["loop.timer_failed"]


def test_what_went_well_at_a_later_try_is_told_to_nobody(
    dispatcher: Dispatcher, call: Callable[..., Any], wall: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan(dispatcher, wall.at_us, "a")
    with monkeypatch.context() as patched:
        break_verb(patched, START_RUN)
        assert fire_due(dispatcher) == 0
    wall.at_us += SECOND_US
    assert fire_due(dispatcher) == 1
    assert len(call("tracking.search_runs")) == 1
    assert call("monitoring.incidents") == []


def test_a_full_disk_leaves_the_timer_for_later(
    dispatcher: Dispatcher, call: Callable[..., Any], wall: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: Any, **_named: Any) -> None:
        raise StorageFull("the disk is full")

    plan(dispatcher, wall.at_us, "a")
    with monkeypatch.context() as patched:
        patched.setitem(VERBS, START_RUN, msgspec.structs.replace(VERBS[START_RUN], function=full))
        with pytest.raises(StorageFull):
            fire_due(dispatcher)
    assert left(dispatcher) == ["a"]
    fire_due(dispatcher)
    assert len(call("tracking.search_runs")) == 1


def test_a_timer_that_meets_a_part_which_is_not_there_holds_nothing_up_and_is_tried_until_it_is(
    dispatcher: Dispatcher, call: Callable[..., Any], wall: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = VERBS[START_RUN].function

    def shaky(tx: Any, *, experiment: str, **more: Any) -> Any:
        if experiment == "stuck":
            raise Unavailable("another session of the database holds what this call needs")
        return real(tx, experiment=experiment, **more)

    plan(dispatcher, wall.at_us, "stuck")
    plan(dispatcher, wall.at_us + 1, "healthy")
    wall.at_us += 1
    with monkeypatch.context() as patched:
        patched.setitem(VERBS, START_RUN, msgspec.structs.replace(VERBS[START_RUN], function=shaky))
        assert fire_due(dispatcher) == 1
        assert left(dispatcher) == ["stuck"]
        for _ in range(20):
            wall.at_us += HOUR_US
            assert fire_due(dispatcher) == 0
        (alert,) = call("monitoring.alerts")
        assert "tried again and again" in alert.message
    wall.at_us += HOUR_US
    assert fire_due(dispatcher) == 1
    assert len(call("tracking.search_runs")) == 2
    assert [each.state for each in call("monitoring.incidents")] == ["resolved"]


def test_a_timer_that_another_session_holds_holds_nothing_else_up(dispatcher: Dispatcher, wall: FixedClock) -> None:
    if dispatcher.database.is_sqlite:
        pytest.skip("SQLite knows no locks of rows")
    wait_briefly(dispatcher.database)
    plan(dispatcher, wall.at_us, "held")
    plan(dispatcher, wall.at_us + 1, "healthy")
    wall.at_us += 1
    with dispatcher.database.engine.connect() as other, other.begin():
        other.execute(text("SELECT * FROM timers WHERE key = 'held' FOR UPDATE"))
        with pytest.raises(Unavailable, match="another session"):
            fire_due(dispatcher)
        assert left(dispatcher) == ["held"]
    assert fire_due(dispatcher) == 1


def test_timers_of_replay_projects_wait_for_their_clock(dispatcher: Dispatcher, wall: FixedClock) -> None:
    args = {"name": "past", "clock": "replay", "clock_at": 0}
    dispatcher.call("projects.create", args, actor=LOCAL_ACTOR, project=SYSTEM)
    plan(dispatcher, 1, "a", "past")
    assert fire_due(dispatcher) == 0
    assert left(dispatcher, "past") == ["a"]


def closes(loop: Loop) -> list[int]:
    """Return when the windows of ``late`` will be closed, those first that are due first."""
    found = loop.dispatcher.database.read(lambda c: sql.due_timers(c, "flights", 2**62, limit=100))
    return [timer.due_at for timer in found if timer.verb == "monitoring.close_window"]


def test_a_window_that_cannot_be_closed_is_not_the_last_one(serving: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    [due_at] = closes(serving)
    with monkeypatch.context() as patched:
        break_verb(patched, "monitoring.close_window")
        serving.wall.at_us = due_at
        serving.pass_time(0)
        assert closes(serving) == [due_at, due_at + DAY_US], "the next one is planned, this one is tried again"
        for pause_s in PAUSES_S:
            serving.pass_time(int(pause_s * SECOND_US))
    assert closes(serving) == [due_at + DAY_US]
    [need] = [need for need in serving("loop.attention").needs if need.kind == "incident"]
    assert "monitoring.close_window failed for good" in need.sentence
    serving.wall.at_us = due_at + DAY_US
    serving.pass_time(0)
    assert closes(serving) == [due_at + 2 * DAY_US]
    started = serving("audit.list", type_prefix="monitoring.window_started")
    assert [one.payload["end_at"] for one in started if one.payload["state"] == "closed"] == [due_at + DAY_US]
    assert [one.state for one in serving("monitoring.incidents")] == ["resolved"]


def test_a_timer_whose_successor_cannot_be_planned_stays(serving: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    [due_at] = closes(serving)
    with monkeypatch.context() as patched:
        patched.setitem(PLANNERS, "monitoring.close_window", lambda *_args, **_named: {}["a fault of ours"])
        serving.wall.at_us = due_at
        for pause_s in (0.0, *PAUSES_S):
            serving.pass_time(int(pause_s * SECOND_US))
        assert closes(serving) == [due_at]
        assert serving.needs_person()
    serving.pass_time(HOUR_US)
    assert closes(serving) == [due_at + DAY_US]


def test_a_look_and_a_scheduled_start_are_planned_again_whatever_becomes_of_them(
    serving: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = [StepSpec("load", "call", {}, CODE)]
    serving("pipelines.declare", spec=PipelineSpec("hourly", steps, schedule_us=HOUR_US))
    serving.train()
    for verb in ("serving.judge_step", "pipelines.start_scheduled"):
        break_verb(monkeypatch, verb)

    def planned(verb: str) -> list[int]:
        found = serving.dispatcher.database.read(lambda c: sql.due_timers(c, "flights", 2**62, limit=100))
        return [timer.due_at for timer in found if timer.verb == verb]

    for verb in ("pipelines.start_scheduled", "serving.judge_step"):  # the one that is due first first
        [due_at] = planned(verb)
        serving.wall.at_us = max(serving.wall.at_us, due_at)
        serving.pass_time(0)
        assert len(planned(verb)) == 2
        assert planned(verb)[1] > serving.wall.at_us
