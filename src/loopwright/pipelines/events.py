"""What the events of pipelines tell."""

from typing import Any

from loopwright.kernel.events import Facts, event


@event("pipelines.declared")
class PipelineDeclared(Facts, frozen=True):
    """New executions take another definition."""

    digest: str
    steps: int


@event("pipelines.started")
class ExecutionStarted(Facts, frozen=True):
    """An execution waits for a worker."""

    execution_id: str
    pipeline: str
    digest: str


@event("pipelines.start_skipped")
class StartSkipped(Facts, frozen=True):
    """A scheduled start was left out, for the last one still runs. ``due_at`` is the project's time."""

    due_at: int


@event("pipelines.cancelled")
class ExecutionCancelled(Facts, frozen=True):
    """Somebody ended an execution."""

    execution_id: str
    pipeline: str


@event("pipelines.retried")
class ExecutionRetried(Facts, frozen=True):
    """A failed execution goes on from the step that failed."""

    execution_id: str
    pipeline: str
    round: int


@event("pipelines.failed")
class ExecutionFailed(Facts, frozen=True):
    """An execution cannot go on. ``error`` is what a user reads."""

    execution_id: str
    pipeline: str
    error: dict[str, Any]
    next_step: str


@event("pipelines.finished")
class ExecutionFinished(Facts, frozen=True):
    """Every step of an execution has ended."""

    execution_id: str
    pipeline: str
    skipped: int


@event("pipelines.step_finished")
class StepFinished(Facts, frozen=True):
    """A step is done, or was skipped."""

    execution_id: str
    pipeline: str
    step: str
    state: str
    is_from_cache: bool


@event("pipelines.step_failed")
class StepAttemptFailed(Facts, frozen=True):
    """An attempt at a step failed; ``will_retry`` says whether another one follows by itself."""

    execution_id: str
    step: str
    attempt: int
    error: dict[str, Any]
    will_retry: bool
