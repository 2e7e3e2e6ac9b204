"""Approvals: of exactly one digest, by somebody else than the one who asked."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, Actor, Approval, Dispatcher, approvals
from loopwright.kernel.errors import Conflict, InvalidInput, LoopwrightError, NotFound, PermissionDenied
from loopwright.kernel.verbs import Role
from loopwright.store.tx import Tx
from tests.databases import wait_for_rivals

ANA = Actor("person:ana", {"flights": Role.APPROVER})
BEN = Actor("person:ben", {"flights": Role.APPROVER})
BOT = Actor("service:ci", {"flights": Role.APPROVER})


@pytest.fixture
def ask(dispatcher: Dispatcher) -> Callable[..., Approval]:
    def by(actor: Actor, digest: str = "d1") -> Approval:
        made: Approval = dispatcher.write(
            "flights", actor, lambda tx: approvals.ask(tx, "flights/rollout:r1", "may it?", digest)
        )
        return made

    return by


def decide(
    dispatcher: Dispatcher, actor: Actor, approval: Approval, verb: str = "approve", reason: str = "fine"
) -> Any:
    args = {"approval_id": approval.approval_id, "reason": reason}
    return dispatcher.call(f"approvals.{verb}", args, actor=actor, project="flights")


@pytest.mark.parametrize("asker", [ANA, BOT])
def test_nobody_approves_what_they_asked_for(
    dispatcher: Dispatcher, ask: Callable[..., Approval], asker: Actor
) -> None:
    approval = ask(asker)
    with pytest.raises(LoopwrightError, match="nobody approves"):
        decide(dispatcher, asker, approval)
    done = decide(dispatcher, BEN, approval)
    assert (done.state, done.decided_by, done.reason) == ("approved", "person:ben", "fine")


def test_nobody_approves_what_they_had_a_hand_in(dispatcher: Dispatcher) -> None:
    def ask(*excluded: str) -> Approval:
        def work(tx: Tx) -> Approval:
            return approvals.ask(tx, f"flights/rollout:{len(excluded)}", "may it?", "d1", excluded=excluded)

        made: Approval = dispatcher.write("flights", SERVICE_ACTOR, work)
        return made

    approval = ask("person:ana", "person:ed")
    with pytest.raises(InvalidInput, match="had a hand in"):
        decide(dispatcher, ANA, approval)
    assert decide(dispatcher, ANA, approval, "reject", "no").state == "rejected"
    alone = ask()
    assert "allows_own" in alone.question
    assert decide(dispatcher, ANA, alone).state == "approved"


def test_who_asked_may_take_it_back(dispatcher: Dispatcher, ask: Callable[..., Approval]) -> None:
    assert decide(dispatcher, ANA, ask(ANA), "reject", "changed my mind").state == "rejected"


def test_the_local_person_of_an_open_server_may_do_both(dispatcher: Dispatcher, ask: Callable[..., Approval]) -> None:
    assert decide(dispatcher, LOCAL_ACTOR, ask(LOCAL_ACTOR)).state == "approved"


def test_an_editor_approves_nothing(dispatcher: Dispatcher, ask: Callable[..., Approval]) -> None:
    with pytest.raises(PermissionDenied):
        decide(dispatcher, Actor("person:ed", {"flights": Role.EDITOR}), ask(SERVICE_ACTOR))


def test_a_decision_is_final(dispatcher: Dispatcher, ask: Callable[..., Approval]) -> None:
    approval = ask(SERVICE_ACTOR)
    decide(dispatcher, ANA, approval)
    for verb in ("approve", "reject"):
        with pytest.raises(Conflict):
            decide(dispatcher, BEN, approval, verb)


def test_of_two_decisions_at_once_one_counts(dispatcher: Dispatcher, ask: Callable[..., Approval]) -> None:
    approval = ask(SERVICE_ACTOR)
    with ThreadPoolExecutor(1) as pool:

        def approve_slowly(tx: Tx) -> "Future[Any]":
            approvals.approve(tx, approval_id=approval.approval_id)
            other = pool.submit(decide, dispatcher, BEN, approval, "reject")
            wait_for_rivals(tx.connection, [other])
            return other

        other = dispatcher.write("flights", ANA, approve_slowly)
        with pytest.raises(Conflict):
            other.result()
    found = dispatcher.call("approvals.get", {"approval_id": approval.approval_id}, actor=ANA, project="flights")
    assert (found.state, found.decided_by) == ("approved", "person:ana")


def test_another_digest_voids_what_waits(dispatcher: Dispatcher, ask: Callable[..., Approval]) -> None:
    first = ask(SERVICE_ACTOR)
    assert ask(SERVICE_ACTOR) == first
    second = ask(SERVICE_ACTOR, "d2")
    with pytest.raises(Conflict):
        decide(dispatcher, ANA, first)
    waiting = dispatcher.call("approvals.list", {"state": "waiting"}, actor=ANA, project="flights")
    assert [one.approval_id for one in waiting] == [second.approval_id]


def test_a_rejection_needs_a_reason(dispatcher: Dispatcher, ask: Callable[..., Approval]) -> None:
    with pytest.raises(InvalidInput, match="needs a reason"):
        decide(dispatcher, ANA, ask(SERVICE_ACTOR), "reject", "  ")


def test_an_approval_of_another_project_is_not_there(dispatcher: Dispatcher, ask: Callable[..., Approval]) -> None:
    approval = ask(SERVICE_ACTOR)
    dispatcher.call("projects.create", {"name": "other"}, actor=LOCAL_ACTOR, project="_system")
    args, eve = {"approval_id": approval.approval_id}, Actor("person:eve", {"other": Role.ADMIN})
    with pytest.raises(NotFound):
        dispatcher.call("approvals.approve", args, actor=eve, project="other")


def test_the_trail_says_who_decided_what(dispatcher: Dispatcher, ask: Callable[..., Approval]) -> None:
    decide(dispatcher, ANA, ask(SERVICE_ACTOR))
    newest = dispatcher.call("audit.list", {"limit": 1}, actor=ANA, project="flights")[0]
    assert (newest.type, newest.actor, newest.payload["digest"]) == ("approvals.approved", "person:ana", "d1")
