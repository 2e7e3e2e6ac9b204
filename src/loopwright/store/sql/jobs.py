"""Statements of jobs. What is asked often has an index of its own: there may be millions of jobs that have ended."""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    delete,
    exists,
    false,
    func,
    or_,
    select,
    tuple_,
    update,
)

from loopwright.store.sql.rows import update_as_read, upsert
from loopwright.store.statements import Statement
from loopwright.store.tables import events, jobs
from loopwright.store.types import JOB_STATES, HeldJob, Job, JobLease, Unrest
from loopwright.store.work import RESTFUL_LANES

if TYPE_CHECKING:
    from loopwright.store.tx import Tx


def insert_job(tx: "Tx", kind: str, lane: str, ref: str, args: dict[str, Any], job_id: str) -> Job:
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
        "lane": lane,
        "due_at": tx.wall_us,
    }
    upsert(tx.connection, jobs, [row], key=("project_id", "job_id"), do_update=False)
    job = find_job(tx.connection, tx.project, job_id)
    assert job is not None
    return job


_find_job = Statement(
    select(jobs).where(jobs.c.project_id == bindparam("project"), jobs.c.job_id == bindparam("job_id"))
)


def find_job(connection: Connection, project: str, job_id: str) -> Job | None:
    """Return one job."""
    row = _find_job.first(connection, project=project, job_id=job_id)
    return None if row is None else _job(row)


def update_job(connection: Connection, job: Job, **values: Any) -> Job:
    """Change columns of one job that is still in the same state and hands; return it as it is now.

    Raises:
        Conflict: It is not.
    """
    key, seen = {"project_id": job.project, "job_id": job.job_id}, {"state": job.state, "worker": job.worker}
    update_as_read(connection, jobs, key, seen=seen, values=values)
    return msgspec.structs.replace(job, **values)


# --- what a worker asks ---

_is_queued = (jobs.c.state == "queued") & (jobs.c.lane == bindparam("lane"))
_is_lost = (jobs.c.state == "running") & (jobs.c.lease_until < bindparam("wall_us"))
_is_own = jobs.c.worker == bindparam("worker")
_held = Statement(
    select(jobs.c.lane, func.count().label("held")).where(jobs.c.state == "running", _is_own).group_by(jobs.c.lane)
)


def _are_of(kinds: Iterable[str]) -> ColumnElement[bool]:
    return or_(false(), *(jobs.c.kind == kind for kind in kinds))


@lru_cache(256)
def _next_to_take(kinds: tuple[str, ...]) -> Statement:
    """Ask for one job behind another of the project: what is looked at is locked and in others' way until a commit."""
    is_due = (jobs.c.project_id == bindparam("project")) & (jobs.c.due_at <= bindparam("wall_us"))
    is_behind = (jobs.c.due_at > bindparam("due_at")) | (jobs.c.job_id > bindparam("job_id"))
    behind = select(jobs).where(_is_queued, is_due, _are_of(kinds), jobs.c.due_at >= bindparam("due_at"), is_behind)
    return Statement(behind.order_by(jobs.c.due_at, jobs.c.job_id).limit(1).with_for_update(skip_locked=True))


_at_work = Statement(
    select(jobs.c.project_id, func.count().label("jobs"))
    .where(jobs.c.state == "running", jobs.c.lane == bindparam("lane"))
    .group_by(jobs.c.project_id)
)


@lru_cache(256)
def _waiting(kinds: tuple[str, ...]) -> Statement:
    """Ask for each project with queued jobs when its oldest was due, by a look into the index for each."""
    line = select(func.min(jobs.c.project_id).label("project_id")).where(_is_queued).cte("line", recursive=True)
    after = select(func.min(jobs.c.project_id)).where(_is_queued, jobs.c.project_id > line.c.project_id)
    line = line.union_all(select(after.scalar_subquery()).where(line.c.project_id.is_not(None)))
    oldest = select(jobs.c.due_at).where(_is_queued, jobs.c.project_id == line.c.project_id, _are_of(kinds))
    oldest_at = oldest.order_by(jobs.c.due_at).limit(1).scalar_subquery().label("due_at")
    return Statement(select(line.c.project_id, oldest_at).where(line.c.project_id.is_not(None)))


@lru_cache(256)
def _lost_to_take(kinds: tuple[str, ...]) -> Statement:
    return Statement(select(jobs).where(_is_lost, _are_of(kinds)).with_for_update(skip_locked=True))


def due_jobs(connection: Connection, lane: str, kinds: Iterable[str], wall_us: int, limit: int) -> list[Job]:
    """Return queued jobs of a lane that may be taken; leaves out others' locked.

    The projects take turns: next is the one with the fewest jobs at work in the lane, of those the one that waits
    longest, so that a thousand jobs of one keep no other waiting. Of one project those are first that wait longest.
    """
    waiting = {row.project_id: row.due_at for row in _waiting(tuple(kinds)).all(connection, lane=lane)}
    due = {project: due_at for project, due_at in waiting.items() if due_at is not None and due_at <= wall_us}
    at_work = {row.project_id: row.jobs for row in _at_work.all(connection, lane=lane)} if len(due) > 1 else {}
    turns = [(at_work.get(project, 0), due_at, project, "") for project, due_at in due.items()]
    heapq.heapify(turns)
    taken: list[Job] = []
    while turns and len(taken) < limit:
        held, due_at, project, job_id = turns[0]
        behind = {"project": project, "lane": lane, "wall_us": wall_us, "due_at": due_at, "job_id": job_id}
        row = _next_to_take(tuple(kinds)).first(connection, **behind)
        if row is None:
            heapq.heappop(turns)
        else:
            taken.append(_job(row))
            heapq.heapreplace(turns, (held + 1, row.due_at, project, row.job_id))
    return taken


def lost_jobs(connection: Connection, kinds: Iterable[str], wall_us: int) -> list[Job]:
    """Return running jobs whose lease has run out; leaves out others' locked."""
    return [_job(row) for row in _lost_to_take(tuple(kinds)).all(connection, wall_us=wall_us)]


class Untaken(NamedTuple):
    """Jobs of one lane that wait while nobody is at work on it: how many, and since when the oldest is due."""

    lane: str
    jobs: int
    due_at: int


_lanes_at_work = select(jobs.c.lane).where(jobs.c.state == "running", jobs.c.lease_until >= bindparam("wall_us"))
_untaken = Statement(
    select(jobs.c.lane, func.count().label("jobs"), func.min(jobs.c.due_at).label("due_at"))
    .where(jobs.c.project_id == bindparam("project"), jobs.c.state == "queued")
    .where(jobs.c.due_at <= bindparam("due_by"), jobs.c.lane.not_in(_lanes_at_work))
    .group_by(jobs.c.lane)
    .order_by(jobs.c.lane)
)


def untaken_jobs(connection: Connection, project: str, due_by: int, wall_us: int) -> list[Untaken]:
    """Return the lanes in which a project's jobs that were due by some moment wait, and no worker does any job."""
    rows = _untaken.all(connection, project=project, due_by=due_by, wall_us=wall_us)
    return [Untaken(row.lane, row.jobs, row.due_at) for row in rows]


def count_held(connection: Connection, worker: str) -> dict[str, int]:
    """Return how many jobs a worker holds, by lane."""
    return {row.lane: row.held for row in _held.all(connection, worker=worker)}


class Prospect(NamedTuple):
    """Whether a worker would get a job now, and when the next one is due that waits for its time."""

    is_there: bool
    next_at: int | None


@lru_cache(256)
def _prospect(kinds: tuple[str, ...], lanes: tuple[str, ...]) -> Statement:
    in_lanes = or_(false(), *(jobs.c.lane == lane for lane in lanes))
    is_waiting = (jobs.c.state == "queued") & in_lanes & _are_of(kinds)
    return Statement(
        select(
            exists().where(is_waiting, jobs.c.due_at <= bindparam("wall_us")).label("is_due"),
            exists().where(_is_lost, in_lanes | _is_own, _are_of(kinds)).label("is_lost"),
            select(func.min(jobs.c.due_at)).where(is_waiting).scalar_subquery().label("next_at"),
        )
    )


def look_for_jobs(
    connection: Connection, worker: str, kinds: Iterable[str], slots: Mapping[str, int], wall_us: int
) -> Prospect:
    """Say what a claim would find, without taking anything: many workers ask at every commit."""
    held = count_held(connection, worker)
    lanes = tuple(lane for lane, number in slots.items() if number > held.get(lane, 0))
    row = _prospect(tuple(kinds), lanes).first(connection, worker=worker, wall_us=wall_us)
    return Prospect(bool(row.is_due or row.is_lost), row.next_at)


_renew = Statement(
    update(jobs)
    .where(jobs.c.project_id == bindparam("key_project"), jobs.c.job_id == bindparam("key_job"))
    .where(jobs.c.state == "running", jobs.c.worker == bindparam("key_worker"))
    .values(lease_until=bindparam("until"), progress=func.coalesce(bindparam("said"), jobs.c.progress))
    .returning(jobs.c.cancel_reason)
)


def renew_job(connection: Connection, held: HeldJob, worker: str, lease_until: int) -> JobLease | None:
    """Prolong the lease of a running job that this worker holds; None if it does not hold it."""
    place = {"key_project": held.project, "key_job": held.job_id, "key_worker": worker}
    row = _renew.first(connection, **place, until=lease_until, said=held.progress)
    return None if row is None else JobLease(held.project, held.job_id, row.cancel_reason is not None)


def move_leases(connection: Connection, to: int, *, worker: str | None = None, until: int | None = None) -> int:
    """Move the ends of leases; return how many.

    Args:
        connection: Open transaction.
        to: When they end now.
        worker: Only those of jobs that this worker holds.
        until: Only those that end before this moment.
    """
    statement = update(jobs).where(jobs.c.state == "running")
    if worker is not None:
        statement = statement.where(jobs.c.worker == worker)
    if until is not None:
        statement = statement.where(jobs.c.lease_until < until)
    return connection.execute(statement.values(lease_until=to)).rowcount


# --- what people and rooms ask ---


def list_jobs(
    connection: Connection, project: str, *, states: Sequence[str] = (), kind: str | None = None, limit: int = 100
) -> list[Job]:
    """Return jobs, newest first.

    Each state is asked for by itself and the answers are merged: so each question is the beginning of one index.
    """
    if kind is not None and not states:
        states = tuple(JOB_STATES)
    parts = [_newest_jobs(connection, project, state, kind, limit) for state in states or (None,)]
    newest = heapq.merge(*parts, key=lambda job: (job.recorded_at, job.job_id), reverse=True)
    return [job for job, _ in zip(newest, range(limit), strict=False)]


def _newest_jobs(connection: Connection, project: str, state: str | None, kind: str | None, limit: int) -> list[Job]:
    asked = {name: value for name, value in (("state", state), ("kind", kind)) if value is not None}
    return [_job(row) for row in _newest(tuple(asked)).all(connection, project=project, most=limit, **asked)]


@lru_cache(256)
def _newest(columns: tuple[str, ...]) -> Statement:
    """Return the statement for the newest jobs with given values of some columns; built once for each choice."""
    conditions = [jobs.c[name] == bindparam(name) for name in columns]
    statement = select(jobs).where(jobs.c.project_id == bindparam("project"), *conditions)
    newest_first = (jobs.c.recorded_at.desc(), jobs.c.job_id.desc())
    return Statement(statement.order_by(*newest_first).limit(bindparam("most")))


_later = jobs.alias("later")
_is_unanswered = and_(
    jobs.c.project_id == bindparam("project"),
    jobs.c.state == "failed",
    jobs.c.kind.not_in(bindparam("quiet", expanding=True)),
    ~and_(
        jobs.c.kind.not_in(bindparam("lasting", expanding=True)),
        exists()
        .where(_later.c.project_id == jobs.c.project_id, _later.c.kind == jobs.c.kind, _later.c.ref == jobs.c.ref)
        .where(_later.c.recorded_at > jobs.c.recorded_at),
    ),
)
_failed = select(jobs).where(_is_unanswered).order_by(jobs.c.recorded_at.desc(), jobs.c.job_id.desc())
_failed_groups = (
    select(jobs.c.kind, jobs.c.ref, func.count().label("jobs"), func.min(jobs.c.recorded_at).label("oldest_at"))
    .where(_is_unanswered)
    .group_by(jobs.c.kind, jobs.c.ref)
    .order_by(jobs.c.kind, jobs.c.ref)
)


def failed_jobs(
    tx: "Tx", lasting: Iterable[str], quiet: Iterable[str], *, ref: str | None = None, limit: int | None = None
) -> list[Job]:
    """Return the failed jobs that no later one made up for, newest first.

    Args:
        tx: Open transaction.
        lasting: Kinds of which another job for the same ref does not do what the failed one left undone.
        quiet: Kinds that are left out.
        ref: Only those that are about this.
        limit: The newest of them; None for all.
    """
    statement = _failed if ref is None else _failed.where(jobs.c.ref == ref)
    place = {"project": tx.project, "lasting": list(lasting), "quiet": list(quiet)}
    return [_job(row) for row in tx.connection.execute(statement.limit(limit), place)]


class FailedJobs(NamedTuple):
    """How many jobs of a kind have failed on one thing, and since when the first of them was wanted, wall clock."""

    kind: str
    ref: str
    jobs: int
    oldest_at: int


def count_failed_jobs(tx: "Tx", lasting: Iterable[str], quiet: Iterable[str]) -> list[FailedJobs]:
    """Return how many there are of what ``failed_jobs`` returns, by kind and ref."""
    place = {"project": tx.project, "lasting": list(lasting), "quiet": list(quiet)}
    return [FailedJobs(*row) for row in tx.connection.execute(_failed_groups, place)]


_is_open = or_(jobs.c.state == "queued", jobs.c.state == "running")
_unrest = Statement(
    select(
        func.coalesce(select(func.max(events.c.position)).scalar_subquery(), 0).label("position"),
        exists().where(events.c.position.is_(None)).label("has_unsealed"),
        exists()
        .where(jobs.c.project_id == bindparam("project"), _is_open)
        .where(*(jobs.c.lane != lane for lane in RESTFUL_LANES))
        .label("has_jobs"),
    )
)


def read_unrest(connection: Connection, project: str) -> Unrest:
    """Return what of the event log and of a project's jobs is not at rest."""
    row = _unrest.first(connection, project=project)
    return Unrest(row.position, bool(row.has_unsealed), bool(row.has_jobs))


_expired = (
    select(jobs.c.project_id, jobs.c.job_id)
    .where(jobs.c.expires_at < bindparam("wall_us"))
    .order_by(jobs.c.expires_at)
    .limit(bindparam("most"))
)
_delete_expired = delete(jobs).where(tuple_(jobs.c.project_id, jobs.c.job_id).in_(_expired))


def delete_expired_jobs(connection: Connection, wall_us: int, limit: int) -> int:
    """Drop up to ``limit`` jobs that ended and need not be kept any more; return how many."""
    return connection.execute(_delete_expired, {"wall_us": wall_us, "most": limit}).rowcount


def _job(row: Any) -> Job:
    values = row._asdict()
    return Job(project=values.pop("project_id"), **values)
