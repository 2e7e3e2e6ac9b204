"""The worker process: claim, work, give signs of life, report; so many jobs of each lane at once."""

import logging
import os
import signal
import threading
from collections.abc import Mapping
from types import FrameType
from typing import Any

from loopwright.config import Settings
from loopwright.governance import SYSTEM
from loopwright.kernel.errors import Conflict, LoopwrightError, NotFound, Unavailable
from loopwright.kernel.ids import new_id
from loopwright.kernel.lanes import LANES, Lane
from loopwright.kernel.storable import storable, storable_text, words_of
from loopwright.rooms import import_rooms
from loopwright.store.jobs import claim, fail, finish, hand_back, let_go, renew
from loopwright.store.types import Job
from loopwright.store.unwritable import full_disk, tells_of_full_disk
from loopwright.store.work import KINDS, NotYet, Stopped, do_job
from loopwright.wire import orphans
from loopwright.wire.enclosing import check_walls
from loopwright.wire.process import run_process
from loopwright.worker.context import WorkerContext, make_context
from loopwright.worker.instance import hold_instance
from loopwright.worker.leftovers import keep_swept
from loopwright.worker.tasks import Task, Tasks

log = logging.getLogger("loopwright.worker")

CLAIM_WAIT_S = 5.0
"""Shorter than a job's lease: when the jobs of a dead worker are free again, no claim of its own waits for them."""
RENEW_EVERY_S = 2.0
DRAIN_S = 6.0
"""How long a stop waits for jobs under way; what is left is handed back, and the next worker takes it at once."""
STOP_S = 1.0
"""How long a job has to stop after it was asked to, before it is handed back or given up behind its back."""
STUCK_AFTER_S = 15.0
"""So long after its deadline an attempt that does not stop is given up; its thread cannot be ended."""
MOST_STUCK = 3
"""With so many threads given up the worker ends, and its successor begins without them."""
_MOST_LETTERS_OF_RESULT = 200_000
"""Of one text in what a job answers."""
_PAUSES_S = (0.1, 0.2, 0.5, 1.0, 2.0)


class _WokenUp(BaseException):
    """Ends a claim that waits, when the worker stops."""


class Worker:
    """Claims jobs under a lease and does them.

    Args:
        context: What jobs may use.
        slots: How many jobs of each lane are done at once.
    """

    def __init__(self, context: WorkerContext, slots: Mapping[Lane, int]) -> None:
        self.name = new_id("wrk", context.wall.now_us())
        self._context, self._slots = context, dict(slots)
        self._tasks = Tasks()
        self._stop = threading.Event()
        self._is_over = threading.Event()
        self._is_claiming = False
        self._stuck = 0

    def stop(self) -> None:
        """Claim no more jobs; ``run`` returns when those under way have ended or are handed back.

        Called by a signal in the thread of ``run``, it ends a claim that waits; a job granted in that very moment is
        free again when its lease ends.
        """
        self._stop.set()
        if self._is_claiming and threading.current_thread() is threading.main_thread():
            self._is_claiming = False
            raise _WokenUp

    def run(self) -> None:
        """Work until told to stop; until all is told and handed back, leases are prolonged."""
        threading.Thread(target=self._renew_loop, name="renew", daemon=True).start()
        swept = (self._context, self._tasks, self._is_over)
        threading.Thread(target=keep_swept, args=swept, name="sweep", daemon=True).start()
        try:
            self._claim_and_take()
            self._drain()
        finally:
            self._is_over.set()

    def _claim_and_take(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                self._is_claiming = True
                jobs = self._claim()
                self._is_claiming = False
            except _WokenUp:
                break
            except LoopwrightError as error:
                self._is_claiming = False
                if failures == 0:
                    log.warning("no jobs can be claimed: %s", error)
                self._stop.wait(_PAUSES_S[min(failures, len(_PAUSES_S) - 1)])
                failures += 1
                continue
            failures = 0
            for job in jobs:
                self._take(job)

    def _claim(self) -> list[Job]:
        """Wait until there are jobs for the slots that are free; the rows know which are."""
        return self._context.caller.try_once(
            claim,
            SYSTEM,
            CLAIM_WAIT_S,
            worker=self.name,
            kinds=sorted(KINDS),
            slots=self._slots,
            holding=[task.held() for task in self._tasks.active()],
        )

    def _take(self, job: Job) -> None:
        task = self._tasks.begin(job)
        if task is not None:
            threading.Thread(target=self._work, args=(task,), name=f"job-{job.kind}", daemon=True).start()

    def _work(self, task: Task) -> None:
        try:
            verb, outcome = self._do(task)
        except Stopped:
            verb, outcome = _outcome_of_stopped(task)
        self._end(task, verb, outcome)

    def _do(self, task: Task) -> tuple[Any, dict[str, Any]]:
        """Do a job; return the verb that tells of its end, with its arguments."""
        try:
            import_rooms("jobs")  # with the first job: what they need (Polars) takes more memory than all else here
            result = do_job(self._context.for_task(task), task.job)
            return finish, {"result": storable(result, _MOST_LETTERS_OF_RESULT)}  # it may quote rows
        except NotYet as wait:
            return hand_back, {"after_s": wait.after_s}
        except Stopped:
            raise
        # A fault of ours must end the job, not the worker; and a panic of a library that reads what somebody sent is no
        # ``Exception``: past here the job would keep its slot until its deadline.
        except BaseException as error:
            if task.why:  # what is stopped in the middle may raise anything
                raise Stopped from None
            if not isinstance(error, LoopwrightError) and tells_of_full_disk(error):
                error = full_disk(self._context.state_dir)
            if isinstance(error, LoopwrightError):
                return fail, {"error": error.to_dict(), "may_retry": isinstance(error, Unavailable)}
            log.exception("job %s (%s) failed", task.job.job_id, task.job.kind)
            message = f"{task.job.kind} failed: {type(error).__name__}: {words_of(error)}"
            return fail, {"error": _ours(message)}

    def _end(self, task: Task, verb: Any, outcome: dict[str, Any]) -> bool:
        """End a task and tell of it; False if that is told already, for it was given up."""
        if not self._tasks.may_tell(task):
            return False
        try:
            self._report(task, verb, outcome)
        finally:
            self._tasks.end(task)
        return True

    def _report(self, task: Task, verb: Any, outcome: dict[str, Any]) -> None:
        """Tell how a job ended, as soon as the server answers; not of a job that another worker has by now."""
        if task.why == "lost":
            return
        try:
            self._tell(task, verb, outcome)
        except Stopped:
            return
        except (Conflict, NotFound, Unavailable) as error:
            log.warning("the end of %s was not taken: %s", task.job.job_id, error)
        except Exception as error:
            # Untold, the job would be taken again when its lease ends: its user's code would run again, and end so.
            log.exception("how %s (%s) ended was refused", task.job.job_id, task.job.kind)
            self._tell_refused(task, error)

    def _tell(self, task: Task, verb: Any, outcome: dict[str, Any]) -> None:
        told = {"job_id": task.job.job_id, "worker": self.name, **outcome}
        self._context.caller.call(verb, task.job.project, lambda: task.why == "lost", **told)

    def _tell_refused(self, task: Task, refusal: Exception) -> None:
        """End a job of whose end nothing was taken, in words of ours and those of the refusal."""
        why = refusal.message if isinstance(refusal, LoopwrightError) else type(refusal).__name__
        message = f"{task.job.kind} ended, and what it had to tell was refused: {why}"
        try:
            self._tell(task, fail, {"error": _ours(message)})
        except Stopped:
            return
        except Exception:
            log.exception("nothing could be told of the end of %s (%s)", task.job.job_id, task.job.kind)

    def _renew_loop(self) -> None:
        while not self._is_over.wait(RENEW_EVERY_S):
            try:
                self._give_up_stuck()
                self._renew()
            except Unavailable:
                continue
            except LoopwrightError as error:
                log.warning("leases were not renewed: %s", error)
            except Exception:  # without this thread every job here would be taken by another worker
                log.exception("leases were not renewed")

    def _renew(self) -> None:
        """Give signs of life of what goes on; an attempt past its deadline gets none, so that its lease runs out."""
        tasks = {(task.job.project, task.job.job_id): task for task in self._tasks.active() if not task.should_stop()}
        if not tasks:
            return
        held = [task.sign_of_life() for task in tasks.values()]
        leases = self._context.caller.try_once(renew, SYSTEM, 0.0, worker=self.name, held=held)
        answered = {(lease.project, lease.job_id): lease for lease in leases}
        for key, task in tasks.items():
            lease = answered.get(key)
            if lease is None:
                task.stop("lost")
            elif lease.is_cancelled:
                task.stop("cancelled")

    def _give_up_stuck(self) -> None:
        """Report attempts that did not stop at their deadline; a thread cannot be ended, but a process can."""
        for task in self._tasks.active():
            if task.should_stop() and task.late_by_s() > STUCK_AFTER_S and self._end(task, *_outcome_of_stopped(task)):
                self._stuck += 1
                log.error("job %s (%s) does not stop at its deadline", task.job.job_id, task.job.kind)
        if self._stuck >= MOST_STUCK and not self._stop.is_set():
            log.error("%d jobs did not stop; this worker ends, so that the next one begins without them", self._stuck)
            os.kill(os.getpid(), signal.SIGTERM)

    def _drain(self) -> None:
        """Let what is under way end for a while; hand back what is left."""
        if self._tasks.wait_until_none(DRAIN_S):
            return
        for task in self._tasks.active():
            task.stop("draining")
        self._tasks.wait_until_none(STOP_S)
        for task in self._tasks.active():
            if self._tasks.may_tell(task):
                self._hand_back_once(task.job)

    def _hand_back_once(self, job: Job) -> None:
        try:
            self._context.caller.try_once(hand_back, job.project, 0.0, job_id=job.job_id, worker=self.name)
        except LoopwrightError as error:
            log.warning("job %s goes on elsewhere when its lease ends: %s", job.job_id, error)


def _outcome_of_stopped(task: Task) -> tuple[Any, dict[str, Any]]:
    """Return what is to be reported of a task that was stopped; of a lost one nothing is."""
    if task.why != "late":
        return hand_back, {}
    message = f"{task.job.kind} took longer than {task.deadline_s:g} s and was stopped"
    hint = "look what it waits for (loopwright logs worker), then retry it"
    return fail, {"error": {"code": "too_long", "message": message, "next_step": hint}}


def _ours(message: str) -> dict[str, Any]:
    """Return the error of a job that failed by no fault of whoever asked for it."""
    hint = "the worker's log has the details; loopwright logs worker"
    return {"code": "internal", "message": storable_text(message), "next_step": hint}


def slots_of(settings: Settings) -> dict[Lane, int]:
    """Return how many jobs of each lane are done at once."""
    return {lane: settings.slots.get(lane, DEFAULT_SLOTS) for lane in LANES}


DEFAULT_SLOTS = 2
"""Jobs of one lane that a worker does at once where the setting does not name the lane."""


def run(settings: Settings) -> None:
    """Run a worker until SIGTERM or SIGINT; then finish or hand back what is under way and return."""
    import_rooms()
    slots = slots_of(settings)
    if missing := check_walls(settings.walls):
        log.warning("%s", missing)
    orphans.adopt()
    with hold_instance(settings.state_dir) as instance:
        instance.take_temporary()
        context = make_context(settings, instance.folder, slots)
        worker = Worker(context, slots)

        def stop(_number: int, _frame: FrameType | None) -> None:
            worker.stop()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        _let_predecessor_go(context, instance.succeed(worker.name))
        log.info("worker %s is ready", worker.name)
        worker.run()
        context.children.close()


def _let_predecessor_go(context: WorkerContext, name: str) -> None:
    """Free the jobs of the worker that had this folder before: it is dead, for it no longer holds the folder."""
    if name:
        try:
            context.caller.try_once(let_go, SYSTEM, 0.0, worker=name)
        except LoopwrightError as error:
            log.warning("the jobs of %s are free when their leases end: %s", name, error)


def main() -> None:
    """Entry point of ``python -m loopwright.worker``."""
    run_process(run)
    # Threads of jobs that outlasted the drain must not hold the process.
    os._exit(0)
