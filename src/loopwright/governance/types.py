"""Structs of governance: projects, actors, tokens, lineage, approvals."""

from typing import Literal

import msgspec

from loopwright.kernel.verbs import EVERY_PROJECT, Role
from loopwright.store.types import Bounds

ClockKind = Literal["wall", "replay"]
Risk = Literal["low", "medium", "high"]

RANK = {Role.VIEWER: 0, Role.EDITOR: 1, Role.APPROVER: 2, Role.ADMIN: 3}
"""Strength of the roles of persons; SERVICE stands beside them."""

SYSTEM = "_system"
"""The project name of calls that stand above projects, such as creating one or claiming jobs."""


class Project(msgspec.Struct, frozen=True):
    """Isolation and permission scope. Moments are microseconds UTC; ``clock_at`` is the replay clock's.

    Once closed nothing is changed in it any more; once deleted its rows go too. Its name and its events stay.
    """

    name: str
    owner: str
    risk: Risk
    clock: ClockKind
    clock_at: int
    created_at: int
    closed_at: int | None = None
    deleted_at: int | None = None


class Actor(msgspec.Struct, frozen=True):
    """Who calls: ``person:ana``, ``service:worker`` or ``policy:late``; and the role in each project.

    ``bounds`` narrow what a part of the platform may call to what that part is for. ``token_id`` names the token that
    proved it, ``client`` the address that the call came from, None where there is none: they go on record.
    """

    name: str
    roles: dict[str, Role]
    bounds: Bounds | None = None
    token_id: str | None = None
    client: str | None = None

    def role_in(self, project: str) -> Role | None:
        """Return the role in a project, or None."""
        return self.roles.get(project) or self.roles.get(EVERY_PROJECT)


class Token(msgspec.Struct, frozen=True):
    """Record of an access token; the secret itself is shown once and never stored."""

    token_id: str
    actor: str
    project: str
    role: Role
    created_at: int
    expires_at: int | None
    revoked_at: int | None


class NewToken(msgspec.Struct, frozen=True):
    """A token with its secret, as answered once to its creator."""

    token: Token
    secret: str


APPROVAL_STATES = {
    "waiting": frozenset({"approved", "rejected", "withdrawn"}),
    "approved": frozenset[str](),
    "rejected": frozenset[str](),
    "withdrawn": frozenset[str](),
}


class Approval(msgspec.Struct, frozen=True):
    """A human decision about one digest: ``subject`` is the ref that waits, ``digest`` what exactly is approved.

    ``excluded`` names who may not say yes; None, in approvals of older versions, means who asked.
    """

    approval_id: str
    subject: str
    question: str
    digest: str
    state: str
    asked_by: str
    asked_at: int
    decided_by: str | None = None
    decided_at: int | None = None
    reason: str | None = None
    excluded: list[str] | None = None


class LineageEdge(msgspec.Struct, frozen=True):
    """``child`` was made from ``parent``; ``relation`` says how, such as ``trained_on``."""

    child: str
    parent: str
    relation: str


class RefusedCall(msgspec.Struct, frozen=True):
    """A call that a gateway refused.

    ``verb`` is what was asked of it, ``project`` where, empty if that was not said; ``client`` the address that asked,
    ``refused_at`` when (microseconds UTC). ``token_id`` is None where the caller had no token that opens anything.
    """

    verb: str
    project: str
    client: str
    refused_at: int
    token_id: str | None = None
