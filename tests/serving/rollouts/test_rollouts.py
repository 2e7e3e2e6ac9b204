"""Whole rollouts: start, approvals, pause, abort, rollback."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from loopwright.governance import LOCAL_ACTOR, Actor, Dispatcher, find_verb
from loopwright.kernel.clock import DAY_US, FixedClock
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from loopwright.kernel.verbs import Role
from loopwright.registry import Evidence, GateResult, GateSpec
from loopwright.serving import Rollout
from loopwright.store import sql as store_sql
from loopwright.store.tx import Tx
from tests.databases import wait_for_rivals

Call = Callable[..., Any]
PERSON = {"first": "person", "retrain": "person"}
EDITOR = Actor("person:ed", {"flights": Role.EDITOR})


def champion(call: Call) -> int | None:
    version: int | None = call("serving.status", deployment="late").champion
    return version


def timers(dispatcher: Dispatcher) -> list[Any]:
    return dispatcher.database.read(lambda c: store_sql.due_timers(c, "flights", 2**60, limit=10))


def test_the_first_version_waits_for_a_person_and_is_then_released_at_once(
    declare: Call, register: Call, call: Call, service: Call, events: Call
) -> None:
    declare(approve=PERSON)
    register("one")
    waiting = call("serving.start_rollout", deployment="late", version=1, reason="the first")
    assert (waiting.state, waiting.step, waiting.champion) == ("waiting_approval", -1, None)
    (approval,) = call("approvals.list", state="waiting")
    assert approval.subject == f"flights/rollout:{waiting.rollout_id}"
    assert "Release version 1 of late on late (at once with all traffic)?" in approval.question
    assert champion(call) is None
    call("approvals.approve", approval_id=approval.approval_id, reason="looks well")
    done = service("serving.on_approved", rollout_id=waiting.rollout_id, reason="looks well")
    assert done.state == "done"
    assert champion(call) == 1
    assert service("serving.on_approved", rollout_id=waiting.rollout_id) == done
    assert service("serving.on_rejected", rollout_id=waiting.rollout_id, reason="too late") == done
    assert events()[-3:] == ["serving.rollout_started", "serving.released", "serving.rollout_finished"]


def test_a_rejection_ends_it_with_the_reason(declare: Call, register: Call, call: Call, service: Call) -> None:
    declare(approve=PERSON)
    register("one")
    waiting = call("serving.start_rollout", deployment="late", version=1, reason="the first")
    ended = service("serving.on_rejected", rollout_id=waiting.rollout_id, reason="too early")
    assert ended.state == "aborted"
    assert champion(call) is None
    event = next(event for event in call("audit.list") if event.type == "serving.rollout_aborted")
    assert event.reason == "rejected: too early"
    again = call("serving.start_rollout", deployment="late", version=1, reason="once more")
    assert again.state == "waiting_approval"


def test_one_live_rollout_a_deployment(candidate: Rollout, call: Call) -> None:
    with pytest.raises(Conflict, match=candidate.rollout_id):
        call("serving.start_rollout", deployment="late", version=2, reason="again")


def test_unknown_and_serving_versions_are_refused(serving_one: int, call: Call) -> None:
    with pytest.raises(NotFound):
        call("serving.start_rollout", deployment="late", version=9, reason="x")
    with pytest.raises(Conflict, match="champion of late already"):
        call("serving.start_rollout", deployment="late", version=1, reason="x")


def gated(service: Call, verdict: str, gate: GateSpec | None = None) -> None:
    evidence = Evidence("late", 2, 10, {}, {}, 1, None, 0, 0, None, [])
    told = f"roc_auc 0.6 is not at least 0.65: {verdict}"
    result = GateResult(gate or GateSpec("data_checks"), verdict, told)  # type: ignore[arg-type]
    documents = {"results": [to_builtins(result)], "evidence": to_builtins(evidence)}
    service("registry.record_gates", model="late", version=2, **documents)


def test_a_version_that_failed_its_gates_is_refused_unless_forced(
    serving_one: int, declare: Call, call: Call, service: Call
) -> None:
    declare(gates=[GateSpec("at_least", {"metric": "roc_auc", "value": 0.65})])
    with pytest.raises(Conflict, match="has not been through its gates"):
        call("serving.start_rollout", deployment="late", version=2, reason="x")
    gated(service, "failed")
    with pytest.raises(Conflict, match=r"not at least 0\.65"):
        call("serving.start_rollout", deployment="late", version=2, reason="x")
    forced = call("serving.start_rollout", deployment="late", version=2, reason="x", forced_reason="a drill")
    assert (forced.state, forced.step, forced.forced_reason) == ("running", 0, "a drill")
    assert call("serving.get_release", deployment="late").variants[1].is_shadow


def test_a_version_that_passed_its_gates_may_go(serving_one: int, declare: Call, call: Call, service: Call) -> None:
    declare(gates=[GateSpec("data_checks")])
    gated(service, "passed")
    assert call("serving.start_rollout", deployment="late", version=2, reason="x").state == "running"


def test_a_refit_goes_by_the_gates_of_its_recipe(serving_one: int, declare: Call, call: Call, service: Call) -> None:
    declare(gates=[GateSpec("data_checks")])
    twin = call("registry.get_version", model="late", version=2)
    files = to_builtins(twin.files)
    document = {"model": "late", "flavour": "constant", "files": files, "signature": to_builtins(twin.signature)}
    service("registry.register", **document, refit_of=2)
    with pytest.raises(Conflict, match="has not been through its gates"):
        call("serving.start_rollout", deployment="late", version=3, reason="x")
    gated(service, "passed")
    assert call("serving.start_rollout", deployment="late", version=3, reason="x").state == "running"


def test_an_editor_cannot_go_around_approvals(serving_one: int, declare: Call, dispatcher: Dispatcher) -> None:
    def start(**args: Any) -> Rollout:
        full = {"deployment": "late", "version": 2, "reason": "x", **args}
        rollout: Rollout = dispatcher.call("serving.start_rollout", full, actor=EDITOR, project="flights")
        return rollout

    declare(approve=PERSON)
    with pytest.raises(PermissionDenied, match="approver"):
        start(needs_approval=False)
    declare()
    with pytest.raises(InvalidInput, match=r"steps\[0\]\.weight"):
        start(steps=[{"type": "canary", "weight": 2.0, "hold_us": 1, "guard": []}])
    assert start(steps=[]).state == "waiting_approval"


AUC = GateSpec("at_least", {"metric": "roc_auc", "value": 0.65})


def test_the_gates_of_the_declaration_count_not_those_that_ran(
    serving_one: int, declare: Call, call: Call, service: Call
) -> None:
    """A report over no gates, or over weaker ones, lets nothing through."""
    declare(gates=[AUC])

    def start() -> Rollout:
        rollout: Rollout = call("serving.start_rollout", deployment="late", version=2, reason="x")
        return rollout

    evidence = to_builtins(Evidence("late", 2, 10, {}, {}, 1, None, 0, 0, None, []))
    empty = service("registry.record_gates", model="late", version=2, results=[], evidence=evidence)
    assert not empty.passed
    with pytest.raises(Conflict, match="has not been through its gates"):
        start()
    for weaker in (GateSpec("data_checks"), GateSpec("at_least", {"metric": "roc_auc", "value": 0.1})):
        gated(service, "passed", weaker)
        with pytest.raises(Conflict, match=r"at_least\(metric=roc_auc, value=0.65\) was never judged"):
            start()
    gated(service, "passed", GateSpec("at_least", {"metric": "roc_auc", "value": 0.7}))
    assert start().state == "running"


def as_person(dispatcher: Dispatcher, name: str, role: Role = Role.APPROVER) -> Call:
    def call(verb: str, /, **args: Any) -> Any:
        return dispatcher.call(verb, args, actor=Actor(f"person:{name}", {"flights": role}), project="flights")

    return call


def test_an_approval_is_of_the_report_and_the_declaration_as_they_were(
    serving_one: int, declare: Call, call: Call, service: Call
) -> None:
    declare(gates=[AUC], approve=PERSON)

    def waiting() -> tuple[Rollout, Any]:
        rollout = call("serving.start_rollout", deployment="late", version=2, reason="x")
        [approval] = call("approvals.list", state="waiting")
        return rollout, approval

    gated(service, "passed", AUC)
    for change in (
        lambda: gated(service, "failed", AUC),
        lambda: declare(gates=[AUC, GateSpec("data_checks")], approve=PERSON),
    ):
        rollout, approval = waiting()
        change()
        call("approvals.approve", approval_id=approval.approval_id)
        ended = service("serving.on_approved", rollout_id=rollout.rollout_id)
        assert ended.state == "aborted"
        declare(gates=[AUC], approve=PERSON)
        gated(service, "passed", AUC)
    rollout, approval = waiting()
    assert service("serving.on_approved", rollout_id=rollout.rollout_id).state == "aborted"  # nobody said yes
    rollout, approval = waiting()
    call("approvals.approve", approval_id=approval.approval_id)
    assert service("serving.on_approved", rollout_id=rollout.rollout_id).state == "running"


def test_who_had_a_hand_in_a_version_does_not_approve_it(
    declare: Call, call: Call, dispatcher: Dispatcher, blob_store: Any
) -> None:
    ana, ben = as_person(dispatcher, "ana"), as_person(dispatcher, "ben")
    declare(approve=PERSON)
    stored = blob_store.put(b"{}")
    dispatcher.write("flights", LOCAL_ACTOR, lambda tx: tx.keep_blobs(stored))
    file = {"path": "m.json", "digest": stored.digest, "size_bytes": stored.size_bytes}
    signature = {"inputs": [], "task": "binary"}
    ana("registry.import_model", model="late", flavour="constant", files=[file], signature=signature, reason="mine")
    with pytest.raises(PermissionDenied, match="had a hand in version 1"):
        ana("serving.start_rollout", deployment="late", version=1, reason="x", needs_approval=False)
    editor = as_person(dispatcher, "ed", Role.EDITOR)
    editor("serving.start_rollout", deployment="late", version=1, reason="x")
    [approval] = call("approvals.list", state="waiting")
    assert approval.excluded == ["person:ana", "person:ed"]
    with pytest.raises(InvalidInput, match="had a hand in"):
        ana("approvals.approve", approval_id=approval.approval_id)
    ben("approvals.reject", approval_id=approval.approval_id, reason="again")
    call("serving.abort", rollout_id=call("serving.rollouts")[0].rollout_id, reason="again")
    declare(approve={**PERSON, "allows_own": True})
    ana("serving.start_rollout", deployment="late", version=1, reason="x")
    [approval] = call("approvals.list", state="waiting")
    assert "allows_own" in approval.question
    assert ana("approvals.approve", approval_id=approval.approval_id).state == "approved"


def test_a_team_of_one_that_forces_is_an_approver(
    declare: Call, serving_one: int, call: Call, service: Call, dispatcher: Dispatcher
) -> None:
    """What a declaration allows those who approve it allows no editor, by whatever verb."""
    declare(
        gates=[GateSpec("at_least", {"metric": "roc_auc", "value": 0.65})],
        approve={"first": "policy", "retrain": "policy", "allows_own": True},
    )
    gated(service, "failed")
    ana, ed = as_person(dispatcher, "ana"), as_person(dispatcher, "ed", Role.EDITOR)
    asked = {"deployment": "late", "version": 2, "reason": "x", "forced_reason": "I say so"}
    rollout = ed("serving.start_rollout", **asked)
    assert rollout.state == "waiting_approval"
    call("serving.abort", rollout_id=rollout.rollout_id, reason="no")
    assert ana("serving.start_rollout", **asked).state == "running"


@pytest.mark.parametrize("deleted", ["", "run", "execution", "experiment", "pipeline", "run execution"])
def test_who_wrote_or_started_a_training_does_not_approve_it_whatever_they_delete_first(
    declare: Call, call: Call, service: Call, dispatcher: Dispatcher, blob_store: Any, deleted: str
) -> None:
    ana, ed = as_person(dispatcher, "ana"), as_person(dispatcher, "ed", Role.EDITOR)
    eve, ben = as_person(dispatcher, "eve"), as_person(dispatcher, "ben")
    declare(approve=PERSON)
    stored = blob_store.put(b"{}")
    service("blobs.keep", blobs=[to_builtins(stored)])
    function = {"digest": stored.digest, "module": "m", "qualname": "f", "function_digest": stored.digest}
    steps = [{"name": "fit", "kind": "call", "function": function}]
    eve("pipelines.declare", spec={"name": "fit", "steps": steps, "params": {}})
    execution = ana("pipelines.start", pipeline="fit")
    run = service("tracking.start_run", experiment="fits", execution_id=execution.execution_id)
    file = {"path": "m.json", "digest": stored.digest, "size_bytes": stored.size_bytes}
    signature = {"inputs": [], "task": "binary"}
    service("registry.register", model="late", flavour="constant", files=[file], signature=signature, run=run.run_id)
    service("tracking.finish_run", run_id=run.run_id)
    call("pipelines.cancel", execution_id=execution.execution_id)
    for job in call("jobs.list", states=["queued", "running"]):
        call("jobs.cancel", job_id=job.job_id)
    refs = {"run": run.run_id, "execution": execution.execution_id, "experiment": "fits", "pipeline": "fit"}
    ben("pipelines.declare", spec={"name": "fit", "steps": steps, "params": {"rate": 2}})  # what comes later is another
    for kind in deleted.split():
        ana("deletion.delete", ref=f"{kind}:{refs[kind]}", reason="tidying up")
    ed("serving.start_rollout", deployment="late", version=1, reason="x")
    [approval] = call("approvals.list", state="waiting")
    assert {"person:ana", "person:ed", "person:eve"} <= {*approval.excluded}
    assert "person:ben" not in approval.excluded


def test_one_approver_does_not_force_and_release(serving_one: int, declare: Call, dispatcher: Dispatcher) -> None:
    declare(gates=[AUC])
    ana, ben = as_person(dispatcher, "ana"), as_person(dispatcher, "ben")
    forced = ana("loop.deploy", deployment="late", version=2, force_reason="the labels are wrong")
    assert forced.state == "waiting_approval"
    [approval] = ben("approvals.list", state="waiting")
    assert "person:ana" in approval.excluded
    ana("serving.abort", rollout_id=forced.rollout_id, reason="in two steps then")
    assert ana("serving.start_rollout", deployment="late", version=2, reason="x").state == "waiting_approval"
    ana("serving.abort", rollout_id=ana("serving.rollouts")[0].rollout_id, reason="so another does")
    assert ben("serving.start_rollout", deployment="late", version=2, reason="x").state == "running"


def test_a_rollout_without_steps_replaces_at_once(serving_one: int, declare: Call, call: Call) -> None:
    declare(rollout=[])
    assert call("serving.start_rollout", deployment="late", version=2, reason="x").state == "done"
    assert champion(call) == 2


def test_pause_and_resume_lengthen_the_hold(
    candidate: Rollout, call: Call, wall: FixedClock, dispatcher: Dispatcher
) -> None:
    wall.at_us += DAY_US
    paused = call("serving.pause", rollout_id=candidate.rollout_id, reason="holiday")
    assert paused.state == "paused"
    with pytest.raises(Conflict, match="cannot become paused"):
        call("serving.pause", rollout_id=candidate.rollout_id, reason="again")
    wall.at_us += 2 * DAY_US
    resumed = call("serving.resume", rollout_id=candidate.rollout_id, reason="back")
    assert (resumed.state, resumed.paused_us, resumed.paused_at) == ("running", 2 * DAY_US, None)
    (timer,) = timers(dispatcher)
    assert timer.due_at == candidate.step_started_at + 9 * DAY_US
    with pytest.raises(Conflict):
        call("serving.resume", rollout_id=candidate.rollout_id, reason="again")


def test_an_abort_takes_the_candidate_out_at_once(
    candidate: Rollout, call: Call, dispatcher: Dispatcher, events: Call
) -> None:
    with pytest.raises(InvalidInput, match="reason"):
        call("serving.abort", rollout_id=candidate.rollout_id, reason=" ")
    aborted = call("serving.abort", rollout_id=candidate.rollout_id, reason="wrong data")
    assert aborted.state == "aborted"
    assert [variant.name for variant in call("serving.get_release", deployment="late").variants] == ["champion"]
    assert timers(dispatcher) == []
    assert events()[-2:] == ["serving.released", "serving.rollout_aborted"]
    for verb in ("abort", "pause", "resume"):
        with pytest.raises(Conflict, match="final"):
            call(f"serving.{verb}", rollout_id=candidate.rollout_id, reason="again")


@pytest.mark.parametrize("late", ["serving.pause", "serving.abort"])
def test_a_call_that_comes_too_late_changes_nothing(
    candidate: Rollout, call: Call, dispatcher: Dispatcher, late: str
) -> None:
    named = {"rollout_id": candidate.rollout_id, "reason": "wrong rows"}
    with ThreadPoolExecutor(1) as pool:

        def abort_slowly(tx: Tx) -> "Future[Any]":
            find_verb("serving.abort").function(tx, **named)
            other = pool.submit(call, late, **named)
            wait_for_rivals(tx.connection, [other])
            return other

        other = dispatcher.write("flights", LOCAL_ACTOR, abort_slowly)
        with pytest.raises(Conflict, match="final"):
            other.result()
    assert call("serving.get_rollout", rollout_id=candidate.rollout_id).state == "aborted"


def test_an_approval_that_comes_too_late_changes_nothing(
    declare: Call, register: Call, call: Call, service: Call, dispatcher: Dispatcher
) -> None:
    declare(approve=PERSON)
    register("one")
    waiting = call("serving.start_rollout", deployment="late", version=1, reason="the first")
    with ThreadPoolExecutor(1) as pool:

        def abort_slowly(tx: Tx) -> "Future[Any]":
            find_verb("serving.abort").function(tx, rollout_id=waiting.rollout_id, reason="wrong rows")
            other = pool.submit(service, "serving.on_approved", rollout_id=waiting.rollout_id)
            wait_for_rivals(tx.connection, [other])
            return other

        assert dispatcher.write("flights", LOCAL_ACTOR, abort_slowly).result().state == "aborted"
    assert champion(call) is None


def test_an_abort_while_waiting_withdraws_the_question(declare: Call, register: Call, call: Call) -> None:
    declare(approve=PERSON)
    register("one")
    waiting = call("serving.start_rollout", deployment="late", version=1, reason="the first")
    call("serving.abort", rollout_id=waiting.rollout_id, reason="changed my mind")
    assert call("approvals.list", state="waiting") == []


def test_a_rollback_mid_rollout_is_the_release_without_the_candidate(
    candidate: Rollout, call: Call, service: Call, events: Call, dispatcher: Dispatcher
) -> None:
    made = service("serving.rollback", deployment="late", reason="pager")
    assert [(variant.name, variant.version) for variant in made.variants] == [("champion", 1)]
    assert call("serving.get_rollout", rollout_id=candidate.rollout_id).state == "aborted"
    assert events()[-3:] == ["serving.released", "serving.rollout_aborted", "serving.rolled_back"]
    assert timers(dispatcher) == []
    event = call("audit.list", limit=1)[0]
    assert (event.payload["version"], event.payload["left"], event.payload["was_candidate"]) == (1, 2, True)


def test_rollbacks_walk_back_and_never_return_to_what_was_left(
    declare: Call, register: Call, call: Call, service: Call
) -> None:
    declare(rollout=[])
    for number in (1, 2, 3):
        register(f"content {number}")
        call("serving.start_rollout", deployment="late", version=number, reason="next")
    service("serving.rollback", deployment="late", reason="3 is bad")
    assert champion(call) == 2
    service("serving.rollback", deployment="late", reason="2 is bad too")
    assert champion(call) == 1
    with pytest.raises(Conflict, match="no earlier champion"):
        service("serving.rollback", deployment="late", reason="and 1?")
    call("serving.start_rollout", deployment="late", version=3, reason="3 was fine after all")
    service("serving.rollback", deployment="late", reason="it was not")
    assert champion(call) == 1


def test_nothing_to_roll_back_before_the_first_release(declare: Call, service: Call) -> None:
    declare()
    with pytest.raises(Conflict, match="serves nothing"):
        service("serving.rollback", deployment="late", reason="x")


def test_rollouts_are_listed_newest_first(candidate: Rollout, call: Call) -> None:
    assert [rollout.version for rollout in call("serving.rollouts", deployment="late")] == [2, 1]
    assert call("serving.rollouts", deployment="other") == []
    with pytest.raises(NotFound):
        call("serving.get_rollout", rollout_id="roll_gone")
