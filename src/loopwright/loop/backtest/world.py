"""The scratch project as whoever plays in it sees it: the same verbs and endpoints that a person's client uses."""

import io
import time
from collections.abc import Callable
from typing import TypeVar

import polars as pl

from loopwright import data
from loopwright.kernel.errors import LoopwrightError, PermissionDenied, error_from_dict
from loopwright.loop.engine.clock_advance import advance
from loopwright.store import jobs
from loopwright.store.types import Job
from loopwright.store.work import OtherProject
from loopwright.wire.endpoints import Endpoint, push_rows
from loopwright.wire.rows import Rows

T = TypeVar("T")
JOB_ENDED = ("done", "failed", "dismissed", "cancelled")
_PAUSE_S = 0.1
_LET_IN_S = 10.0
"""So long a server may take that remembers the job from before it was let into the project."""


class ScratchWorld:
    """Where history is played.

    Args:
        project: The scratch project.
    """

    def __init__(self, project: OtherProject) -> None:
        self.project = project

    def deployment(self, name: str) -> Endpoint:
        """Return an endpoint of it."""
        return Endpoint(self.project.project, name, self.project.ask_gateway)

    def dataset(self, name: str) -> "ScratchDataset":
        """Return a dataset of it."""
        return ScratchDataset(self.project, name)

    def advance(self, to: int) -> object:
        """Move its clock to a moment, microseconds UTC, and return once it has come to rest."""
        return self.project.call(advance, to=to)

    def wait(self, job: Job, tell: Callable[[Job], None] = lambda _: None) -> Job:
        """Return a job of it once it is done.

        Raises:
            LoopwrightError: It is not; its own error.
        """
        job = wait_until(
            lambda: self.project.call(jobs.get, job_id=job.job_id), lambda job: job.state in JOB_ENDED, tell
        )
        if job.state != "done":
            raise job_error(job)
        return job

    def wait_until_let_in(self) -> None:
        """Return once the server lets this job in; another one than made the project may hear of that later."""
        deadline = time.monotonic() + _LET_IN_S
        while True:
            try:
                self.project.call(jobs.list_jobs, limit=1)
            except PermissionDenied:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_PAUSE_S)
            else:
                return


class ScratchDataset:
    """A dataset of the scratch project, which grows."""

    def __init__(self, project: OtherProject, name: str) -> None:
        self._project, self._name = project, name

    def push(self, rows: Rows) -> int:
        """Send rows as they become known; return how many were taken."""
        return push_rows(self._project.project, self._name, rows, self._project.ask_gateway)

    def append(self, rows: pl.DataFrame, *, reason: str = "", replace: bool = False) -> Job:
        """Start a version with more rows, or with these alone."""
        return self._import(rows, "replace" if replace else "append", reason)

    def complete(self, rows: pl.DataFrame, *, reason: str = "") -> Job:
        """Start a version in which rows say more."""
        return self._import(rows, "complete", reason)

    def _import(self, rows: pl.DataFrame, operation: data.Operation, reason: str) -> Job:
        body = io.BytesIO()
        rows.write_parquet(body, compression="zstd", compression_level=1)
        blob = self._project.put_blob(body.getvalue())
        return self._project.call(
            data.start_import, dataset=self._name, operation=operation, blobs=[blob], reason=reason
        )


def wait_until(look: Callable[[], T], has_ended: Callable[[T], bool], tell: Callable[[T], None] = lambda _: None) -> T:
    """Look again and again, and tell what is seen, until it has ended; return it. Calls stop where the job is to."""
    while True:
        seen = look()
        tell(seen)
        if has_ended(seen):
            return seen
        time.sleep(_PAUSE_S)


def job_error(job: Job) -> LoopwrightError:
    """Return why a job that has ended is not done."""
    return error_from_dict(job.error or {"message": f"{job.kind} {job.state}"})
