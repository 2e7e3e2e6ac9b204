"""Structs of pipelines: steps, definitions, executions."""

from typing import Any

import msgspec

from loopwright.kernel.code import CodeRef


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
    "running": frozenset({"done", "failed", "running"}),
    "done": frozenset[str](),
    "failed": frozenset({"running", "waiting"}),
    "skipped": frozenset[str](),
}


class StepRun(msgspec.Struct, frozen=True):
    """One step of one execution. ``output`` is JSON or a value document (``{"blob": digest, "codec": name}``).

    ``attempt`` counts how often it began, ``failures`` how often it failed since a person retried it. Times: wall.
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
    log_digest: str | None = None
    progress: str | None = None
    failures: int = 0


class Execution(msgspec.Struct, frozen=True):
    """One running of a pipeline. ``pipeline_digest`` names the definition it keeps, whatever is applied later.

    ``round`` grows with each retry. ``finished_at`` is wall time. Lists of executions leave ``steps`` empty.
    """

    execution_id: str
    pipeline: str
    pipeline_digest: str
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


class Pipeline(msgspec.Struct, frozen=True):
    """A declared pipeline: the definition that new executions take. ``changed_at`` is the project's time."""

    name: str
    digest: str
    spec: PipelineSpec
    changed_at: int
