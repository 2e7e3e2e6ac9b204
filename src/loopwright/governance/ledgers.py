"""What events say of projects, tokens and approvals."""

from collections.abc import Mapping
from typing import Any

from loopwright.governance.books import SET, UNSET, Account, ledger
from loopwright.governance.events import (
    ApprovalApproved,
    ApprovalAsked,
    ApprovalRejected,
    ApprovalWithdrawn,
    ProjectChanged,
    ProjectClosed,
    ProjectCreated,
    ProjectDeleted,
    TokenCreated,
    TokenRevoked,
)
from loopwright.governance.tables import approvals, projects, tokens
from loopwright.kernel.documents import digest_bytes
from loopwright.kernel.events import Event, event_type
from loopwright.kernel.refs import parse_ref

_PROJECT_ENDS = {event_type(ProjectClosed): "closed_at", event_type(ProjectDeleted): "deleted_at"}
_DECISIONS = {
    event_type(ApprovalApproved): (ApprovalApproved, "approved"),
    event_type(ApprovalRejected): (ApprovalRejected, "rejected"),
    event_type(ApprovalWithdrawn): (ApprovalWithdrawn, "withdrawn"),
}


@ledger(projects, key=("project_id",), told_by=(ProjectCreated, ProjectChanged, ProjectClosed, ProjectDeleted))
def keep_projects(account: Account, event: Event) -> None:
    """Whose a project is, its clock, and whether it has ended."""
    key = (parse_ref(event.ref).name,)
    if event.type == event_type(ProjectCreated):
        created = event.read(ProjectCreated)
        facts = {"owner": created.owner, "risk": created.risk, "clock": created.clock}
        account.put(key, event, **facts, closed_at=UNSET, deleted_at=UNSET)
    elif event.type == event_type(ProjectChanged):
        changed = event.read(ProjectChanged)
        account.change(key, event, owner=changed.owner, risk=changed.risk)
    else:
        account.change(key, event, **{_PROJECT_ENDS[event.type]: SET})


def _fingerprint(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"fingerprint": digest_bytes(row["secret_digest"].encode())}


@ledger(tokens, key=("token_id",), told_by=(TokenCreated, TokenRevoked), also=_fingerprint)
def keep_tokens(account: Account, event: Event) -> None:
    """Who may do what where, with which secret, and until when."""
    key = (parse_ref(event.ref).name,)
    if event.type == event_type(TokenRevoked):
        account.change(key, event, revoked_at=SET)
        return
    made = event.read(TokenCreated)
    facts: dict[str, Any] = {"actor": made.actor, "role": made.role.value, "project_id": made.project}
    if made.fingerprint:
        facts |= {"fingerprint": made.fingerprint, "expires_at": made.expires_at}
    account.put(key, event, **facts, revoked_at=UNSET)


@ledger(
    approvals,
    key=("project_id", "approval_id"),
    told_by=(ApprovalAsked, ApprovalApproved, ApprovalRejected, ApprovalWithdrawn),
)
def keep_approvals(account: Account, event: Event) -> None:
    """What was asked of whom, and who said what."""
    if event.type in _DECISIONS:
        kind, state = _DECISIONS[event.type]
        key = (event.project, event.read(kind).approval_id)
        account.change(key, event, state=state, decided_by=event.actor)
        return
    asked = event.read(ApprovalAsked)
    facts: dict[str, Any] = {"subject": event.ref, "question": asked.question, "digest": asked.digest}
    if asked.excluded is not None:
        facts["excluded"] = asked.excluded
    key = (event.project, asked.approval_id)
    account.put(key, event, **facts, state="waiting", asked_by=event.actor, decided_by=None)
