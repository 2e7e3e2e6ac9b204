"""Tasks: the jobs a worker has under way, and why one of them is to stop."""

import threading
import time
from typing import Literal

from loopwright.kernel.storable import storable_text
from loopwright.store.types import HeldJob, Job
from loopwright.store.work import kind_named

_MOST_LETTERS = 500
"""Of what a job says of how far it is."""
Why = Literal["", "cancelled", "lost", "late", "draining"]
"""Why a task is to stop: somebody cancelled the job; another worker has it, or nobody may hold it any more; the attempt
passed its deadline; the worker stops."""


class Task:
    """One job that this worker does; the thread that does it asks ``should_stop``, others say ``stop``.

    Args:
        job: As it was claimed.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.deadline_s = kind_named(job.kind).deadline_s
        self.why: Why = ""
        self.is_told = False
        self._deadline = time.monotonic() + self.deadline_s
        self._said: str | None = None
        self._stopped = threading.Event()

    def say(self, text: str) -> None:
        """Say how far the job is; it goes out with the next sign of life."""
        self._said = storable_text(text, _MOST_LETTERS)  # a sign of life that is refused is none, of any job

    def held(self) -> HeldJob:
        """Return the job as this worker names it to the server."""
        return HeldJob(self.job.project, self.job.job_id)

    def sign_of_life(self) -> HeldJob:
        """Return what is told to the server now and then; what was told already is not told again."""
        said, self._said = self._said, None
        return HeldJob(self.job.project, self.job.job_id, said)

    def stop(self, why: Why) -> None:
        """Ask the job to end. The first reason counts, except that what is lost is lost."""
        if not self.why or why == "lost":
            self.why = why
        self._stopped.set()

    def should_stop(self) -> bool:
        """Say whether the job is to end; past its deadline it is."""
        if not self._stopped.is_set() and self.late_by_s() > 0:
            self.stop("late")
        return self._stopped.is_set()

    def late_by_s(self) -> float:
        """Return by how many seconds the attempt has passed its deadline; negative before."""
        return time.monotonic() - self._deadline

    def pause(self, seconds: float) -> None:
        """Wait, unless the job is to end; then return at once."""
        self._stopped.wait(max(0.0, min(seconds, -self.late_by_s())))


class Tasks:
    """Every task of a worker."""

    def __init__(self) -> None:
        self._tasks: dict[tuple[str, str], Task] = {}
        self._changed = threading.Condition()

    def begin(self, job: Job) -> Task | None:
        """Add a claimed job; None if it is under way here already, for its lease ran out while the server was down."""
        with self._changed:
            if (job.project, job.job_id) in self._tasks:
                return None
            task = self._tasks[job.project, job.job_id] = Task(job)
            return task

    def may_tell(self, task: Task) -> bool:
        """Say whether the caller is the one who tells how a task ended: the first who asks."""
        with self._changed:
            is_first, task.is_told = not task.is_told, True
            return is_first

    def end(self, task: Task) -> None:
        """Take a task out, once it is told how it ended."""
        with self._changed:
            self._tasks.pop((task.job.project, task.job.job_id), None)
            self._changed.notify_all()

    def active(self) -> list[Task]:
        """Return the tasks under way."""
        with self._changed:
            return list(self._tasks.values())

    def wait_until_none(self, timeout_s: float) -> bool:
        """Wait until every task has ended; say whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._tasks, timeout_s)
