"""Events of governance: projects, tokens and approvals."""

from loopwright.governance.types import ClockKind, Risk
from loopwright.kernel.events import Facts, event
from loopwright.kernel.verbs import Role


@event("projects.created")
class ProjectCreated(Facts, frozen=True):
    """A project came to be, on its clock for ever."""

    owner: str
    risk: Risk
    clock: ClockKind


@event("projects.changed")
class ProjectChanged(Facts, frozen=True):
    """A project has another owner or another risk."""

    owner: str
    risk: Risk


@event("projects.closed")
class ProjectClosed(Facts, frozen=True):
    """Nothing is changed in a project any more."""


@event("projects.deleted")
class ProjectDeleted(Facts, frozen=True):
    """A project's rows are being removed, and with them what no other names; its events stay."""


@event("tokens.created")
class TokenCreated(Facts, frozen=True):
    """An actor was given a token; ``project`` is ``*`` where it holds in every one.

    ``fingerprint`` is a digest of what is stored of its secret; with it and ``expires_at`` nobody exchanges either
    unseen. Both are missing in events of older versions.
    """

    actor: str
    role: Role
    project: str
    fingerprint: str = ""
    expires_at: int | None = None


@event("tokens.revoked")
class TokenRevoked(Facts, frozen=True):
    """A token ended at once."""


class _ApprovalFacts(Facts, frozen=True):
    approval_id: str
    digest: str


@event("approvals.asked")
class ApprovalAsked(_ApprovalFacts, frozen=True):
    """A decision about one digest was left to a person; ``excluded`` may not say yes (missing in older events)."""

    question: str
    excluded: list[str] | None = None


@event("approvals.approved")
class ApprovalApproved(_ApprovalFacts, frozen=True):
    """A person said yes to exactly this digest."""


@event("approvals.rejected")
class ApprovalRejected(_ApprovalFacts, frozen=True):
    """A person said no."""


@event("approvals.withdrawn")
class ApprovalWithdrawn(_ApprovalFacts, frozen=True):
    """The question is moot: what was asked for has changed or gone."""


@event("audit.checkpoints_begun")
class CheckpointsBegun(Facts, frozen=True):
    """A server found a log of ``position`` events and no checkpoint of it, and signs from here on."""

    position: int
    where: str


@event("audit.log_put_back")
class LogPutBack(Facts, frozen=True):
    """An older log took the place of a newer one: checkpoints that it does not hold are ``given_up``."""

    position: int
    given_up: int


@event("access.denied")
class CallDenied(Facts, frozen=True):
    """A call was refused; ``project`` is the one that was asked for, ``client`` the address that it came from.

    Of what a gateway refused, ``gateway`` is its address and ``refused_at`` the moment, microseconds UTC.
    """

    verb: str
    project: str
    client: str
    gateway: str = ""
    refused_at: int | None = None


@event("access.blob_read")
class BlobRead(Facts, frozen=True):
    """Somebody took the bytes of a blob out of the project; told once an hour for each token."""

    digest: str
