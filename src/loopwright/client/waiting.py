"""Work that goes on at the server: handles that can be waited for, and tell how it ended."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from loopwright.kernel.errors import Conflict, LoopwrightError, StepFailed, Unavailable, error_from_dict

if TYPE_CHECKING:
    import polars as pl

    from loopwright.client.remote import Remote
    from loopwright.loop import Backtest, ClosingTable
    from loopwright.pipelines import Execution, StepRun
    from loopwright.store.types import Job

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0
JOB_ENDED = ("done", "failed", "dismissed", "cancelled")
EXECUTION_ENDED = ("done", "failed", "cancelled")


class RemoteJob:
    """A job of a running server, such as an import.

    Args:
        remote: The project.
        record: The job as it was last seen.
    """

    def __init__(self, remote: "Remote", record: "Job") -> None:
        self.record = record
        self._remote = remote

    @property
    def job_id(self) -> str:
        """Its id."""
        return self.record.job_id

    @property
    def state(self) -> str:
        """``queued``, ``running``, ``done``, ``failed`` or ``cancelled``, as last seen."""
        return self.record.state

    @property
    def result(self) -> dict[str, Any] | None:
        """What it answered, once it is done."""
        return self.record.result

    def refresh(self) -> Self:
        """Ask the server how it stands."""
        self.record = self._remote.call("jobs.get", job_id=self.job_id)
        return self

    def wait(self, timeout_s: float | None = None) -> Self:
        """Wait until it is done.

        Args:
            timeout_s: Longest wait in seconds; None waits as long as it takes.

        Raises:
            LoopwrightError: The job failed; its own error.
            Unavailable: It did not end in time; it goes on.
        """
        _wait(self.refresh, lambda: self.state in JOB_ENDED, timeout_s, self.job_id)
        if self.state != "done":
            raise error_from_dict(self.record.error or {"message": f"{self.record.kind} {self.state}"})
        return self

    def __repr__(self) -> str:
        about = f"{self.record.kind} of {self.record.ref}, {self.state}"
        progress = f", {self.record.progress}" if self.record.progress and self.state == "running" else ""
        return f"<job {self.job_id}: {about}{progress}>"


class RemoteBacktest:
    """A stretch of history that a running server plays again under a policy.

    Args:
        remote: The project whose history it is.
        record: The backtest as it was last seen.
    """

    def __init__(self, remote: "Remote", record: "Backtest") -> None:
        self.record = record
        self._remote = remote
        self._progress = ""

    @property
    def backtest_id(self) -> str:
        """Its id."""
        return self.record.backtest_id

    @property
    def state(self) -> str:
        """``running``, ``done``, ``failed`` or ``cancelled``, as last seen."""
        return self.record.state

    @property
    def closing(self) -> "ClosingTable":
        """What the stretch came to: ``table``, and the ``scope`` it is about.

        Raises:
            Conflict: It is not done.
        """
        if self.record.closing is None or self.state != "done":
            message, hint = "a backtest has its closing table once it is done", "wait() for it"
            raise Conflict(message, field="state", value=self.state, next_step=hint)
        return self.record.closing

    @property
    def months(self) -> "pl.DataFrame":
        """The closing table as a frame of one row a month; raises like ``closing``.

        Columns are ``month``, how many were predicted, the metric of each series with its interval, and the counts of
        retrains, promotions, rollbacks and incidents.
        """
        import polars as pl

        months = pl.DataFrame(self.closing.table["months"], infer_schema_length=None)
        return months.select("month", pl.exclude("month"))

    def refresh(self) -> Self:
        """Ask the server how it stands."""
        self.record = self._remote.call("loop.get_backtest", backtest_id=self.backtest_id)
        return self

    def wait(self, timeout_s: float | None = None, tell: Callable[[str], None] = lambda _: None) -> Self:
        """Wait until it is done.

        Args:
            timeout_s: Longest wait in seconds; None waits as long as it takes.
            tell: Hears how far it is whenever it was looked at.

        Raises:
            LoopwrightError: It failed, or was cancelled; its own error.
            Unavailable: It did not end in time; it goes on.
        """

        def look() -> None:
            self.refresh()
            if self.state == "running":
                job = self._remote.call("jobs.get", job_id=self.record.job_id)
                self._progress = job.progress or job.state
                tell(self._progress)

        _wait(look, lambda: self.state != "running", timeout_s, self.backtest_id)
        if self.state != "done":
            raise error_from_dict(self.record.error or {"message": f"{self.backtest_id} {self.state}"})
        return self

    def cancel(self, reason: str = "") -> Self:
        """End it, and the project in which it is played."""
        self._remote.call("jobs.cancel", job_id=self.record.job_id, reason=reason)
        return self

    def __repr__(self) -> str:
        progress = f", {self._progress}" if self._progress and self.state == "running" else ""
        return f"<backtest {self.backtest_id} of {self.record.deployment}, {self.state}{progress}>"


class RemoteExecution:
    """One running of a pipeline.

    Args:
        remote: The project.
        record: The execution as it was last seen.
    """

    def __init__(self, remote: "Remote", record: "Execution") -> None:
        self.record = record
        self._remote = remote

    @property
    def execution_id(self) -> str:
        """Its id."""
        return self.record.execution_id

    @property
    def state(self) -> str:
        """``queued``, ``running``, ``done``, ``failed`` or ``cancelled``, as last seen."""
        return self.record.state

    @property
    def steps(self) -> "list[StepRun]":
        """Its steps in the order of the definition, as last seen."""
        return self.record.steps

    def refresh(self) -> Self:
        """Ask the server how it stands."""
        self.record = self._remote.call("pipelines.get", execution_id=self.execution_id)
        return self

    def wait(self, timeout_s: float | None = None, tell: Callable[["RemoteExecution"], None] = lambda _: None) -> Self:
        """Wait until it is done.

        Args:
            timeout_s: Longest wait in seconds; None waits as long as it takes.
            tell: Hears of it whenever it was looked at.

        Raises:
            StepFailed: A step failed, or it was cancelled; names step, file, line and function of the user's code.
            Unavailable: It did not end in time; it goes on.
        """

        def look() -> None:
            self.refresh()
            tell(self)

        _wait(look, lambda: self.state in EXECUTION_ENDED, timeout_s, self.execution_id)
        if self.state != "done":
            raise self.error()
        return self

    def error(self) -> LoopwrightError:
        """Return why it is not done, with the place in the user's code where one is known."""
        if self.state == "cancelled":
            return StepFailed(f"{self.execution_id} was cancelled")
        error = self.record.error or {"message": f"{self.execution_id} {self.state}"}
        frames = list((error.get("details") or {}).get("traceback") or [])
        return StepFailed(
            str(error["message"]),
            field=": ".join(filter(None, (error.get("step") and f"step {error['step']}", error.get("field")))) or None,
            value=frames[-1] if frames else error.get("value"),
            rule=error.get("rule"),
            next_step="; ".join(filter(None, (f"loopwright logs {self.execution_id}", error.get("next_step")))),
            details={"traceback": frames} if frames else None,
        )

    def cancel(self, reason: str = "") -> Self:
        """End it: steps that wait are skipped, the running one is killed."""
        self.record = self._remote.call("pipelines.cancel", execution_id=self.execution_id, reason=reason)
        return self

    def __repr__(self) -> str:
        done = sum(step.state in ("done", "skipped") for step in self.steps)
        running = [step.step for step in self.steps if step.state == "running"]
        now = f", runs {', '.join(running)}" if running else ""
        head = f"execution {self.execution_id}: {self.record.pipeline}, {self.state}"
        return f"<{head}, {done} of {len(self.steps)} steps{now}>"


def _wait(look: Callable[[], Any], has_ended: Callable[[], bool], timeout_s: float | None, name: str) -> None:
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    pause_s = _FIRST_PAUSE_S
    look()
    while not has_ended():
        if deadline is not None and time.monotonic() > deadline:
            raise Unavailable(f"{name} has not ended in {timeout_s:g} s", next_step="it goes on; wait again")
        time.sleep(pause_s)
        pause_s = min(_LONGEST_PAUSE_S, pause_s * 1.3)
        look()
