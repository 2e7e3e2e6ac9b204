"""The transaction a verb receives: connection, project, actor, clocks, and what records events, timers and jobs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Concatenate, ParamSpec

from sqlalchemy import Connection, CursorResult, Executable

from loopwright.kernel.clock import Clock
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import NotFound
from loopwright.kernel.events import Facts, event_type
from loopwright.kernel.ids import new_id
from loopwright.kernel.refs import Ref
from loopwright.kernel.verbs import EVERY_PROJECT, Role, verb_of
from loopwright.store import sql
from loopwright.store.doubts import Doubt
from loopwright.store.news import JOBS, tell
from loopwright.store.types import BlobRef, Bounds, Job
from loopwright.store.work import Work, kind_named, kind_of

P = ParamSpec("P")


@dataclass(slots=True)
class Tx:
    """One open transaction in one project.

    ``clock`` is the project's (wall or replay), ``wall`` the machine's. ``actor`` is printable, such as ``person:ana``,
    ``service:worker`` or ``policy:late``. ``cause`` is the position of the event that this call answers, if any.
    ``roles`` names the projects the actor has a role in, ``role`` is the one in this project. ``bounds`` say what a
    part of the platform is bound to, None for everybody else. ``token_id`` and ``client`` name the token and the
    address that a call came with, None where there is none. ``doubt`` is why rows may be missing here that somebody
    meant to write, None for no reason.
    """

    connection: Connection
    project: str
    actor: str
    clock: Clock
    wall: Clock
    cause: int | None = None
    roles: frozenset[str] = field(default_factory=frozenset)
    role: Role | None = None
    bounds: Bounds | None = None
    token_id: str | None = None
    client: str | None = None
    doubt: Doubt | None = None

    @property
    def now_us(self) -> int:
        """The project's present moment, microseconds UTC."""
        return self.clock.now_us()

    @property
    def wall_us(self) -> int:
        """The machine's present moment, microseconds UTC."""
        return self.wall.now_us()

    def execute(self, statement: Executable, rows: Any = None) -> CursorResult[Any]:
        """Run one Core statement."""
        return self.connection.execute(statement, rows) if rows is not None else self.connection.execute(statement)

    def new_id(self, prefix: str) -> str:
        """Return a sortable id."""
        return new_id(prefix, self.wall_us)

    def ref(self, kind: str, name: str, version: int | None = None) -> str:
        """Return the canonical ref of an object of this project, as text."""
        return str(Ref(kind, name, version, self.project))

    def emit(self, facts: Facts | str, ref: str, /, *, reason: str = "", **payload: Any) -> None:
        """Record one change in the event log, in this transaction.

        Args:
            facts: What happened: a struct that ``kernel.events.event`` marked with its type.
            ref: What changed.
            reason: Why, in a sentence.
            payload: Facts of a type that has no struct yet.
        """
        if isinstance(facts, str):
            sql.insert_event(self, facts, ref, reason, payload)
        else:
            sql.insert_event(self, event_type(type(facts)), ref, reason, to_builtins(facts))

    def later(
        self,
        due_at: int,
        key: str,
        verb: Callable[Concatenate["Tx", P], Any],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Plan a verb call for ``due_at``; a timer with the same key is replaced."""
        sql.upsert_timer(self, due_at, verb_of(verb).name, to_builtins(kwargs), key)

    def cancel_later(self, key_prefix: str) -> int:
        """Drop every timer whose key begins so; return how many."""
        return sql.delete_timers(self, key_prefix)

    def start_job(
        self, work: Work | str, ref: str, args: dict[str, Any] | None = None, *, job_id: str | None = None
    ) -> Job:
        """Queue work for a worker. The same ``job_id`` twice is one job.

        Args:
            work: What is to be done: a struct that ``store.work.job_kind`` marked with its kind.
            ref: What it is done for.
            args: Arguments of a kind that has no struct yet.
            job_id: Its id, where one follows from what it does; else a new one.
        """
        self.wake(JOBS)
        kind, values = (
            (kind_named(work), args or {}) if isinstance(work, str) else (kind_of(type(work)), to_builtins(work))
        )
        return sql.insert_job(self, kind.name, kind.lane, ref, values, job_id or self.new_id("job"))

    def wake(self, topic: str) -> None:
        """Tell whoever waits for news of this topic about this commit, although it writes no event."""
        tell(self.connection, topic)

    def keep_blobs(self, *blobs: BlobRef) -> None:
        """Record that this project refers to blobs that are already in the blob store.

        Raises:
            NotFound: The caller has roles in single projects only and names a blob that this one does not have:
                a digest seen elsewhere opens nothing.
        """
        self.require_blobs(*(blob.digest for blob in blobs))
        sql.upsert_blobs(self, blobs)

    def require_blobs(self, *digests: str) -> None:
        """Make sure that this project has the blobs which a caller names.

        Raises:
            NotFound: As ``keep_blobs``.
        """
        sql.rescue_blobs(self, digests)  # a row is about to name them: no sweep may take them from here on
        if not self.roles or EVERY_PROJECT in self.roles or self.role is Role.SERVICE:
            return
        for digest in digests:
            if sql.find_blob(self.connection, self.project, digest) is None:
                message = "this project has no such blob"
                raise NotFound(message, field="digest", value=digest, next_step="upload it to this project")
