"""Verbs of jobs: a worker claims one under a lease, reports progress, and finishes or fails it."""

from collections.abc import Iterable
from typing import Any

from loopwright.kernel.clock import SECOND_US, FixedClock
from loopwright.kernel.errors import Conflict, InvalidInput, NotFound
from loopwright.kernel.states import check_change
from loopwright.kernel.verbs import Count, Role, query, verb
from loopwright.store import sql
from loopwright.store.events import JobDismissed, JobDone, JobFailed, JobRetried
from loopwright.store.news import JOBS
from loopwright.store.tx import Tx
from loopwright.store.types import JOB_STATES, Job

LEASE_US = 10 * SECOND_US
"""How long a claim holds without a sign of life; another worker may then take the job."""
MOST_ATTEMPTS = 5
"""A job that kills its worker this often is failed."""


@query("jobs.get")
def get(tx: Tx, *, job_id: str) -> Job:
    """Return one job."""
    job = sql.find_job(tx.connection, tx.project, job_id)
    if job is None:
        raise NotFound("no such job", field="job_id", value=job_id)
    return job


@query("jobs.list")
def list_jobs(tx: Tx, *, states: list[str] = [], kind: str | None = None, limit: Count = 100) -> list[Job]:  # noqa: B006
    """Return jobs, newest first."""
    return sql.list_jobs(tx.connection, tx.project, states=states, kind=kind, limit=min(limit, 1000))


@verb("jobs.claim", changes=Job, internal=True)
def claim(tx: Tx, *, worker: str, kinds: list[str], limit: Count = 1) -> list[Job]:
    """Take up to ``limit`` free jobs of any project for a worker, under a lease."""
    taken = []
    for job in sql.claimable_jobs(tx.connection, kinds, tx.wall_us, limit, lock=True):
        if job.attempt >= MOST_ATTEMPTS:
            _fail(tx, job, {"code": "worker_lost", "message": f"no worker survived it in {job.attempt} tries"})
            continue
        lease_until = tx.wall_us + LEASE_US
        taken.append(
            sql.update_job(
                tx.connection, job, state="running", worker=worker, attempt=job.attempt + 1, lease_until=lease_until
            )
        )
    return taken


@verb("jobs.renew", changes=Job, internal=True)
def renew(tx: Tx, *, job_ids: list[str], worker: str, progress: str | None = None) -> list[str]:
    """Prolong the leases a worker holds; return the ids it still holds."""
    values = {"lease_until": tx.wall_us + LEASE_US, **({"progress": progress} if progress else {})}
    return [job_id for job_id in job_ids if sql.renew_job(tx.connection, tx.project, job_id, worker, **values)]


@verb("jobs.finish", changes=Job, internal=True)
def finish(tx: Tx, *, job_id: str, worker: str, result: dict[str, Any] | None = None) -> Job:
    """End a job well, as the worker that holds it. Finishing twice is once."""
    job = _find_to_end(tx, job_id, worker, "done")
    if job.state == "done":
        return job
    done = _close(tx, job, state="done", result=result)
    _in_project(tx, job).emit(JobDone(job_id=job_id, kind=job.kind, result=result), job.ref)
    return done


@verb("jobs.fail", changes=Job, internal=True)
def fail(tx: Tx, *, job_id: str, worker: str, error: dict[str, Any]) -> Job:
    """End a job badly, as the worker that holds it, with the error a user will read. Failing twice is once."""
    job = _find_to_end(tx, job_id, worker, "failed")
    return job if job.state == "failed" else _fail(tx, job, error)


@verb("jobs.retry", changes=Job, role=Role.EDITOR)
def retry(tx: Tx, *, job_id: str, reason: str = "") -> Job:
    """Queue a failed job again."""
    job = get(tx, job_id=job_id)
    check_change("job", JOB_STATES, job.state, "queued")
    queued = sql.update_job(tx.connection, job, state="queued", attempt=0, error=None, finished_at=None)
    tx.wake(JOBS)
    tx.emit(JobRetried(job_id=job_id, kind=job.kind), job.ref, reason=reason)
    return queued


@verb("jobs.dismiss", changes=Job, role=Role.EDITOR)
def dismiss(tx: Tx, *, job_id: str, reason: str) -> Job:
    """Say that a failed job needs nothing more: what it was to do is done otherwise, or not wanted any more."""
    if not reason.strip():
        raise InvalidInput("a dismissal needs a reason", field="reason", rule="at least one word")
    job = get(tx, job_id=job_id)
    check_change("job", JOB_STATES, job.state, "dismissed")
    dismissed = sql.update_job(tx.connection, job, state="dismissed")
    tx.emit(JobDismissed(job_id=job_id, kind=job.kind), job.ref, reason=reason)
    return dismissed


def unanswered(tx: Tx, lasting: Iterable[str]) -> list[Job]:
    """Return the failed jobs that nobody has answered yet, newest first.

    A retry or a dismissal answers, and so does any later job of the same kind for the same ref, unless the kind is one
    of ``lasting``: there each job does something that no other one does.
    """
    return sql.failed_jobs(tx, lasting)


def _find_to_end(tx: Tx, job_id: str, worker: str, state: str) -> Job:
    """Return a job that this worker may end so, or that has ended so."""
    job = get(tx, job_id=job_id)
    if job.state == state:
        return job
    check_change("job", JOB_STATES, job.state, state)
    if job.worker != worker:
        raise Conflict(
            f"another worker does job {job_id} now",
            field="worker",
            value=worker,
            rule=f"held by {job.worker} since the lease ran out",
        )
    return job


def _fail(tx: Tx, job: Job, error: dict[str, Any]) -> Job:
    failed = _close(tx, job, state="failed", error=error)
    facts = JobFailed(job_id=job.job_id, kind=job.kind, error=error)
    _in_project(tx, job).emit(facts, job.ref, reason=str(error.get("message", "")))
    return failed


def _close(tx: Tx, job: Job, **values: Any) -> Job:
    return sql.update_job(tx.connection, job, finished_at=tx.wall_us, lease_until=None, **values)


def _in_project(tx: Tx, job: Job) -> Tx:
    """Return the transaction as it is inside the job's project: who claims jobs stands above all of them."""
    clock = tx.clock if job.project == tx.project else FixedClock(job.event_at)  # a job takes no event time
    return Tx(tx.connection, job.project, tx.actor, clock, tx.wall, tx.cause)
