"""Who may do what, who did what, what was made from what: projects, actors, tokens, lineage, approvals, audit."""

from typing import TYPE_CHECKING

from loopwright.kernel.doors import later
from loopwright.kernel.verbs import EVERY_PROJECT

if TYPE_CHECKING:
    from loopwright.governance import approvals, audit, denials, ledgers, lineage, loosening, projects, tokens
    from loopwright.governance.arguments import check_arguments, read_arguments
    from loopwright.governance.audit import LogReport
    from loopwright.governance.books import Account, Mismatch, ledger, unmaking
    from loopwright.governance.checkpoints import MISSING_EVENTS, Checkpoints, Pacemaker, read_keys
    from loopwright.governance.dispatch import (
        Dispatcher,
        check_permission,
        find_verb,
        has_role,
        require_job,
        require_role,
    )
    from loopwright.governance.events import (
        ApprovalApproved,
        ApprovalAsked,
        ApprovalRejected,
        ApprovalWithdrawn,
        BlobRead,
        CallDenied,
        CheckpointsBegun,
        LogPutBack,
        ProjectChanged,
        ProjectClosed,
        ProjectCreated,
        ProjectDeleted,
        TokenCreated,
        TokenRevoked,
    )
    from loopwright.governance.loosening import Loosening, Weaker
    from loopwright.governance.sessions import LENGTH_US as SESSION_LENGTH_US
    from loopwright.governance.sessions import PREFIX as SESSION_PREFIX
    from loopwright.governance.tokens import GATEWAY, LOCAL_ACTOR, SERVICE_ACTOR, WORKER, job_actor
    from loopwright.governance.types import SYSTEM, Actor, Approval, LineageEdge, NewToken, Project, RefusedCall, Token

__getattr__ = later(__name__)

__all__ = [
    "EVERY_PROJECT",
    "GATEWAY",
    "LOCAL_ACTOR",
    "MISSING_EVENTS",
    "SERVICE_ACTOR",
    "SESSION_LENGTH_US",
    "SESSION_PREFIX",
    "SYSTEM",
    "WORKER",
    "Account",
    "Actor",
    "Approval",
    "ApprovalApproved",
    "ApprovalAsked",
    "ApprovalRejected",
    "ApprovalWithdrawn",
    "BlobRead",
    "CallDenied",
    "Checkpoints",
    "CheckpointsBegun",
    "Dispatcher",
    "LineageEdge",
    "LogPutBack",
    "LogReport",
    "Loosening",
    "Mismatch",
    "NewToken",
    "Pacemaker",
    "Project",
    "ProjectChanged",
    "ProjectClosed",
    "ProjectCreated",
    "ProjectDeleted",
    "RefusedCall",
    "Token",
    "TokenCreated",
    "TokenRevoked",
    "Weaker",
    "approvals",
    "audit",
    "check_arguments",
    "check_permission",
    "denials",
    "find_verb",
    "has_role",
    "job_actor",
    "ledger",
    "ledgers",
    "lineage",
    "loosening",
    "projects",
    "read_arguments",
    "read_keys",
    "require_job",
    "require_role",
    "tokens",
    "unmaking",
]
