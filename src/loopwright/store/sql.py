"""Every statement of the store, except sealing."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Insert,
    Row,
    Table,
    Update,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from loopwright.kernel.errors import Conflict
from loopwright.kernel.events import Event
from loopwright.store.sealing import event_from_row
from loopwright.store.tables import blobs, chunks, cursors, events, idempotency_keys, jobs, timers
from loopwright.store.types import BlobRef, Chunk, Job, Timer, Unrest

if TYPE_CHECKING:
    from loopwright.store.tx import Tx


def upsert(
    connection: Connection, table: Table, rows: list[dict[str, Any]], *, key: Sequence[str], do_update: bool
) -> int:
    """Insert rows; where the key exists, replace the other columns or leave the row. Return how many changed."""
    if not rows:
        return 0
    statement = _upsert(connection.dialect.name, table, tuple(rows[0]), tuple(key), do_update)
    return int(connection.execute(statement, rows).rowcount)


@cache
def _upsert(dialect_name: str, table: Table, columns: tuple[str, ...], key: tuple[str, ...], do_update: bool) -> Insert:
    dialect: Any = postgresql if dialect_name == "postgresql" else sqlite
    statement = dialect.insert(table).execution_options(preserve_rowcount=True)
    if do_update:
        changed = {name: statement.excluded[name] for name in columns if name not in key}
        made: Insert = statement.on_conflict_do_update(index_elements=list(key), set_=changed)
    else:
        made = statement.on_conflict_do_nothing(index_elements=list(key))
    return made


def update_as_read(
    connection: Connection, table: Table, key: dict[str, Any], *, seen: dict[str, Any], values: dict[str, Any]
) -> None:
    """Change one row that still is as it was read, such as in the state whose change was found legal.

    Raises:
        Conflict: Another call changed it since.
    """
    statement = _update_as_read(table, tuple(key), tuple(seen), tuple(values))
    named = {"key": key, "seen": seen, "new": values}
    bound = {f"{kind}_{name}": value for kind, values in named.items() for name, value in values.items()}
    if connection.execute(statement, bound).rowcount == 0:
        raise Conflict(
            "another call changed this at the same moment",
            value=", ".join(map(str, seen.values())),
            next_step="look how it stands now, then repeat the call",
        )


@cache
def _update_as_read(table: Table, key: tuple[str, ...], seen: tuple[str, ...], values: tuple[str, ...]) -> Update:
    is_row = [table.c[name] == bindparam(f"key_{name}") for name in key]
    is_same = [table.c[name].is_not_distinct_from(bindparam(f"seen_{name}")) for name in seen]
    return update(table).where(*is_row, *is_same).values({name: bindparam(f"new_{name}") for name in values})


def begins_with(column: Any, prefix: str) -> ColumnElement[bool]:
    """Return the condition that a text begins so, letter by letter (LIKE forgets the case on SQLite)."""
    return func.substr(column, 1, len(prefix)) == prefix


_insert_event = insert(events)


def insert_event(tx: "Tx", type: str, ref: str, reason: str, payload: dict[str, Any]) -> None:
    """Append one event; it is sealed after the commit."""
    row = {
        "project_id": tx.project,
        "type": type,
        "ref": ref,
        "actor": tx.actor,
        "event_at": tx.now_us,
        "recorded_at": tx.wall_us,
        "reason": reason,
        "payload": payload,
        "cause": tx.cause,
    }
    tx.execute(_insert_event, row)


_after = select(events).where(events.c.position > bindparam("after")).order_by(events.c.position)
_after = _after.limit(bindparam("most"))
_after_in_project = _after.where(events.c.project_id == bindparam("project"))


def events_after(connection: Connection, position: int, *, limit: int, project: str | None = None) -> list[Event]:
    """Return sealed events in order, those after ``position``."""
    statement = _after if project is None else _after_in_project
    place = {"after": position, "most": limit} | ({} if project is None else {"project": project})
    return [event_from_row(row) for row in connection.execute(statement, place)]


def newest_events(
    connection: Connection,
    project: str,
    *,
    limit: int,
    before: int | None = None,
    ref: str | None = None,
    type_prefix: str | None = None,
) -> list[Event]:
    """Return sealed events of a project, newest first, with optional filters."""
    statement = select(events).where(events.c.project_id == project, events.c.position.is_not(None))
    if before is not None:
        statement = statement.where(events.c.position < before)
    if ref is not None:
        statement = statement.where(or_(events.c.ref == ref, begins_with(events.c.ref, f"{ref}/")))
    if type_prefix is not None:
        statement = statement.where(begins_with(events.c.type, type_prefix))
    statement = statement.order_by(events.c.position.desc()).limit(limit)
    return [event_from_row(row) for row in connection.execute(statement)]


def upsert_timer(tx: "Tx", due_at: int, verb: str, args: dict[str, Any], key: str) -> None:
    """Plan a call, replacing the timer of the same key."""
    row = {"project_id": tx.project, "due_at": due_at, "verb": verb, "args": args, "key": key}
    upsert(tx.connection, timers, [row], key=("project_id", "key"), do_update=True)


def delete_timers(tx: "Tx", key_prefix: str) -> int:
    """Drop timers by the beginning of their key."""
    statement = delete(timers).where(timers.c.project_id == tx.project, begins_with(timers.c.key, key_prefix))
    return int(tx.execute(statement).rowcount)


_due_timers = (
    select(timers)
    .where(timers.c.project_id == bindparam("project"), timers.c.due_at <= bindparam("until"))
    .order_by(timers.c.due_at, timers.c.timer_id)
    .limit(bindparam("most"))
)


def due_timers(connection: Connection, project: str, until: int, *, limit: int = 1) -> list[Timer]:
    """Return the timers due at or before ``until``, by (due_at, id)."""
    place = {"project": project, "until": until, "most": limit}
    return [_timer(row) for row in connection.execute(_due_timers, place)]


_take_timer = delete(timers).where(
    timers.c.project_id == bindparam("project"),
    timers.c.timer_id == bindparam("timer_id"),
    timers.c.due_at == bindparam("due_at"),
)


def take_timer(connection: Connection, timer: Timer) -> bool:
    """Delete a timer that is being fired; False if another process took it, or it was planned anew meanwhile."""
    place = {"project": timer.project, "timer_id": timer.timer_id, "due_at": timer.due_at}
    return connection.execute(_take_timer, place).rowcount == 1


def _timer(row: Row[Any]) -> Timer:
    return Timer(row.timer_id, row.project_id, row.due_at, row.verb, row.args, row.key)


def insert_job(tx: "Tx", kind: str, ref: str, args: dict[str, Any], job_id: str) -> Job:
    """Queue a job; the same id again changes nothing."""
    row = {
        "project_id": tx.project,
        "job_id": job_id,
        "kind": kind,
        "ref": ref,
        "args": args,
        "state": "queued",
        "attempt": 0,
        "event_at": tx.now_us,
        "recorded_at": tx.wall_us,
    }
    upsert(tx.connection, jobs, [row], key=("project_id", "job_id"), do_update=False)
    found = find_job(tx.connection, tx.project, job_id)
    assert found is not None
    return found


_find_job = select(jobs).where(jobs.c.project_id == bindparam("project"), jobs.c.job_id == bindparam("job_id"))


def find_job(connection: Connection, project: str, job_id: str) -> Job | None:
    """Return one job."""
    row = connection.execute(_find_job, {"project": project, "job_id": job_id}).first()
    return None if row is None else _job(row)


_claimable = (
    select(jobs)
    .where(or_(jobs.c.state == "queued", and_(jobs.c.state == "running", jobs.c.lease_until < bindparam("wall_us"))))
    .where(jobs.c.kind.in_(bindparam("kinds", expanding=True)))
    .order_by(jobs.c.recorded_at, jobs.c.job_id)
    .limit(bindparam("most"))
)
_claimable_to_take = _claimable.with_for_update(skip_locked=True)


def claimable_jobs(
    connection: Connection, kinds: Iterable[str], wall_us: int, limit: int, *, lock: bool = False
) -> list[Job]:
    """Return queued jobs and running ones whose lease has run out, oldest first; ``lock`` leaves out others' locked."""
    place = {"kinds": list(kinds), "wall_us": wall_us, "most": limit}
    return [_job(row) for row in connection.execute(_claimable_to_take if lock else _claimable, place)]


def update_job(connection: Connection, job: Job, **values: Any) -> Job:
    """Change columns of one job that is still in the same state and hands; return it as it is now.

    Raises:
        Conflict: It is not.
    """
    key, seen = {"project_id": job.project, "job_id": job.job_id}, {"state": job.state, "worker": job.worker}
    update_as_read(connection, jobs, key, seen=seen, values=values)
    return msgspec.structs.replace(job, **values)


def renew_job(connection: Connection, project: str, job_id: str, worker: str, **values: Any) -> bool:
    """Change columns of a running job that this worker holds; False if it does not hold it."""
    is_held = and_(
        jobs.c.project_id == project, jobs.c.job_id == job_id, jobs.c.state == "running", jobs.c.worker == worker
    )
    return connection.execute(update(jobs).where(is_held).values(**values)).rowcount == 1


def list_jobs(
    connection: Connection, project: str, *, states: Sequence[str] = (), kind: str | None = None, limit: int = 100
) -> list[Job]:
    """Return jobs, newest first."""
    statement = select(jobs).where(jobs.c.project_id == project)
    if states:
        statement = statement.where(jobs.c.state.in_(states))
    if kind is not None:
        statement = statement.where(jobs.c.kind == kind)
    statement = statement.order_by(jobs.c.recorded_at.desc(), jobs.c.job_id.desc()).limit(limit)
    return [_job(row) for row in connection.execute(statement)]


_is_open = or_(jobs.c.state == "queued", jobs.c.state == "running")
_unrest = select(
    func.coalesce(select(func.max(events.c.position)).scalar_subquery(), 0).label("position"),
    exists().where(events.c.position.is_(None)).label("has_unsealed"),
    exists().where(jobs.c.project_id == bindparam("project"), _is_open).label("has_jobs"),
)


def read_unrest(connection: Connection, project: str) -> Unrest:
    """Return what of the event log and of a project's jobs is not at rest."""
    row = connection.execute(_unrest, {"project": project}).one()
    return Unrest(row.position, bool(row.has_unsealed), bool(row.has_jobs))


def _job(row: Row[Any]) -> Job:
    values = dict(row._mapping)
    return Job(project=values.pop("project_id"), **values)


def get_cursor(connection: Connection, reader: str) -> int:
    """Return the position a reader of the event log has reached."""
    return connection.execute(select(cursors.c.position).where(cursors.c.reader == reader)).scalar() or 0


def set_cursor(connection: Connection, reader: str, position: int) -> None:
    """Record the position a reader has reached."""
    upsert(connection, cursors, [{"reader": reader, "position": position}], key=("reader",), do_update=True)


def insert_key(connection: Connection, project: str, key: str, request_digest: str, wall_us: int) -> bool:
    """Take an idempotency key for a call; False if a call had it before. Of two at once the second waits here."""
    row = {"project_id": project, "key": key, "request_digest": request_digest, "recorded_at": wall_us}
    return upsert(connection, idempotency_keys, [row], key=("project_id", "key"), do_update=False) == 1


def keep_answer(connection: Connection, project: str, key: str, answer: Any) -> None:
    """Keep the answer of the call that took an idempotency key."""
    keys = idempotency_keys
    connection.execute(update(keys).where(keys.c.project_id == project, keys.c.key == key).values(answer=answer))


def get_answer(connection: Connection, project: str, key: str) -> tuple[str, Any]:
    """Return request digest and stored answer of an idempotency key that was taken."""
    keys = idempotency_keys
    row = connection.execute(select(keys).where(keys.c.project_id == project, keys.c.key == key)).one()
    return row.request_digest, row.answer


def delete_keys(connection: Connection, before_us: int) -> int:
    """Drop the idempotency keys that were taken before a moment; return how many."""
    return connection.execute(delete(idempotency_keys).where(idempotency_keys.c.recorded_at < before_us)).rowcount


def upsert_blobs(tx: "Tx", refs: Iterable[BlobRef]) -> None:
    """Record blobs a project refers to."""
    rows = [
        {"project_id": tx.project, "digest": ref.digest, "size_bytes": ref.size_bytes, "recorded_at": tx.wall_us}
        for ref in refs
    ]
    upsert(tx.connection, blobs, rows, key=("project_id", "digest"), do_update=False)


def find_blob(connection: Connection, project: str, digest: str) -> BlobRef | None:
    """Return the blob if the project refers to it."""
    row = connection.execute(select(blobs).where(blobs.c.project_id == project, blobs.c.digest == digest)).first()
    return None if row is None else BlobRef(row.digest, row.size_bytes)


def all_blobs(connection: Connection) -> list[tuple[str, BlobRef]]:
    """Return (project, blob) of every recorded blob."""
    return [(row.project_id, BlobRef(row.digest, row.size_bytes)) for row in connection.execute(select(blobs))]


def insert_chunk(connection: Connection, chunk: Chunk) -> Chunk:
    """Register a chunk; the same (writer, seq, kind, stream) again returns the first one."""
    values = {field: getattr(chunk, field) for field in chunk.__struct_fields__ if field != "project"}
    values["project_id"] = chunk.project
    key = ("project_id", "writer", "seq", "kind", "stream")
    upsert(connection, chunks, [values], key=key, do_update=False)
    return _chunk(connection.execute(select(chunks).where(*(chunks.c[name] == values[name] for name in key))).one())


def find_chunks(
    connection: Connection,
    project: str,
    kind: str,
    *,
    stream: str | None = None,
    item_id: str | None = None,
    start_at: int | None = None,
    end_at: int | None = None,
) -> list[Chunk]:
    """Return the chunks of a kind, by stream, by an id in their range, or by event time in ``[start_at, end_at)``."""
    statement = select(chunks).where(chunks.c.project_id == project, chunks.c.kind == kind)
    if stream is not None:
        statement = statement.where(chunks.c.stream == stream)
    if item_id is not None:
        statement = statement.where(chunks.c.id_first <= item_id, chunks.c.id_last >= item_id)
    if start_at is not None:
        statement = statement.where(chunks.c.event_at_max >= start_at)
    if end_at is not None:
        statement = statement.where(chunks.c.event_at_min < end_at)
    return [_chunk(row) for row in connection.execute(statement.order_by(chunks.c.id_first))]


def has_chunks(connection: Connection, project: str, kind: str, stream: str) -> bool:
    """Say whether a stream has any chunk of a kind."""
    statement = (
        select(chunks.c.chunk_id)
        .where(chunks.c.project_id == project, chunks.c.kind == kind, chunks.c.stream == stream)
        .limit(1)
    )
    return connection.execute(statement).first() is not None


def count_rows(connection: Connection, project: str, kind: str, stream: str, writers: str = "") -> int:
    """Return how many rows the chunks of a stream hold, of writers whose name begins with ``writers``."""
    statement = select(func.sum(chunks.c.rows)).where(
        chunks.c.project_id == project,
        chunks.c.kind == kind,
        chunks.c.stream == stream,
        chunks.c.writer.startswith(writers, autoescape=True),
    )
    return int(connection.execute(statement).scalar() or 0)


def _chunk(row: Row[Any]) -> Chunk:
    values = dict(row._mapping)
    return Chunk(project=values.pop("project_id"), **values)


def all_chunks(connection: Connection) -> list[Chunk]:
    """Return every chunk of every project."""
    return [_chunk(row) for row in connection.execute(select(chunks))]
