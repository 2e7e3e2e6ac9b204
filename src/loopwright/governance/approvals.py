"""Approvals: decisions that policy leaves to a person."""

from collections.abc import Collection

from loopwright.governance import sql
from loopwright.governance.events import ApprovalApproved, ApprovalAsked, ApprovalRejected, ApprovalWithdrawn
from loopwright.governance.tokens import LOCAL_ACTOR
from loopwright.governance.types import APPROVAL_STATES, Approval
from loopwright.kernel.errors import InvalidInput, NotFound
from loopwright.kernel.states import check_change
from loopwright.kernel.verbs import Role, query, verb
from loopwright.store.tx import Tx

_DECIDED = {"approved": ApprovalApproved, "rejected": ApprovalRejected, "withdrawn": ApprovalWithdrawn}


def ask(tx: Tx, subject: str, question: str, digest: str, *, excluded: Collection[str] | None = None) -> Approval:
    """Open an approval for exactly one digest; asking again while it waits is once.

    Args:
        subject: The ref that waits.
        question: What is asked, in a sentence.
        digest: Of everything that the answer is about.
        excluded: Who may not say yes, for they had a hand in it; None for whoever asks now. The platform itself and
            the local person of a server that runs open always may.
    """
    for waiting in sql.list_approvals(tx, state="waiting", subject=subject):
        if waiting.digest == digest:
            return waiting
        _decide(tx, waiting, "withdrawn", "what was asked for has changed")
    if excluded is not None and not excluded:
        question += " Whoever had a hand in it may approve, too: its declaration allows_own."
    barred = sorted([tx.actor] if excluded is None else excluded)
    asked = (tx.new_id("appr"), subject, question, digest, "waiting", tx.actor, tx.now_us)
    approval = Approval(*asked, excluded=barred)
    sql.insert_approval(tx, approval)
    tx.emit(ApprovalAsked(approval.approval_id, digest, question, barred), subject)
    return approval


@query("approvals.list")
def list_approvals(tx: Tx, *, state: str | None = None, subject: str | None = None) -> list[Approval]:
    """Return approvals, newest first."""
    return sql.list_approvals(tx, state=state, subject=subject)


@query("approvals.get")
def get(tx: Tx, *, approval_id: str) -> Approval:
    """Return one approval."""
    approval = sql.find_approval(tx, approval_id)
    if approval is None:
        raise NotFound("no such approval", field="approval_id", value=approval_id, next_step="loopwright status")
    return approval


@verb("approvals.approve", changes=Approval, role=Role.APPROVER)
def approve(tx: Tx, *, approval_id: str, reason: str = "") -> Approval:
    """Say yes. Whoever asked or had a hand in it cannot, but the platform itself and the person of an open server."""
    return _decide(tx, get(tx, approval_id=approval_id), "approved", reason)


@verb("approvals.reject", changes=Approval, role=Role.APPROVER)
def reject(tx: Tx, *, approval_id: str, reason: str) -> Approval:
    """Say no, with a reason."""
    if not reason.strip():
        raise InvalidInput("a rejection needs a reason", field="reason", rule="at least one word")
    return _decide(tx, get(tx, approval_id=approval_id), "rejected", reason)


def withdraw(tx: Tx, subject: str, reason: str) -> None:
    """Close what still waits about a subject, because the question is moot."""
    for waiting in sql.list_approvals(tx, state="waiting", subject=subject):
        _decide(tx, waiting, "withdrawn", reason)


def _decide(tx: Tx, approval: Approval, state: str, reason: str) -> Approval:
    check_change("approval", APPROVAL_STATES, approval.state, state)
    is_platform = tx.role is Role.SERVICE or tx.actor == LOCAL_ACTOR.name
    excluded = [approval.asked_by] if approval.excluded is None else approval.excluded
    if state == "approved" and tx.actor in excluded and not is_platform:
        raise InvalidInput(
            "nobody approves what they asked for or had a hand in",
            field="actor",
            value=tx.actor,
            rule="who trained, registered, started or forced it leaves the decision to others",
            next_step="ask another approver; a team of one declares lw.Approve(allows_own=True)",
        )
    sql.update_approval(
        tx,
        approval,
        state=state,
        decided_by=tx.actor,
        decided_at=tx.now_us,
        reason=reason,
    )
    facts = _DECIDED[state](approval_id=approval.approval_id, digest=approval.digest)
    tx.emit(facts, approval.subject, reason=reason)
    return get(tx, approval_id=approval.approval_id)
