"""Structs of pipelines: steps, definitions, executions."""

from typing import Any

import msgspec

from loopwright.kernel.code import CodeRef
from loopwright.kernel.digests import Digest
from loopwright.store.types import BlobRef
from loopwright.store.work import Power, Work, job_kind


@job_kind(
    "pipelines.execute",
    lane="training",
    deadline_s=30 * 86_400.0,
    needs_person=False,
    powers=frozenset[Power]({"register_trained", "record_gates", "finish_training"}),
)
class Execute(Work, frozen=True):
    """Run one round of an execution; its steps have time-outs of their own, so its deadline is a last resort."""

    execution_id: str
    round: int = 1


class StepSpec(msgspec.Struct, frozen=True):
    """One node of the DAG.

    ``kind`` is ``call`` for user code in a child process, else a step of ours such as ``loop.join``; ``inputs``
    maps parameter names to ``{"step": name}`` (the output of another step), ``{"param": name}`` (of the execution) or
    ``{"value": json}``. ``after`` are steps to wait for without taking their value.
    """

    name: str
    kind: str
    inputs: dict[str, dict[str, Any]] = {}
    function: CodeRef | None = None
    after: list[str] = []
    retries: int = 0
    timeout_s: float = 3600.0
    is_cached: bool = True


class PipelineSpec(msgspec.Struct, frozen=True):
    """A DAG of steps with default params; ``schedule_us`` starts it again and again in the project's time."""

    name: str
    steps: list[StepSpec]
    params: dict[str, Any] = {}
    schedule_us: int | None = None


EXECUTION_STATES = {
    "queued": frozenset({"running", "cancelled", "failed"}),
    "running": frozenset({"done", "failed", "cancelled"}),
    "done": frozenset[str](),
    "failed": frozenset({"queued"}),
    "cancelled": frozenset[str](),
}
STEP_STATES = {
    "waiting": frozenset({"running", "done", "skipped"}),
    "running": frozenset({"done", "failed", "running", "waiting"}),
    "done": frozenset[str](),
    "failed": frozenset({"running", "done", "waiting"}),
    "skipped": frozenset[str](),
}


class StepRun(msgspec.Struct, frozen=True):
    """One step of one execution. ``output`` is JSON or a value document (``{"blob": digest, "codec": name}``).

    ``attempt`` counts how often it began, ``failures`` how often it failed since a person retried it. ``due_at`` is
    when a step that failed begins again; None if it does not. Times: wall.
    """

    execution_id: str
    step: str
    state: str
    attempt: int
    is_from_cache: bool = False
    cache_key: str | None = None
    output: Any = None
    error: dict[str, Any] | None = None
    started_at: int | None = None
    finished_at: int | None = None
    log_digest: Digest | None = None
    progress: str | None = None
    failures: int = 0
    due_at: int | None = None


class Execution(msgspec.Struct, frozen=True):
    """One running of a pipeline. ``pipeline_digest`` names the definition it keeps, whatever is applied later.

    ``round`` grows with each retry. ``attempt`` is that of the job that runs the round: calls of an older one, whose
    worker was given up, are refused. ``finished_at`` is wall time. Lists of executions leave ``steps`` empty.
    """

    execution_id: str
    pipeline: str
    pipeline_digest: Digest
    params: dict[str, Any]
    state: str
    started_by: str
    reason: str
    event_at: int
    recorded_at: int
    finished_at: int | None = None
    error: dict[str, Any] | None = None
    steps: list[StepRun] = []
    round: int = 1
    attempt: int = 0


class Claim(msgspec.Struct, frozen=True):
    """By what a worker runs an execution: a round of it, and the attempt of the job that was queued for that round."""

    execution_id: str
    round: int
    attempt: int


class TakenExecution(msgspec.Struct, frozen=True):
    """An execution that a worker runs from now on, and the definition it keeps."""

    execution: Execution
    spec: PipelineSpec


class BegunStep(msgspec.Struct, frozen=True):
    """An attempt at a step that the caller is to make now. ``inputs`` are documents by parameter name."""

    step: str
    attempt: int
    inputs: dict[str, Any]


class EndedStep(msgspec.Struct, frozen=True):
    """How an attempt at a step ended.

    ``error`` is None where it ended well; ``may_retry`` says whether another attempt may end otherwise. ``blobs`` are
    those that ``output`` and ``log_digest`` name.
    """

    step: str
    attempt: int
    output: Any = None
    error: dict[str, Any] | None = None
    may_retry: bool = False
    log_digest: Digest | None = None
    blobs: list[BlobRef] = []


class Advanced(msgspec.Struct, frozen=True):
    """Where an execution stands: its state, the attempts to make now, and in how many seconds a step is tried again.

    ``retry_s`` is None where no step waits for that.
    """

    state: str
    begun: list[BegunStep] = []
    retry_s: float | None = None


class Pipeline(msgspec.Struct, frozen=True):
    """A declared pipeline: the definition that new executions take. ``changed_at`` is the project's time."""

    name: str
    digest: Digest
    spec: PipelineSpec
    changed_at: int
