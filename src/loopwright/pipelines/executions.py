"""Verbs of executions: started, listed, cancelled and retried by people; ended by the worker."""

from typing import Any

from loopwright.kernel.documents import digest_of
from loopwright.kernel.errors import Conflict, InvalidInput, NotFound
from loopwright.kernel.states import check_change
from loopwright.kernel.suggestions import suggest
from loopwright.kernel.verbs import SERVER_ALONE, query, verb
from loopwright.pipelines import sql
from loopwright.pipelines.definitions import get_pipeline, schedule_key
from loopwright.pipelines.events import (
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionFinished,
    ExecutionRetried,
    ExecutionStarted,
    StartSkipped,
)
from loopwright.pipelines.executors.pool import blob_digests
from loopwright.pipelines.types import EXECUTION_STATES, Execute, Execution
from loopwright.store.timers import plans_next
from loopwright.store.tombstones import missing
from loopwright.store.tx import Tx

OPEN = ("queued", "running")


@verb("pipelines.start", changes=Execution)
def start(
    tx: Tx,
    *,
    pipeline: str,
    params: dict[str, Any] = {},  # noqa: B006 - never changed
    reason: str = "",
    once: str = "",
) -> Execution:
    """Start a pipeline: its row and the job that runs it commit together.

    Args:
        pipeline: Its name.
        params: Values in place of the declared defaults.
        reason: Why, in a sentence.
        once: The same text twice is one execution; empty for a new one.

    Raises:
        NotFound: No such pipeline.
        InvalidInput: A param is not declared.
    """
    found = get_pipeline(tx, pipeline=pipeline)
    for name in params:
        if name not in found.spec.params:
            hint = suggest(name, found.spec.params)
            raise InvalidInput(f"{pipeline} has no param {name}", field=f"params.{name}", value=name, next_step=hint)
    tx.require_blobs(*sorted(blob_digests(params)))
    execution_id = f"exe_{digest_of([tx.project, once])[:26].upper()}" if once else tx.new_id("exe")
    known = sql.find_execution(tx, execution_id)
    if known is not None:
        return get(tx, execution_id=execution_id)
    execution = Execution(
        execution_id=execution_id,
        pipeline=pipeline,
        pipeline_digest=found.digest,
        params={**found.spec.params, **params},
        state="queued",
        started_by=tx.actor,
        reason=reason,
        event_at=tx.now_us,
        recorded_at=tx.wall_us,
    )
    sql.insert_execution(tx, execution, [step.name for step in found.spec.steps])
    _queue(tx, execution)
    facts = ExecutionStarted(execution_id, pipeline, found.digest)
    tx.emit(facts, tx.ref("execution", execution_id), reason=reason)
    return get(tx, execution_id=execution_id)


@verb("pipelines.start_scheduled", changes=Execution, internal=True, parts=SERVER_ALONE)
def start_scheduled(tx: Tx, *, pipeline: str, due_at: int) -> Execution | None:
    """Start a scheduled pipeline and plan its next start; a start is left out while the last one still runs.

    Missed starts are not made up for: the next one lies after now, on the schedule's own grid.
    """
    if not plan_next_start(tx, pipeline=pipeline, due_at=due_at):
        return None
    running = sql.list_executions(tx, pipeline=pipeline, states=OPEN, limit=1)
    if running:
        reason = f"{running[0].execution_id} still runs"
        tx.emit(StartSkipped(due_at), tx.ref("pipeline", pipeline), reason=reason)
        return None
    return start(tx, pipeline=pipeline, reason="scheduled", once=f"schedule:{pipeline}:{due_at}")


@plans_next(start_scheduled)
def plan_next_start(tx: Tx, *, pipeline: str, due_at: int) -> bool:
    """Plan the start after the one that is due at ``due_at``; False if the pipeline has no schedule any more."""
    every = get_pipeline(tx, pipeline=pipeline).spec.schedule_us
    if every is None:
        return False
    next_at = due_at + every * max(1, -(-(tx.now_us - due_at + 1) // every))
    tx.later(next_at, schedule_key(pipeline), start_scheduled, pipeline=pipeline, due_at=next_at)
    return True


@query("pipelines.get")
def get(tx: Tx, *, execution_id: str) -> Execution:
    """Return an execution with its steps in the order of the definition."""
    execution = find(tx, execution_id)
    values = {name: getattr(execution, name) for name in execution.__struct_fields__}
    return Execution(**{**values, "steps": sql.list_steps(tx, execution_id)})


@query("pipelines.list")
def list_executions(
    tx: Tx,
    *,
    pipeline: str | None = None,
    states: list[str] = [],  # noqa: B006 - never changed
    limit: int = 100,
) -> list[Execution]:
    """Return executions, newest first, without their steps."""
    return sql.list_executions(tx, pipeline=pipeline, states=states, limit=min(limit, 1000))


def unanswered(tx: Tx) -> list[Execution]:
    """Return the failed executions that nobody has answered yet, newest first.

    A retry or a cancellation answers, and so does any later execution of the pipeline.
    """
    return sql.newest_failed(tx)


@query("pipelines.get_state")
def get_state(tx: Tx, *, execution_id: str) -> str:
    """Return the state of an execution alone."""
    return find(tx, execution_id).state


@verb("pipelines.cancel", changes=Execution)
def cancel(tx: Tx, *, execution_id: str, reason: str = "") -> Execution:
    """End an execution: steps that wait are skipped, the child process of a running one is killed.

    Cancelling twice is once.
    """
    execution = find(tx, execution_id, lock=True)
    if execution.state == "cancelled":
        return get(tx, execution_id=execution_id)
    check_change("execution", EXECUTION_STATES, execution.state, "cancelled")
    sql.update_execution(tx, execution_id, state="cancelled", finished_at=tx.wall_us)
    sql.update_steps(tx, execution_id, states=("waiting",), state="skipped", finished_at=tx.wall_us)
    error = {"code": "cancelled", "message": "the execution was cancelled"}
    sql.update_steps(tx, execution_id, states=("running",), state="failed", error=error, finished_at=tx.wall_us)
    tx.emit(ExecutionCancelled(execution_id, execution.pipeline), tx.ref("execution", execution_id), reason=reason)
    return get(tx, execution_id=execution_id)


@verb("pipelines.retry", changes=Execution)
def retry(tx: Tx, *, execution_id: str, reason: str = "") -> Execution:
    """Run a failed execution on from the step that failed, with the code it has; finished steps keep their outputs."""
    execution = find(tx, execution_id, lock=True)
    check_change("execution", EXECUTION_STATES, execution.state, "queued")
    values = {"state": "queued", "round": execution.round + 1, "attempt": 0, "finished_at": None, "error": None}
    sql.update_execution(tx, execution_id, **values)
    sql.update_steps(tx, execution_id, states=("failed",), state="waiting", failures=0, due_at=None)
    retried = get(tx, execution_id=execution_id)
    _queue(tx, retried)
    facts = ExecutionRetried(execution_id, execution.pipeline, retried.round)
    tx.emit(facts, tx.ref("execution", execution_id), reason=reason)
    return retried


@verb("pipelines.finish_execution", changes=Execution, internal=True)
def finish_execution(tx: Tx, *, execution_id: str, error: dict[str, Any] | None = None) -> Execution:
    """End an execution as its steps ended. Finishing twice is once.

    Args:
        execution_id: Which.
        error: Why it cannot go on, where no step says so.

    Raises:
        Conflict: Steps are still to be run.
    """
    execution = find(tx, execution_id, lock=True)
    if execution.state not in OPEN:
        return get(tx, execution_id=execution_id)
    runs = sql.list_steps(tx, execution_id)
    failed = next((run for run in runs if run.state == "failed"), None)
    if failed is not None:
        error = {**(failed.error or {}), "step": failed.step}
    ref = tx.ref("execution", execution_id)
    if error is not None:
        hints = (error.get("next_step"), _how_on(execution_id, execution.pipeline))
        error = {**error, "next_step": "; ".join(filter(None, hints))}
        sql.update_execution(tx, execution_id, state="failed", finished_at=tx.wall_us, error=error)
        facts = ExecutionFailed(execution_id, execution.pipeline, error, str(error["next_step"]))
        tx.emit(facts, ref, reason=str(error.get("message", "")))
        return get(tx, execution_id=execution_id)
    undone = [run.step for run in runs if run.state not in ("done", "skipped")]
    if undone:
        raise Conflict("steps are still to be run", field="execution_id", value=", ".join(undone))
    sql.update_execution(tx, execution_id, state="done", finished_at=tx.wall_us)
    skipped = sum(run.state == "skipped" for run in runs)
    tx.emit(ExecutionFinished(execution_id, execution.pipeline, skipped), ref)
    return get(tx, execution_id=execution_id)


def find(tx: Tx, execution_id: str, *, lock: bool = False) -> Execution:
    """Return an execution without its steps.

    Raises:
        NotFound: There is none.
    """
    execution = sql.find_execution(tx, execution_id, lock=lock)
    if execution is None:
        step = "loopwright call pipelines.list"
        unknown = NotFound("no such execution", field="execution_id", value=execution_id, next_step=step)
        raise missing(tx, "execution", execution_id, None, unknown)
    return execution


def _how_on(execution_id: str, pipeline: str) -> str:
    """Return how to go on after a failure: an execution keeps the code it was started with."""
    return (
        f"mended in the code: loopwright apply FILE, then loopwright start {pipeline}; "
        f"mended elsewhere: loopwright retry {execution_id}"
    )


def _queue(tx: Tx, execution: Execution) -> None:
    """Queue the job of a round; its id follows from the execution's, so that queueing twice is once."""
    job_id = execution.execution_id.replace("exe_", "job_", 1)
    if execution.round > 1:
        job_id = f"{job_id}.{execution.round}"
    work = Execute(execution.execution_id, execution.round)
    tx.start_job(work, tx.ref("execution", execution.execution_id), job_id=job_id)
