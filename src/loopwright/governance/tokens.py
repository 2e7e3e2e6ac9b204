"""Verbs of access tokens. Only the digest of a secret is stored; the secret is answered once."""

import re
import secrets

from loopwright.governance import sql
from loopwright.governance.events import TokenCreated, TokenRevoked
from loopwright.governance.types import SYSTEM, Actor, NewToken, Token
from loopwright.kernel.clock import parse_duration
from loopwright.kernel.documents import digest_bytes
from loopwright.kernel.errors import InvalidInput, NotFound, PermissionDenied, Unauthenticated
from loopwright.kernel.verbs import EVERY_PROJECT, Role, query, verb
from loopwright.store.tx import Tx
from loopwright.store.types import Bounds, Job

LOCAL_ACTOR = Actor("person:local", {EVERY_PROJECT: Role.ADMIN})
"""Who calls a server that runs open on the loopback address."""

SERVICE_ACTOR = Actor("service:loopwright", {EVERY_PROJECT: Role.SERVICE})
"""The server itself, and who holds the service token."""

GATEWAY = Actor("service:gateway", {EVERY_PROJECT: Role.SERVICE}, Bounds("gateway"))
WORKER = Actor("service:worker", {EVERY_PROJECT: Role.SERVICE}, Bounds("worker"))
"""A worker on its own account: it takes jobs and tells how they ended."""


_ACTOR = re.compile(r"(person|service|policy):[A-Za-z0-9_][A-Za-z0-9_.@+\-]{0,127}")
_RESERVED = {*(actor.name for actor in (LOCAL_ACTOR, SERVICE_ACTOR, GATEWAY, WORKER)), "service:timers"}
_PROGRAM_ROLES = (Role.VIEWER, Role.EDITOR)
"""What a program may be: it decides nothing, so that no admin decides through one."""


@verb("tokens.create", changes=Token, role=Role.ADMIN, keeps_answer=False)
def create(tx: Tx, *, actor: str, role: Role, every_project: bool = False, expires_in: str | None = None) -> NewToken:
    """Create a token for a person or a program; its secret is in the answer and nowhere else.

    A name belongs to whoever has it: ``policy:`` is the platform's, and a person who has a token elsewhere gets further
    ones from themselves or from an admin of every project.

    Args:
        actor: Such as ``person:ana``, or ``service:crm`` for a program, which views or edits.
        role: What the actor may do.
        every_project: True for all projects, not only this one.
        expires_in: A duration such as ``90d``; None for no end.
    """
    if not _ACTOR.fullmatch(actor):
        raise InvalidInput(
            "an actor has a kind and a name", field="actor", value=actor, rule="person:name or service:name"
        )
    if actor in _RESERVED:
        raise InvalidInput(
            "this actor is the platform's own", field="actor", value=actor, next_step="choose another name"
        )
    _check_identity(tx, actor, role)
    if role is Role.SERVICE and not (tx.role is Role.SERVICE and EVERY_PROJECT in tx.roles):
        raise InvalidInput("service tokens are made by the server itself", field="role", value=role.value)
    if every_project and EVERY_PROJECT not in tx.roles:
        raise InvalidInput("only an admin of every project may do this", field="every_project", value=True)
    secret = "lwt_" + secrets.token_urlsafe(32)
    expires_at = None if expires_in is None else tx.wall_us + parse_duration(expires_in, "expires_in")
    project = EVERY_PROJECT if every_project else tx.project
    token = Token(tx.new_id("tok"), actor, project, role, tx.wall_us, expires_at, None)
    stored = digest_bytes(secret.encode())
    sql.insert_token(tx, token, stored)
    facts = TokenCreated(actor, role, project, digest_bytes(stored.encode()), expires_at)
    tx.emit(facts, tx.ref("token", token.token_id))
    return NewToken(token, secret)


def _check_identity(tx: Tx, actor: str, role: Role) -> None:
    kind = actor.partition(":")[0]
    if tx.role is Role.SERVICE:
        return
    if kind == "policy":
        rule = "person:name, or service:name for a program"
        raise InvalidInput("policies act inside the platform and have no token", field="actor", value=actor, rule=rule)
    if kind == "service" and role not in _PROGRAM_ROLES and role is not Role.SERVICE:
        rule = f"one of {', '.join(one.value for one in _PROGRAM_ROLES)}"
        raise InvalidInput("a program decides nothing", field="role", value=role.value, rule=rule)
    elsewhere = {token.project for token in sql.live_tokens_of(tx.connection, actor, tx.wall_us)} - {tx.project}
    if elsewhere and actor != tx.actor and EVERY_PROJECT not in tx.roles:
        raise PermissionDenied(
            f"{actor} is known outside {tx.project}",
            field="actor",
            value=actor,
            rule="a name is given by who has it, or by an admin of every project",
            next_step="choose another name, or ask an admin of every project",
        )


@query("tokens.list", role=Role.ADMIN)
def list_tokens(tx: Tx) -> list[Token]:
    """Return the tokens of this project, newest first; never their secrets; in ``_system`` those for every project."""
    return sql.list_tokens(tx, _scope(tx))


@verb("tokens.revoke", changes=Token, role=Role.ADMIN)
def revoke(tx: Tx, *, token_id: str, reason: str = "") -> None:
    """End a token at once."""
    if sql.revoke_token(tx, _scope(tx), token_id, tx.wall_us) == 0:
        raise NotFound("no live token has this id here", field="token_id", value=token_id)
    tx.emit(TokenRevoked(), tx.ref("token", token_id), reason=reason)


@query("tokens.live", internal=True, parts=("gateway",), above_projects=True)
def live(tx: Tx) -> dict[str, Token]:
    """Return every live token by the digest of its secret, for the gateways."""
    return dict(sql.live_token_digests(tx, tx.wall_us))


def lend(tx: Tx, secret_digest: str) -> Token:
    """Let a job into this project as an editor, beside its own: its token opens both, until the loan ends.

    Args:
        tx: In the project that the job is let into.
        secret_digest: SHA-256 of the job's token. The token itself is stored nowhere.
    """
    token = Token(tx.new_id("tok"), SERVICE_ACTOR.name, tx.project, Role.EDITOR, tx.wall_us, None, None)
    sql.insert_token(tx, token, secret_digest)
    tx.emit(TokenCreated(actor=token.actor, role=token.role, project=tx.project), tx.ref("token", token.token_id))
    return token


def end_loans(tx: Tx, reason: str) -> None:
    """Let no job into this project any more but its own."""
    for token in sql.list_tokens(tx, [tx.project]):
        if token.actor == SERVICE_ACTOR.name and token.revoked_at is None:
            sql.revoke_token(tx, [tx.project], token.token_id, tx.wall_us)
            tx.emit(TokenRevoked(), tx.ref("token", token.token_id), reason=reason)


def job_actor(tx: Tx, job: Job, secret: str) -> Actor:
    """Return who does a job: the platform, in the project of the job and for what jobs are for.

    Where another project was lent to it, an editor there.

    Args:
        tx: Above projects.
        job: Which is under way.
        secret: The token of the attempt.
    """
    lent = sql.find_token(tx, digest_bytes(secret.encode()))
    roles = {job.project: Role.SERVICE}
    if lent is not None and lent.revoked_at is None and lent.project != job.project:
        roles[lent.project] = lent.role
    return Actor(SERVICE_ACTOR.name, roles, Bounds("job", job_id=job.job_id, job_kind=job.kind))


def _scope(tx: Tx) -> list[str]:
    """Return the grants that are looked after from here: above projects also those that hold in every one."""
    return [tx.project, EVERY_PROJECT] if tx.project == SYSTEM else [tx.project]


def authenticate(tx: Tx, secret: str) -> Actor:
    """Return the actor of a token.

    Raises:
        Unauthenticated: The token is unknown, revoked or expired.
    """
    return actor_of(tx, sql.find_token(tx, digest_bytes(secret.encode())))


def actor_of(tx: Tx, token: Token | None) -> Actor:
    """Return whose token this is; raises like ``authenticate``."""
    is_live = token is not None and token.revoked_at is None
    if token is None or not is_live or (token.expires_at is not None and token.expires_at <= tx.wall_us):
        raise Unauthenticated("this token is not valid", next_step="loopwright login, or ask an admin for a token")
    return Actor(token.actor, {token.project: token.role}, token_id=token.token_id)
