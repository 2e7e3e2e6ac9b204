"""Verbs of jobs: a worker takes one under a lease, tells how far it is, and ends it or hands it back.

Nothing of a job's life is in a process: which attempt holds it, when it may be tried again, whether somebody wants it
ended are columns of its row. How a kind of job is to be treated, ``store.work.JobKind`` says.
"""

from collections.abc import Iterable
from typing import Any

from loopwright.kernel.clock import DAY_US, SECOND_US, FixedClock
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import Conflict, InvalidInput, NotFound, PermissionDenied, TooBusy
from loopwright.kernel.lanes import LANES, Lane
from loopwright.kernel.states import check_change
from loopwright.kernel.verbs import Count, Role, query, verb
from loopwright.store import sql
from loopwright.store.events import JobCancelAsked, JobCancelled, JobDismissed, JobDone, JobFailed, JobRetried
from loopwright.store.news import JOBS
from loopwright.store.tx import Tx
from loopwright.store.types import JOB_STATES, HeldJob, Job, JobLease
from loopwright.store.work import KINDS, Work, kind_named, kind_of

LEASE_US = 10 * SECOND_US
"""How long a claim holds without a sign of life; another worker may then take the job."""
ONE_OF_EACH: dict[Lane, Count] = dict.fromkeys(LANES, 1)
MOST_WAITING = 20
"""Jobs of one kind that viewers of a project may have waiting."""
MOST_FAILURES = 5
"""A job that kills its worker this often is failed."""


def start_asked(tx: Tx, work: Work, ref: str, *, job_id: str | None = None) -> Job:
    """Queue what a viewer may ask for; what waits already is not queued again, and only so much waits.

    Raises:
        TooBusy: As much of its kind is asked for as the project may have waiting, so that others' jobs come to their
            turn.
    """
    kind, args = kind_of(type(work)).name, to_builtins(work)
    waiting = sql.list_jobs(tx.connection, tx.project, states=("queued",), kind=kind, limit=MOST_WAITING)
    if same := next((job for job in waiting if job.args == args), None):
        return same
    if len(waiting) >= MOST_WAITING:
        raise TooBusy(
            f"{MOST_WAITING} jobs of this kind wait in the project",
            field="kind",
            value=kind,
            rule=f"at most {MOST_WAITING}",
            next_step="ask again once one of them is done: loopwright call jobs.list",
            details={"retry_after_s": 10},
        )
    return tx.start_job(work, ref, job_id=job_id)


@query("jobs.get")
def get(tx: Tx, *, job_id: str) -> Job:
    """Return one job."""
    job = sql.find_job(tx.connection, tx.project, job_id)
    if job is None:
        hint = "jobs that ended are kept for a while only; jobs.list names those there are"
        raise NotFound("no such job", field="job_id", value=job_id, next_step=hint)
    return job


@query("jobs.list")
def list_jobs(tx: Tx, *, states: list[str] = [], kind: str | None = None, limit: Count = 100) -> list[Job]:  # noqa: B006
    """Return jobs, newest first."""
    return sql.list_jobs(tx.connection, tx.project, states=states, kind=kind, limit=min(limit, 1000))


def untaken(tx: Tx, *, waiting_us: int) -> list[sql.Untaken]:
    """Return the lanes in which jobs have been due so long while no worker does any job of the lane, of any project.

    Args:
        tx: Open transaction.
        waiting_us: Microseconds of the wall clock.
    """
    return sql.untaken_jobs(tx.connection, tx.project, tx.wall_us - waiting_us, tx.wall_us)


@verb("jobs.claim", changes=Job, internal=True, parts=("worker",), above_projects=True)
def claim(
    tx: Tx,
    *,
    worker: str,
    kinds: list[str],
    slots: dict[Lane, Count] = ONE_OF_EACH,
    holding: list[HeldJob] = [],  # noqa: B006 - never changed
) -> list[Job]:
    """Take free jobs of any project for a worker, under a lease, until it holds as many of each lane as it has slots.

    Those of a dead worker first; then the projects take turns.

    Args:
        worker: Who asks.
        kinds: What it can do.
        slots: How many jobs of each lane it does at once, those included that it does now: the rows say how many.
        holding: The jobs it does now. Their leases go on where they ran out: while no server was up, perhaps.
    """
    does = {(job.project, job.job_id): job for job in holding}
    held = sql.count_held(tx.connection, worker)
    free: dict[str, int] = {lane: number - held.get(lane, 0) for lane, number in slots.items()}
    taken = []
    for job in sql.lost_jobs(tx.connection, kinds, tx.wall_us):
        is_own = job.worker == worker
        if is_own and (goes_on := does.get((job.project, job.job_id))):
            sql.renew_job(tx.connection, goes_on, worker, tx.wall_us + LEASE_US)
        elif (is_own or free.get(job.lane, 0) > 0) and (given := _take_over(tx, job, worker)):
            taken.append(given)
            free[job.lane] = free.get(job.lane, 0) - (not is_own)
    for lane, number in free.items():
        due = sql.due_jobs(tx.connection, lane, kinds, tx.wall_us, number) if number > 0 else []
        taken += [_hand_out(tx, job, worker) for job in due]
    return taken


def _take_over(tx: Tx, job: Job, worker: str) -> Job | None:
    """Hand out a job whose worker is gone; None if it ends here instead."""
    if job.cancel_reason is not None:
        _end_cancelled(tx, job)
        return None
    failures = job.failures + 1
    if failures >= MOST_FAILURES:
        hint = "look why workers end (loopwright logs worker), such as too little memory, then retry it"
        message = f"no worker survived it in {failures} tries"
        _end_failed(tx, job, {"code": "worker_lost", "message": message, "next_step": hint})
        return None
    return _hand_out(tx, job, worker, failures=failures)


def _hand_out(tx: Tx, job: Job, worker: str, **values: Any) -> Job:
    values |= {"worker": worker, "attempt": job.attempt + 1, "lease_until": tx.wall_us + LEASE_US}
    return sql.update_job(tx.connection, job, state="running", **values)


@verb("jobs.renew", changes=Job, internal=True, parts=("worker",), above_projects=True)
def renew(tx: Tx, *, worker: str, held: list[HeldJob]) -> list[JobLease]:
    """Prolong the leases of jobs of any project that a worker does; return those it still holds."""
    until = tx.wall_us + LEASE_US
    leases = (sql.renew_job(tx.connection, job, worker, until) for job in held)
    return [lease for lease in leases if lease is not None]


@verb("jobs.let_go", changes=Job, internal=True, parts=("worker",), above_projects=True)
def let_go(tx: Tx, *, worker: str) -> int:
    """End the leases of a worker that is known to be dead, so that others need not wait for that; return how many."""
    tx.wake(JOBS)
    return sql.move_leases(tx.connection, tx.wall_us - 1, worker=worker)


@verb("jobs.hand_back", changes=Job, internal=True, parts=("worker",), lasts="deleted")
def hand_back(tx: Tx, *, job_id: str, worker: str, after_s: float = 0.0) -> Job:
    """Put a job back into its queue, as the worker that holds it; where somebody asked for its end, it ends instead.

    This is no failure: the worker stops, or the job has nothing to do for a while.

    Args:
        job_id: Which.
        worker: Who holds it.
        after_s: In how many seconds it may be taken again; 0 keeps its place in the queue.
    """
    job = _held_by(tx, job_id, worker, "queued")
    if job.cancel_reason is not None:
        return _end_cancelled(tx, job)
    due_at = tx.wall_us + int(after_s * SECOND_US) if after_s else job.due_at
    return _queue(tx, job, due_at=due_at)


@verb("jobs.finish", changes=Job, internal=True, parts=("worker",), lasts="deleted")
def finish(tx: Tx, *, job_id: str, worker: str, result: dict[str, Any] | None = None) -> Job:
    """End a job well, as the worker that holds it. Finishing twice is once."""
    job = get(tx, job_id=job_id)
    if job.state == "done":
        return job
    done = _end(tx, _held_by(tx, job_id, worker, "done"), state="done", result=result, error=None)
    _in_project(tx, job).emit(JobDone(job_id=job_id, kind=job.kind, result=result), job.ref)
    return done


@verb("jobs.fail", changes=Job, internal=True, parts=("worker",), lasts="deleted")
def fail(tx: Tx, *, job_id: str, worker: str, error: dict[str, Any], may_retry: bool = False) -> Job:
    """End an attempt badly, as the worker that holds the job. Failing twice is once.

    Args:
        job_id: Which.
        worker: Who holds it.
        error: What a user will read.
        may_retry: A part of the platform was not there: it is tried again, as long as its kind says.
    """
    job = get(tx, job_id=job_id)
    if job.state == "failed":
        return job
    job = _held_by(tx, job_id, worker, "failed")
    if job.cancel_reason is not None:
        return _end_cancelled(tx, job)
    pauses = kind_named(job.kind).retry_after_s
    if not may_retry or job.failures >= len(pauses):
        return _end_failed(tx, job, error)
    due_at = tx.wall_us + int(pauses[job.failures] * SECOND_US)
    said = f"is tried again: {error.get('message', 'a part of the platform was not there')}"
    return _queue(tx, job, due_at=due_at, failures=job.failures + 1, progress=said)


@verb("jobs.cancel", changes=Job, role=Role.EDITOR)
def cancel(tx: Tx, *, job_id: str, reason: str = "") -> Job:
    """End a job: one that waits at once, one that is under way as soon as its worker hears of it.

    Cancelling twice is once. What rules and alarms rest on, as the measuring of a window, an approver cancels.
    """
    job = get(tx, job_id=job_id)
    if kind_named(job.kind).is_duty and tx.role in (Role.VIEWER, Role.EDITOR):
        raise PermissionDenied(
            f"{tx.actor} may not cancel {job.kind} in {tx.project}",
            field="role",
            value=tx.role.value,
            rule="at least approver: a rule, an alarm or an erasure rests on it",
            next_step="ask an approver",
        )
    if job.state == "cancelled" or job.cancel_reason is not None:
        return job
    if job.state == "queued":
        return _end_cancelled(tx, job, reason)
    if job.state == "failed":
        raise Conflict(
            "this job has failed; nothing of it runs",
            field="state",
            value=job.state,
            rule="what waits or runs is cancelled",
            next_step=f'loopwright call jobs.dismiss job_id={job_id} reason="...", or loopwright retry {job_id}',
        )
    check_change("job", JOB_STATES, job.state, "cancelled")
    asked = sql.update_job(tx.connection, job, cancel_reason=reason)
    tx.emit(JobCancelAsked(job_id=job_id, kind=job.kind), job.ref, reason=reason)
    return asked


@verb("jobs.retry", changes=Job, role=Role.EDITOR)
def retry(tx: Tx, *, job_id: str, reason: str = "") -> Job:
    """Queue a job again that failed or was cancelled."""
    job = get(tx, job_id=job_id)
    fresh: dict[str, Any] = {"failures": 0, "error": None, "finished_at": None, "expires_at": None}
    queued = _queue(tx, job, due_at=tx.wall_us, cancel_reason=None, progress=None, **fresh)
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


def unanswered(tx: Tx, lasting: Iterable[str], *, ref: str | None = None, limit: int | None = None) -> list[Job]:
    """Return the failed jobs that need a person and that nobody has answered yet, newest first.

    A retry or a dismissal answers, and so does any later job of the same kind for the same ref, unless the kind is one
    of ``lasting``: there each job does something that no other one does.
    """
    return sql.failed_jobs(tx, lasting, _quiet(), ref=ref, limit=limit)


def count_unanswered(tx: Tx, lasting: Iterable[str]) -> list[sql.FailedJobs]:
    """Return how many there are of what ``unanswered`` returns, by kind and ref."""
    return sql.count_failed_jobs(tx, lasting, _quiet())


def _quiet() -> list[str]:
    """Return the kinds of jobs whose failure needs nobody."""
    return [kind.name for kind in KINDS.values() if not kind.needs_person]


def _held_by(tx: Tx, job_id: str, worker: str, state: str) -> Job:
    """Return a job that may become so, held by this worker.

    Raises:
        Conflict: It has ended, waits, or is another worker's by now.
    """
    job = get(tx, job_id=job_id)
    check_change("job", JOB_STATES, job.state, state)
    if job.state != "running" or job.worker != worker:
        raise Conflict(
            f"another worker does job {job_id} now",
            field="worker",
            value=worker,
            rule=f"held by {job.worker} since the lease ran out",
        )
    return job


def _queue(tx: Tx, job: Job, **values: Any) -> Job:
    check_change("job", JOB_STATES, job.state, "queued")
    tx.wake(JOBS)
    return sql.update_job(tx.connection, job, state="queued", worker=None, lease_until=None, **values)


def _end_failed(tx: Tx, job: Job, error: dict[str, Any]) -> Job:
    failed = _end(tx, job, state="failed", error=error)
    facts = JobFailed(job_id=job.job_id, kind=job.kind, error=error)
    _in_project(tx, job).emit(facts, job.ref, reason=str(error.get("message", "")))
    return failed


def _end_cancelled(tx: Tx, job: Job, reason: str | None = None) -> Job:
    why = (job.cancel_reason or "") if reason is None else reason
    error = {"code": "cancelled", "message": f"the job was cancelled: {why}" if why else "the job was cancelled"}
    cancelled = _end(tx, job, state="cancelled", error=error, cancel_reason=why)
    _in_project(tx, job).emit(JobCancelled(job_id=job.job_id, kind=job.kind), job.ref, reason=why)
    return cancelled


def _end(tx: Tx, job: Job, *, state: str, **values: Any) -> Job:
    keep_days = kind_named(job.kind).keep_days
    expires_at = None if keep_days is None else tx.wall_us + keep_days * DAY_US
    tx.wake(JOBS)  # a slot is free again
    ended = {"finished_at": tx.wall_us, "lease_until": None, "expires_at": expires_at}
    return sql.update_job(tx.connection, job, state=state, **ended, **values)


def _in_project(tx: Tx, job: Job) -> Tx:
    """Return the transaction as it is inside the job's project: who claims jobs stands above all of them."""
    clock = tx.clock if job.project == tx.project else FixedClock(job.event_at)  # a job takes no event time
    return Tx(tx.connection, job.project, tx.actor, clock, tx.wall, tx.cause, token_id=tx.token_id, client=tx.client)
