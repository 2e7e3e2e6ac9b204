"""Moving a replay clock: each timer at its own moment, never backwards."""

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loopwright.governance import LOCAL_ACTOR, SYSTEM, Dispatcher
from loopwright.kernel.errors import Conflict, InvalidInput
from loopwright.kernel.events import Event
from loopwright.kernel.verbs import VERBS
from loopwright.loop import OperationContext, Reactor
from loopwright.loop.engine.clock_advance import advance
from loopwright.loop.engine.reactor import RULES
from loopwright.loop.engine.retries import REPLAY_PAUSES_S
from loopwright.store import sql
from loopwright.store.blobs import open_blob_store
from loopwright.store.timers import PLANNERS
from loopwright.store.tx import Tx


@pytest.fixture
def context(dispatcher: Dispatcher, tmp_path: Path) -> OperationContext:
    args = {"name": "past", "clock": "replay", "clock_at": "2013-01-01"}
    dispatcher.call("projects.create", args, actor=LOCAL_ACTOR, project=SYSTEM)
    blobs = open_blob_store(str(tmp_path / "blobs"))
    return OperationContext(dispatcher, blobs, Reactor(dispatcher), lambda seen, _s: seen + 1, "", "past", LOCAL_ACTOR)


def started(context: OperationContext) -> list[tuple[str, int]]:
    events: list[Any] = context.call("audit.list", type_prefix="tracking.")
    return [(event.payload["experiment"], event.event_at) for event in reversed(events)]


def test_timers_fire_at_their_own_moment(context: OperationContext) -> None:
    start_at = context.call("projects.get", name="past").clock_at
    for after, key in ((300, "c"), (100, "a"), (200, "b"), (900, "later")):
        args = {"experiment": key}
        context.dispatcher.write(
            "past",
            LOCAL_ACTOR,
            lambda tx, a=after, k=key, v=args: sql.upsert_timer(tx, start_at + a, "tracking.start_run", v, k),
        )
    done = advance(context, to=start_at + 500)
    assert (done.clock_at, done.timers) == (start_at + 500, 3)
    assert started(context) == [("a", start_at + 100), ("b", start_at + 200), ("c", start_at + 300)]
    assert context.call("projects.get", name="past").clock_at == start_at + 500
    assert advance(context, to=start_at + 500).timers == 0


def test_time_goes_forward_only(context: OperationContext) -> None:
    advance(context, to="2013-02-01")
    with pytest.raises(InvalidInput, match="does not go back"):
        advance(context, to="2013-01-31")


def test_a_wall_clock_is_not_moved(context: OperationContext) -> None:
    with pytest.raises(InvalidInput, match="replay clock"):
        advance(dataclasses.replace(context, project="flights"), to="2030-01-01")


def test_what_fails_takes_no_event_time_and_ends(context: OperationContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """A timer that fails twice, one that always fails and a rule that fails once: time passes all the same."""
    context = dataclasses.replace(context, dispatcher=Dispatcher(context.dispatcher.database))
    context = dataclasses.replace(context, reactor=Reactor(context.dispatcher))
    start_at = context.call("projects.get", name="past").clock_at
    tries: list[str] = []

    def start_run(tx: Tx, *, experiment: str) -> Any:
        tries.append(experiment)
        if experiment == "never" or tries.count(experiment) < 3:
            raise KeyError(experiment)
        return verb.function(tx, experiment=experiment)

    def answer(tx: Tx, event: Event) -> None:
        tries.append("rule")
        if tries.count("rule") == 1:
            raise KeyError("rule")
        tx.emit("test.answered", event.ref)

    verb = VERBS["tracking.start_run"]
    monkeypatch.setitem(VERBS, verb.name, msgspec.structs.replace(verb, function=start_run))
    monkeypatch.setitem(RULES, "tracking.run_started", [("answer", answer)])
    for after, key in ((100, "third"), (200, "never"), (300, "after")):
        plan = lambda tx, a=after, k=key: sql.upsert_timer(tx, start_at + a, verb.name, {"experiment": k}, k)  # noqa: E731
        context.dispatcher.write("past", LOCAL_ACTOR, plan)
    done = advance(context, to=start_at + 500)
    assert (done.clock_at, done.timers) == (start_at + 500, 3)
    assert started(context) == [("third", start_at + 100), ("after", start_at + 300)]
    told = {event.type: event.event_at for event in context.call("audit.list")}
    assert told["test.answered"] in (start_at + 100, start_at + 300)
    assert told["loop.timer_failed"] == told["monitoring.incident_opened"] == start_at + 200
    assert tries.count("never") == len(REPLAY_PAUSES_S) + 1


def test_a_clock_does_not_go_past_what_cannot_be_planned(
    context: OperationContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows or trainings that no longer come would make the replayed history another one, and nobody would know."""
    context = dataclasses.replace(context, dispatcher=Dispatcher(context.dispatcher.database))
    start_at = context.call("projects.get", name="past").clock_at
    is_broken = True

    def plan(tx: Tx, *, experiment: str) -> None:
        if is_broken:
            raise KeyError("a fault of ours")
        sql.upsert_timer(tx, tx.now_us + 100, verb.name, {"experiment": experiment}, "again")

    verb = VERBS["tracking.start_run"]
    monkeypatch.setitem(PLANNERS, verb.name, plan)
    first = {"experiment": "again"}
    context.dispatcher.write(
        "past", LOCAL_ACTOR, lambda tx: sql.upsert_timer(tx, start_at + 100, verb.name, first, "again")
    )
    for _ in range(2):
        with pytest.raises(Conflict, match=r"stands still at 2013-01-01T00:00:00.000100Z.*a fault of ours"):
            advance(context, to=start_at + 450)
    assert context.call("projects.get", name="past").clock_at == start_at + 100
    [incident] = context.call("monitoring.incidents")
    assert "a fault of ours" in incident.title
    is_broken = False
    assert advance(context, to=start_at + 450).timers == 4
    assert started(context) == [("again", start_at + after) for after in (100, 200, 300, 400)]
    assert [one.state for one in context.call("monitoring.incidents")] == ["resolved"]
