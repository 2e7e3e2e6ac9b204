"""A rollout from its first shadow request to its end, judged from real chunks as time passes."""

from collections.abc import Callable
from typing import Any

import pytest

from loopwright.governance import SERVICE_ACTOR, SYSTEM, Dispatcher, projects
from loopwright.kernel.clock import DAY_US, HOUR_US
from loopwright.kernel.documents import to_builtins
from loopwright.serving import Rollout, StepVerdict
from loopwright.store import sql as store_sql
from loopwright.store.types import Streams

Call = Callable[..., Any]


def variants(call: Call) -> list[tuple[str, int, float]]:
    release = call("serving.get_release", deployment="late")
    return [(variant.name, variant.version, variant.weight) for variant in release.variants]


def now(call: Call, rollout: Rollout) -> Rollout:
    found: Rollout = call("serving.get_rollout", rollout_id=rollout.rollout_id)
    return found


def reason(call: Call, event_type: str) -> str:
    return str(next(event.reason for event in call("audit.list") if event.type == event_type))


@pytest.fixture
def in_canary(candidate: Rollout, log: Any, pass_time: Call, call: Call) -> Rollout:
    """The rollout, its shadow passed, its canary begun."""
    start = candidate.step_started_at
    log.predict(2, start, start + 7 * DAY_US - HOUR_US, 2000, candidate=0.05)
    pass_time(start + 7 * DAY_US)
    return now(call, candidate)


def test_a_good_version_goes_from_shadow_through_canary_to_all_traffic(
    in_canary: Rollout, log: Any, pass_time: Call, call: Call, events: Call, worker: Any
) -> None:
    assert (in_canary.state, in_canary.step) == ("running", 1)
    assert variants(call) == [("champion", 1, 0.9), ("candidate", 2, 0.1)]
    assert {verdict.metric: verdict.verdict for verdict in in_canary.verdicts} == {"roc_auc": "go", "error_rate": "go"}
    start = in_canary.step_started_at
    log.predict(3, start, start + 6 * HOUR_US, 3000, candidate=0.05, weight=0.1, seed=1)
    assert pass_time(start + 6 * HOUR_US) == 6
    done = now(call, in_canary)
    assert (done.state, done.finished_at) == ("done", start + 6 * HOUR_US)
    assert variants(call) == [("champion", 2, 1.0)]
    told = [name for name in events(60) if name != "serving.released"]
    assert told[-3:] == ["serving.rollout_step_judged", "serving.rollout_step_judged", "serving.rollout_finished"]
    finished = next(event for event in call("audit.list") if event.type == "serving.rollout_finished")
    wanted = {"deployment": "late", "model": "late", "version": 2, "rollout_id": done.rollout_id, "champion": 1}
    assert wanted.items() <= finished.payload.items()
    assert worker.sealed == 7 * [Streams("flights", ("predictions", "labels"), "late")]
    assert pass_time(start + 30 * DAY_US) == 0


def test_a_worse_version_is_refused_in_shadow_even_if_forced(
    serving_one: int, call: Call, log: Any, pass_time: Call
) -> None:
    rollout = call("serving.start_rollout", deployment="late", version=2, reason="x", forced_reason="a drill")
    start = rollout.step_started_at
    log.predict(2, start, start + 6 * DAY_US, 2000, candidate=3.0)
    pass_time(start + 7 * DAY_US)
    assert now(call, rollout).state == "aborted"
    assert variants(call) == [("champion", 1, 1.0)]
    assert "margin 0.02: worse" in reason(call, "serving.rollout_aborted")


def test_an_undecided_shadow_is_extended_once_and_then_aborted(
    candidate: Rollout, call: Call, log: Any, pass_time: Call
) -> None:
    start = candidate.step_started_at
    log.predict(2, start, start + 7 * DAY_US, 100, candidate=0.05)
    pass_time(start + 7 * DAY_US)
    extended = now(call, candidate)
    assert (extended.state, extended.step, extended.looks) == ("running", 0, 1)
    assert extended.verdicts[0].verdict == "undecided"
    pass_time(start + 14 * DAY_US)
    assert now(call, candidate).state == "aborted"
    assert "undecided after 14d" in reason(call, "serving.rollout_aborted")
    looks = call("serving.looks", rollout_id=candidate.rollout_id)
    assert [(look.step, look.look, look.event_at) for look in looks] == [
        (0, 1, start + 7 * DAY_US),
        (0, 2, start + 14 * DAY_US),
    ]


def test_labels_that_come_in_the_extension_decide(candidate: Rollout, call: Call, log: Any, pass_time: Call) -> None:
    start = candidate.step_started_at
    log.predict(2, start, start + 7 * DAY_US, 100, candidate=0.05)
    pass_time(start + 7 * DAY_US)
    log.predict(2, start + 7 * DAY_US, start + 13 * DAY_US, 2000, candidate=0.05, seed=3)
    pass_time(start + 14 * DAY_US)
    assert now(call, candidate).step == 1


def test_labels_from_after_the_look_are_not_seen(candidate: Rollout, call: Call, log: Any, pass_time: Call) -> None:
    start = candidate.step_started_at
    ids = log.predict(2, start, start + 6 * DAY_US, 1000, candidate=0.05, labelled=0.0)
    log.label(ids, [0.0, 1.0] * 500, [start + 7 * DAY_US] * 1000)
    pass_time(start + 7 * DAY_US)
    assert "only 0 of" in now(call, candidate).verdicts[0].message


def test_a_failing_canary_is_aborted_at_the_next_look_with_its_evidence(
    in_canary: Rollout, call: Call, log: Any, pass_time: Call
) -> None:
    start = in_canary.step_started_at
    log.predict(3, start, start + HOUR_US, 1000, candidate=0.05, weight=0.1, errors=(0.01, 0.4))
    pass_time(start + HOUR_US)
    aborted = now(call, in_canary)
    assert (aborted.state, aborted.finished_at) == ("aborted", start + HOUR_US)
    assert variants(call) == [("champion", 1, 1.0)]
    event = next(event for event in call("audit.list") if event.type == "serving.rollout_aborted")
    assert "enough to abort" in event.reason
    assert any(verdict["verdict"] == "abort" for verdict in event.payload["verdicts"])


def test_a_slow_canary_is_aborted(in_canary: Rollout, call: Call, log: Any, pass_time: Call) -> None:
    start = in_canary.step_started_at
    log.predict(3, start, start + HOUR_US, 1000, candidate=0.05, weight=0.1, slower=20.0)
    pass_time(start + HOUR_US)
    assert now(call, in_canary).state == "aborted"
    assert "answers slower than" in reason(call, "serving.rollout_aborted")


@pytest.mark.slow
def test_a_canary_without_traffic_waits_and_is_then_aborted(in_canary: Rollout, call: Call, pass_time: Call) -> None:
    start = in_canary.step_started_at
    pass_time(start + 7 * DAY_US - HOUR_US)
    assert now(call, in_canary).state == "running"
    pass_time(start + 7 * DAY_US)
    assert now(call, in_canary).state == "aborted"
    assert "at least 100 are needed" in reason(call, "serving.rollout_aborted")


def test_guards_watch_a_paused_canary(in_canary: Rollout, call: Call, log: Any, pass_time: Call) -> None:
    call("serving.pause", rollout_id=in_canary.rollout_id, reason="lunch")
    start = in_canary.step_started_at
    log.predict(3, start, start + 6 * HOUR_US, 3000, candidate=0.05, weight=0.1)
    pass_time(start + 20 * HOUR_US)
    assert now(call, in_canary).state == "paused"
    log.predict(3, start + 20 * HOUR_US, start + 21 * HOUR_US, 500, candidate=0.05, weight=0.1, errors=(0.0, 0.9))
    pass_time(start + 21 * HOUR_US)
    assert now(call, in_canary).state == "aborted"


def verdicts(rollout: Rollout, verdict: Any) -> list[dict[str, Any]]:
    at_us = rollout.step_started_at + 7 * DAY_US
    made = StepVerdict(rollout.step, "roc_auc", 0.7, 0.7, 0.0, -0.01, 0.01, verdict, "a sentence", 500, at_us)
    found: list[dict[str, Any]] = to_builtins([made])
    return found


def test_handing_in_a_look_twice_is_once(candidate: Rollout, service: Call, events: Call) -> None:
    named = {"rollout_id": candidate.rollout_id, "step": 0, "look": 1}
    first = service("serving.finish_step", **named, verdicts=verdicts(candidate, "go"))
    assert first.step == 1
    before = events(60)
    assert service("serving.finish_step", **named, verdicts=verdicts(candidate, "go")) == first
    assert service("serving.finish_step", **named, verdicts=verdicts(candidate, "abort")) == first
    assert events(60) == before


def test_a_look_at_a_step_that_is_over_changes_nothing(candidate: Rollout, service: Call, call: Call) -> None:
    call("serving.abort", rollout_id=candidate.rollout_id, reason="enough")
    named = {"rollout_id": candidate.rollout_id, "step": 0, "look": 1}
    assert service("serving.finish_step", **named, verdicts=verdicts(candidate, "go")).state == "aborted"
    assert service("serving.judge_step", rollout_id=candidate.rollout_id, step=0).state == "aborted"
    assert call("jobs.list", kind="serving.judge_step") == []


def test_judging_that_never_ends_is_no_pass(
    candidate: Rollout, service: Call, call: Call, wall: Any, dispatcher: Dispatcher
) -> None:
    start = candidate.step_started_at
    for days in (7, 14):
        wall.at_us = start + days * DAY_US
        assert service("serving.judge_step", rollout_id=candidate.rollout_id, step=0).state == "running"
    (overdue,) = dispatcher.database.read(lambda c: store_sql.due_timers(c, "flights", 2**60, limit=10))
    assert overdue.args["is_overdue"]
    assert overdue.due_at == start + 21 * DAY_US
    wall.at_us = overdue.due_at
    assert service(overdue.verb, **overdue.args).state == "aborted"
    assert "no look at this step could be finished" in reason(call, "serving.rollout_aborted")


def test_on_a_replay_clock_steps_follow_event_time(dispatcher: Dispatcher, worker: Any, blob_store: Any) -> None:
    start = 1_000_000 * DAY_US // 1000

    def service(verb: str, **args: Any) -> Any:
        return dispatcher.call(verb, args, actor=SERVICE_ACTOR, project="replayed")

    create = {"name": "replayed", "clock": "replay", "clock_at": start}
    dispatcher.call("projects.create", create, actor=SERVICE_ACTOR, project=SYSTEM)
    canary = {"type": "canary", "weight": 0.5, "hold_us": 6 * HOUR_US, "guard": [], "least_rows": 0}
    approve = {"first": "policy", "retrain": "policy"}
    spec = {"name": "late", "model": "late", "task": "binary", "rollout": [canary], "approve": approve}
    service("serving.declare", spec=spec)
    for content in (b"{}", b"[]"):
        stored = blob_store.put(content)
        file = {"path": "m.json", "digest": stored.digest, "size_bytes": stored.size_bytes}
        model = {"model": "late", "flavour": "constant", "files": [file]}
        service("registry.register", **model, signature={"inputs": [], "task": "binary"}, metrics={})
    service("serving.start_rollout", deployment="late", version=1, reason="the first")
    rollout = service("serving.start_rollout", deployment="late", version=2, reason="next")
    assert service("serving.get_release", deployment="late").clock == "replay"
    assert rollout.step_started_at == start
    for hour in range(1, 7):
        dispatcher.write("replayed", SERVICE_ACTOR, lambda tx, to=start + hour * HOUR_US: projects.set_clock(tx, to=to))
        (timer,) = dispatcher.database.read(lambda c: store_sql.due_timers(c, "replayed", 2**60, limit=10))
        assert timer.due_at == start + hour * HOUR_US
        dispatcher.database.write(lambda c, timer=timer: store_sql.take_timer(c, timer))
        service(timer.verb, **timer.args)
        worker.run()
    done = service("serving.get_rollout", rollout_id=rollout.rollout_id)
    assert (done.state, done.finished_at) == ("done", start + 6 * HOUR_US)
