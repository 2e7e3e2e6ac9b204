"""The worker process: claim, work, renew, report; two jobs at once."""

import logging
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

from loopwright.config import Settings
from loopwright.governance import SYSTEM
from loopwright.kernel.errors import Conflict, LoopwrightError, NotFound, Unavailable
from loopwright.kernel.ids import new_id
from loopwright.rooms import import_rooms
from loopwright.store.types import Job
from loopwright.store.work import JOBS, do_job
from loopwright.wire.process import run_process
from loopwright.worker.context import WorkerContext, make_context

log = logging.getLogger("loopwright.worker")

SLOTS = 2
CLAIM_WAIT_S = 5.0
"""Shorter than a job's lease: when the jobs of a dead worker are free again, no claim of its own waits for them."""
RENEW_EVERY_S = 3.0
REPEAT_AFTER_S = (1.0, 2.0, 5.0, 10.0, 20.0)
DRAIN_S = 8.0
"""How long a stop waits for jobs under way; what is left resumes elsewhere or at the next start."""
_PAUSES_S = (0.1, 0.2, 0.5, 1.0, 2.0)


class _Stopped(BaseException):
    """Ends what waits when the worker stops: a claim, or a job that is to be repeated."""


class Worker:
    """Claims jobs under a lease and does them.

    Args:
        context: What jobs may use.
    """

    def __init__(self, context: WorkerContext) -> None:
        self.name = new_id("wrk", context.wall.now_us())
        self._context = context
        self._active: dict[str, Job] = {}
        self._progress: dict[str, str] = {}
        self._lost: set[str] = set()
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._is_claiming = False

    def stop(self) -> None:
        """Claim no more jobs; ``run`` returns when those under way have ended or ``DRAIN_S`` is over.

        Called by a signal in the thread of ``run``, it ends a claim that waits; a job granted in that very moment is
        free again when its lease ends.
        """
        self._stop.set()
        if self._is_claiming and threading.current_thread() is threading.main_thread():
            self._is_claiming = False
            raise _Stopped

    def run(self) -> None:
        """Work until told to stop."""
        threading.Thread(target=self._renew_loop, name="renew", daemon=True).start()
        pool = ThreadPoolExecutor(SLOTS, thread_name_prefix="job")
        failures = 0
        while not self._stop.is_set():
            free = self._wait_for_slot()
            if not free:
                continue
            try:
                self._is_claiming = True
                jobs = self._claim(free)
                self._is_claiming = False
                failures = 0
            except _Stopped:
                break
            except LoopwrightError as error:
                self._is_claiming = False
                if failures == 0:
                    log.warning("no jobs can be claimed: %s", error)
                self._stop.wait(_PAUSES_S[min(failures, len(_PAUSES_S) - 1)])
                failures += 1
                continue
            for job in jobs:
                self._take(pool, job)
        self._drain(pool)

    def _claim(self, limit: int) -> list[Job]:
        args = {"worker": self.name, "kinds": sorted(JOBS), "limit": limit}
        found: list[Job] = self._context.caller.try_once("jobs.claim", args, SYSTEM, wait_s=CLAIM_WAIT_S)
        return found

    def _wait_for_slot(self) -> int:
        with self._changed:
            if len(self._active) >= SLOTS:
                self._changed.wait(0.5)
            return max(0, SLOTS - len(self._active))

    def _take(self, pool: ThreadPoolExecutor, job: Job) -> None:
        """Begin a job; one whose lease ran out while the server was down is under way here already."""
        with self._changed:
            if job.job_id in self._active:
                self._lost.discard(job.job_id)
                return
            self._active[job.job_id] = job
        pool.submit(self._work, job)

    def _work(self, job: Job) -> None:
        def say(text: str) -> None:
            self._progress[job.job_id] = text

        try:
            try:
                result = self._do(job, self._context.for_job(job, say))
                self._report(job, "jobs.finish", result=result)
            except _Stopped:
                log.info("job %s (%s) goes on elsewhere when its lease ends", job.job_id, job.kind)
            except LoopwrightError as error:
                self._report(job, "jobs.fail", error=error.to_dict())
            except Exception as error:  # a fault of ours must end the job, not the worker
                log.exception("job %s (%s) failed", job.job_id, job.kind)
                message = f"{job.kind} failed: {type(error).__name__}: {error}"
                hint = "the worker's log has the details; loopwright logs worker"
                self._report(job, "jobs.fail", error={"code": "internal", "message": message, "next_step": hint})
        finally:
            with self._changed:
                self._active.pop(job.job_id, None)
                self._progress.pop(job.job_id, None)
                self._lost.discard(job.job_id)
                self._changed.notify_all()

    def _do(self, job: Job, context: WorkerContext) -> dict[str, Any] | None:
        """Do a job; where a part of the platform is not there do it again, a few times with growing pauses."""
        for pause_s in REPEAT_AFTER_S:
            try:
                return do_job(context, job)
            except Unavailable as error:
                log.warning("job %s (%s) is repeated in %g s: %s", job.job_id, job.kind, pause_s, error)
                if self._stop.wait(pause_s):
                    raise _Stopped from None
        return do_job(context, job)

    def _report(self, job: Job, verb: str, **outcome: Any) -> None:
        """Tell how a job ended, as soon as the server answers; not of a job that another worker has by now."""
        if job.job_id in self._lost:
            return
        try:
            self._context.call(verb, {"job_id": job.job_id, "worker": self.name, **outcome}, job.project)
        except (Conflict, NotFound) as error:
            log.warning("the end of %s was not taken: %s", job.job_id, error)

    def _renew_loop(self) -> None:
        while True:
            time.sleep(RENEW_EVERY_S)
            try:
                self._renew()
            except Unavailable:
                continue
            except LoopwrightError as error:
                log.warning("leases were not renewed: %s", error)

    def _renew(self) -> None:
        with self._changed:
            active = list(self._active.values())
        for job in active:
            args = {"job_ids": [job.job_id], "worker": self.name, "progress": self._progress.get(job.job_id)}
            held = self._context.caller.try_once("jobs.renew", args, job.project)
            with self._changed:
                if job.job_id not in held and job.job_id in self._active:
                    self._lost.add(job.job_id)

    def _drain(self, pool: ThreadPoolExecutor) -> None:
        deadline = time.monotonic() + DRAIN_S
        with self._changed:
            while self._active and time.monotonic() < deadline:
                self._changed.wait(0.2)
        pool.shutdown(wait=False, cancel_futures=True)


def run(settings: Settings) -> None:
    """Run a worker until SIGTERM or SIGINT; then finish what is under way and return."""
    import_rooms("jobs", "steps")
    context = make_context(settings)
    worker = Worker(context)

    def stop(_number: int, _frame: FrameType | None) -> None:
        worker.stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    log.info("worker %s is ready", worker.name)
    worker.run()
    context.children.close()


def main() -> None:
    """Entry point of ``python -m loopwright.worker``."""
    run_process(run)
    # Threads of jobs that outlasted the drain must not hold the process.
    os._exit(0)
