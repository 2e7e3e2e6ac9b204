"""Statements of jobs."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Connection, Row, and_, bindparam, exists, func, or_, select, update

from loopwright.store.sql.rows import update_as_read, upsert
from loopwright.store.tables import events, jobs
from loopwright.store.types import Job, Unrest

if TYPE_CHECKING:
    from loopwright.store.tx import Tx


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


_later = jobs.alias("later")
_failed = (
    select(jobs)
    .where(jobs.c.project_id == bindparam("project"), jobs.c.state == "failed")
    .where(
        ~and_(
            jobs.c.kind.not_in(bindparam("lasting", expanding=True)),
            exists()
            .where(_later.c.project_id == jobs.c.project_id, _later.c.kind == jobs.c.kind, _later.c.ref == jobs.c.ref)
            .where(_later.c.recorded_at > jobs.c.recorded_at),
        )
    )
    .order_by(jobs.c.recorded_at.desc(), jobs.c.job_id.desc())
)


def failed_jobs(tx: "Tx", lasting: Iterable[str]) -> list[Job]:
    """Return the failed jobs that no later one made up for, newest first.

    Args:
        tx: Open transaction.
        lasting: Kinds of which another job for the same ref does not do what the failed one left undone.
    """
    return [_job(row) for row in tx.connection.execute(_failed, {"project": tx.project, "lasting": list(lasting)})]


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
