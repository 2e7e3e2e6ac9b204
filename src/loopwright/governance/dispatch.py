"""Dispatch: the one way a verb is called from outside. Permission, arguments, row and event go together."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NoReturn

import msgspec

from loopwright.governance import sessions, sql, tokens
from loopwright.governance.arguments import check_arguments
from loopwright.governance.projects import require_life, unknown_project
from loopwright.governance.types import RANK, SYSTEM, Actor, Project
from loopwright.kernel.clock import DAY_US, Clock, FixedClock, WallClock
from loopwright.kernel.documents import digest_of, to_builtins
from loopwright.kernel.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from loopwright.kernel.suggestions import suggest
from loopwright.kernel.verbs import EVERY_PROJECT, VERBS, Life, Role, Verb
from loopwright.store import sql as store_sql
from loopwright.store.engine import Connection, Database
from loopwright.store.tx import Tx
from loopwright.store.types import Bounds
from loopwright.store.work import Power, kinds_with

KEYS_KEPT_US = 30 * DAY_US
"""How long a call may be repeated under its idempotency key."""


class Dispatcher:
    """Calls verbs and queries against one database."""

    def __init__(self, database: Database, wall: Clock | None = None) -> None:
        self.database = database
        self.wall = wall or WallClock()

    def submit(
        self,
        name: str,
        args: dict[str, Any],
        *,
        actor: Actor,
        project: str,
        idempotency_key: str | None = None,
        cause: int | None = None,
    ) -> Future[Any]:
        """Queue a verb; the future ends with its result once it is durable. Queries run at once."""
        called = find_verb(name)
        check_permission(called, actor, project)
        values = check_arguments(called, args)
        if called.is_operation:
            raise InvalidInput(f"{name} needs a running server", field="verb", value=name, next_step="loopwright up")
        if not called.is_query:
            once = None if idempotency_key is None else (idempotency_key, args)
            return self.database.submit(self.work(called, values, actor, project, once=once, cause=cause))
        done: Future[Any] = Future()
        try:
            done.set_result(self.ask(called, values, actor, project))
        except Exception as error:  # noqa: BLE001 - whatever a query raises is its caller's
            done.set_exception(error)
        return done

    def work(
        self,
        called: Verb,
        values: dict[str, Any],
        actor: Actor,
        project: str,
        *,
        once: tuple[str, dict[str, Any]] | None = None,
        cause: int | None = None,
    ) -> Callable[[Connection], Any]:
        """Return what a call does in its transaction, for a caller who has checked permission and arguments.

        Args:
            called: The verb.
            values: Its arguments, with its types.
            actor: Who calls.
            project: Where.
            once: The idempotency key, and the arguments as they were sent.
            cause: Position of the event that the call answers.
        """

        def act(connection: Connection) -> Any:
            known = _find_project(connection, project)
            if known is not None and not called.is_query:
                require_life(known, called.lasts)
            tx = self._tx(connection, known, project, actor, cause)
            return called.function(tx, **values) if once is None else _once(tx, called, once[1], values, once[0])

        return act

    def ask(
        self, called: Verb, values: dict[str, Any], actor: Actor, project: str, *, budget_s: float | None = None
    ) -> Any:
        """Return the answer of a query, for a caller who has checked permission and arguments.

        Args:
            called: The query.
            values: Its arguments, with its types.
            actor: Who asks.
            project: Where.
            budget_s: Seconds of work after which SQLite breaks it off; None for never.

        Raises:
            OverBudget: It was broken off.
        """
        if called.reads_log:
            self.database.seal()
        return self.database.read(self.work(called, values, actor, project), budget_s=budget_s)

    def call(self, name: str, args: dict[str, Any], *, actor: Actor, project: str, **options: Any) -> Any:
        """Call a verb or query and wait for its result."""
        return self.submit(name, args, actor=actor, project=project, **options).result()

    def tx(self, connection: Connection, project: str, actor: Actor, cause: int | None = None) -> Tx:
        """Return the transaction object of a project on an open connection.

        Raises:
            NotFound: No such project; suggests the nearest.
        """
        return self._tx(connection, _find_project(connection, project), project, actor, cause)

    def _tx(self, connection: Connection, known: Project | None, project: str, actor: Actor, cause: int | None) -> Tx:
        is_replay = known is not None and known.clock == "replay"
        clock: Clock = FixedClock(known.clock_at) if known is not None and is_replay else self.wall
        scope, role = frozenset(actor.roles), actor.role_in(project)
        around: dict[str, Any] = {"token_id": actor.token_id, "client": actor.client, "doubt": self.database.doubt}
        return Tx(connection, project, actor.name, clock, self.wall, cause, scope, role, actor.bounds, **around)

    def write(
        self,
        project: str,
        actor: Actor,
        work: Callable[[Tx], Any],
        cause: int | None = None,
        *,
        lasts: Life = "deleted",
    ) -> Any:
        """Run a story of several verbs in one transaction; for the platform's own processes.

        Raises:
            Conflict, ProjectGone: The project is further than the story ``lasts``.
        """

        def act(connection: Connection) -> Any:
            known = _find_project(connection, project)
            if known is not None:
                require_life(known, lasts)
            return work(self._tx(connection, known, project, actor, cause))

        return self.database.write(act)

    def read(self, project: str, actor: Actor, work: Callable[[Tx], Any]) -> Any:
        """Run several queries on one snapshot."""
        return self.database.read(lambda connection: work(self.tx(connection, project, actor)))

    def forget_old_keys(self, limit: int) -> int:
        """Drop up to ``limit`` idempotency keys that no caller repeats any more; return how many."""
        before_us = self.wall.now_us() - KEYS_KEPT_US
        return self.database.write(lambda connection: store_sql.delete_keys(connection, before_us, limit))

    def authenticate(self, secret: str) -> Actor:
        """Return the actor of a token, or of a session."""
        look = sessions.authenticate if secret.startswith(sessions.PREFIX) else tokens.authenticate
        actor: Actor = self.read(SYSTEM, tokens.LOCAL_ACTOR, lambda tx: look(tx, secret))
        return actor

    def begin_session(self, token: str) -> str:
        """Begin a session of the person who has a token; return its secret."""
        secret: str = self.write(SYSTEM, tokens.LOCAL_ACTOR, lambda tx: sessions.begin(tx, token))
        return secret

    def end_session(self, secret: str) -> None:
        """End a session."""
        self.write(SYSTEM, tokens.LOCAL_ACTOR, lambda tx: sessions.end(tx, secret))


def _find_project(connection: Connection, name: str) -> Project | None:
    """Return a project, None for what stands above them all."""
    if name == SYSTEM:
        return None
    known = sql.find_project(connection, name)
    if known is None:
        raise unknown_project(connection, name)
    return known


def find_verb(name: str) -> Verb:
    """Return a verb by name.

    Raises:
        NotFound: There is none; suggests the nearest.
    """
    called = VERBS.get(name)
    if called is None:
        hint = suggest(name, VERBS, "docs/reference/verbs.md names them all")
        raise NotFound(f"no verb is named {name}", field="verb", value=name, next_step=hint)
    return called


def check_permission(called: Verb, actor: Actor, project: str) -> None:
    """Let the call pass or refuse it. Everything that is not granted is denied.

    Raises:
        PermissionDenied: The actor has no role in the project, or a weaker one than the verb asks for.
    """
    role = actor.role_in(project)
    if project == SYSTEM and role is None and called.name == "projects.list":
        return  # who has roles in single projects asks above them which these are, and is shown no other
    if called.is_above_projects and project != SYSTEM:
        _deny(called, actor, project, value=project, rule=f"called in {SYSTEM} only")
    if actor.bounds is not None and not _is_for(called, actor.bounds):
        _deny(called, actor, project, value=actor.bounds.part, rule="only what this part of the platform is for")
    if role is Role.SERVICE:
        return
    if role is None or called.surface == "internal" or RANK[role] < RANK[called.role]:
        held = "no role" if role is None else role.value
        whose = "every project" if project == SYSTEM else "the project"
        next_step = f"ask an admin of {whose} for that role"
        _deny(called, actor, project, value=held, rule=f"at least {called.role.value}", next_step=next_step)


def _deny(called: Verb, actor: Actor, project: str, **details: Any) -> NoReturn:
    raise PermissionDenied(f"{actor.name} may not call {called.name} in {project}", field="role", **details)


def _is_for(called: Verb, bounds: Bounds) -> bool:
    """Say whether a part of the platform has any business with a verb.

    A job may do what an editor may, and the internal verbs that are for jobs: it decides nothing and makes no tokens.
    """
    if bounds.part == "job" and called.surface == "public":
        return RANK[called.role] <= RANK[Role.EDITOR]
    return bounds.part in called.parts


def require_job(tx: Tx, what: str, power: Power) -> None:
    """Refuse a service token that is neither the platform's own nor that of a job under way that has this power.

    Raises:
        PermissionDenied: It holds no such job; ``what`` says what was asked for.
    """
    is_platform = tx.bounds is None and (not tx.roles or EVERY_PROJECT in tx.roles)
    kinds = kinds_with(power)
    if is_platform or (tx.bounds is not None and tx.bounds.job_kind in kinds):
        return
    raise PermissionDenied(
        f"{tx.actor} may not {what}",
        field="job",
        value="no job" if tx.bounds is None else tx.bounds.job_kind or tx.bounds.part,
        rule=f"only who holds a job that is under way: {' or '.join(kinds)}",
    )


def require_role(tx: Tx, role: Role, what: str) -> None:
    """Refuse one case of a verb to actors whose role suffices for its other cases.

    Raises:
        PermissionDenied: The actor's role in the project is weaker; ``what`` says what was asked for.
    """
    if has_role(tx, role):
        return
    raise PermissionDenied(
        f"{tx.actor} may not {what} in {tx.project}",
        field="role",
        value="no role" if tx.role is None else tx.role.value,
        rule=f"at least {role.value}",
        next_step=f"ask an actor who is {role.value} or more",
    )


def has_role(tx: Tx, role: Role) -> bool:
    """Say whether the actor's role in the project is that one or a stronger one."""
    return tx.role is Role.SERVICE or (tx.role is not None and RANK[tx.role] >= RANK[role])


def _once(tx: Tx, called: Verb, args: dict[str, Any], values: dict[str, Any], key: str) -> Any:
    """Run a verb once for its idempotency key; the same call again gets the first answer."""
    digest = digest_of([called.name, tx.actor, to_builtins(args)])
    # The key is taken before the verb runs: of two calls at once the second waits here until the first has ended, and
    # then gets its answer, whatever they would have collided on. If the verb fails, the key goes with its transaction.
    if store_sql.insert_key(tx.connection, tx.project, key, digest, tx.wall_us):
        result = called.function(tx, **values)
        if called.keeps_answer and result is not None:  # None is what a key without an answer gives
            store_sql.keep_answer(tx.connection, tx.project, key, to_builtins(result))
        return result
    first_digest, answer = store_sql.get_answer(tx.connection, tx.project, key)
    if first_digest != digest:
        raise Conflict(
            "this idempotency key belongs to another call",
            field="Idempotency-Key",
            value=key,
            rule="one key, one call",
            next_step="send a fresh key",
        )
    if not called.keeps_answer:
        raise Conflict(
            "this call was carried out; its answer held a secret and was not kept",
            field="Idempotency-Key",
            value=key,
            next_step="if the answer was lost, revoke what it made and call again with a fresh key",
        )
    return msgspec.convert(answer, type=called.types["return"])
