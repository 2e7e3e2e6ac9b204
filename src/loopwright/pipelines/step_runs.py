"""Verbs of step runs, called by the worker: each is idempotent, so that a step may report twice."""

from typing import Any

import msgspec

from loopwright.kernel.errors import Conflict, NotFound
from loopwright.kernel.states import check_change
from loopwright.kernel.verbs import verb
from loopwright.pipelines import sql
from loopwright.pipelines.cache import find_hit
from loopwright.pipelines.executions import OPEN, find
from loopwright.pipelines.types import EXECUTION_STATES, STEP_STATES, Execution, StepRun
from loopwright.store.tx import Tx
from loopwright.store.types import BlobRef

_ENDED = ("done", "skipped")


@verb("pipelines.begin_step", changes=StepRun, internal=True)
def begin_step(tx: Tx, *, execution_id: str, step: str, cache_key: str | None = None) -> StepRun:
    """Begin an attempt at a step, or end it at once with the output kept under ``cache_key``.

    A step that has ended is returned as it is; the caller goes on with its output.

    Raises:
        Conflict: The execution has ended, for example because it was cancelled.
    """
    execution = find(tx, execution_id, lock=True)
    run = _find(tx, execution_id, step)
    if run.state in _ENDED:
        return run
    if execution.state not in OPEN:
        raise Conflict(f"the execution is {execution.state}", field="execution_id", value=execution_id)
    if execution.state == "queued":
        check_change("execution", EXECUTION_STATES, execution.state, "running")
        sql.update_execution(tx, execution_id, state="running")
    hit = None if cache_key is None else find_hit(tx, cache_key)
    values: dict[str, Any] = {"started_at": tx.wall_us, "cache_key": cache_key, "error": None, "finished_at": None}
    if hit is not None:
        values |= {"output": hit.output, "log_digest": hit.log_digest, "finished_at": tx.wall_us}
        return _end(tx, execution, run, "done", is_from_cache=True, attempt=run.attempt + 1, **values)
    check_change("step", STEP_STATES, run.state, "running")
    values |= {"state": "running", "attempt": run.attempt + 1}
    sql.update_steps(tx, execution_id, step=step, **values)
    return msgspec.structs.replace(run, **values)


@verb("pipelines.finish_step", changes=StepRun, internal=True)
def finish_step(
    tx: Tx,
    *,
    execution_id: str,
    step: str,
    attempt: int,
    output: Any = None,
    cache_key: str | None = None,
    log_digest: str | None = None,
    blobs: list[BlobRef] = [],  # noqa: B006 - never changed
) -> StepRun:
    """End a step well. The same attempt twice is once; an attempt that was overtaken changes nothing.

    Args:
        execution_id: Which execution.
        step: Name of the step.
        attempt: As ``begin_step`` answered it.
        output: JSON, or a document that names blobs.
        cache_key: Where the output is kept for later executions; None if it may not be.
        log_digest: Blob of what the step printed.
        blobs: Every blob that ``output`` and ``log_digest`` name.
    """
    execution = find(tx, execution_id, lock=True)
    run = _find(tx, execution_id, step)
    if run.state != "running" or run.attempt != attempt:
        return run
    tx.keep_blobs(*blobs)
    values = {"output": output, "cache_key": cache_key, "log_digest": log_digest, "finished_at": tx.wall_us}
    ended = _end(tx, execution, run, "done", error=None, **values)
    if cache_key is not None:
        sql.put_cached(tx, cache_key, ended)
    return ended


@verb("pipelines.fail_step", changes=StepRun, internal=True)
def fail_step(
    tx: Tx,
    *,
    execution_id: str,
    step: str,
    attempt: int,
    error: dict[str, Any],
    will_retry: bool = False,
    log_digest: str | None = None,
    blobs: list[BlobRef] = [],  # noqa: B006 - never changed
) -> StepRun:
    """End an attempt badly, with the error a user will read. The same attempt twice is once."""
    find(tx, execution_id, lock=True)
    run = _find(tx, execution_id, step)
    if run.state != "running" or run.attempt != attempt:
        return run
    check_change("step", STEP_STATES, run.state, "failed")
    tx.keep_blobs(*blobs)
    values: dict[str, Any] = {
        "error": error,
        "log_digest": log_digest,
        "finished_at": tx.wall_us,
        "failures": run.failures + 1,
    }
    sql.update_steps(tx, execution_id, step=step, state="failed", **values)
    facts = {"execution_id": execution_id, "step": step, "attempt": attempt, "error": error, "will_retry": will_retry}
    reason = str(error.get("message", ""))
    tx.emit("pipelines.step_failed", tx.ref("execution", execution_id), reason=reason, **facts)
    return _find(tx, execution_id, step)


@verb("pipelines.skip_step", changes=StepRun, internal=True)
def skip_step(tx: Tx, *, execution_id: str, step: str, why: str) -> StepRun:
    """Leave a step out because a step before it said so. Skipping twice is once."""
    execution = find(tx, execution_id, lock=True)
    run = _find(tx, execution_id, step)
    if run.state in _ENDED:
        return run
    return _end(tx, execution, run, "skipped", output={"skip": True, "why": why}, finished_at=tx.wall_us)


def _end(tx: Tx, execution: Execution, run: StepRun, state: str, **values: Any) -> StepRun:
    before = "running" if run.state == "failed" else run.state
    check_change("step", STEP_STATES, before, state)
    sql.update_steps(tx, run.execution_id, step=run.step, state=state, **values)
    ended = msgspec.structs.replace(run, state=state, **values)
    facts: dict[str, Any] = {
        "execution_id": run.execution_id,
        "pipeline": execution.pipeline,
        "step": run.step,
        "state": state,
        "is_from_cache": ended.is_from_cache,
    }
    tx.emit("pipelines.step_finished", tx.ref("execution", run.execution_id), **facts)
    return ended


def _find(tx: Tx, execution_id: str, step: str) -> StepRun:
    found = sql.find_step(tx.connection, tx.project, execution_id, step)
    if found is None:
        raise NotFound(f"this execution has no step {step}", field="step", value=step)
    return found
