"""Verbs of running executions: a worker takes one, then calls ``advance`` whenever an attempt at a step has ended.

Our rows are the truth, and ``advance`` is the whole interpreter over them: in one transaction it records what ended,
ends what the cache knows, skips what is to be skipped, begins what is due, and finishes the execution. So a worker that
is killed anywhere leaves rows from which the next one goes on; a run of cached steps costs one call, and so does the
end of a step together with the begin of the next. Each call may come twice.
"""

from typing import Any

import msgspec

from loopwright.kernel.backoff import backoff_s
from loopwright.kernel.clock import SECOND_US
from loopwright.kernel.errors import Conflict, NotFound
from loopwright.kernel.states import check_change
from loopwright.kernel.storable import storable_text
from loopwright.kernel.verbs import Count, query, verb
from loopwright.pipelines import sql
from loopwright.pipelines.agenda import Agenda, is_over, next_retry_at, resolve_inputs, why_skipped
from loopwright.pipelines.cache import cache_key, find_hit
from loopwright.pipelines.definitions import get_definition
from loopwright.pipelines.events import StepAttemptFailed, StepFinished
from loopwright.pipelines.executions import OPEN, find, finish_execution, get
from loopwright.pipelines.types import (
    EXECUTION_STATES,
    STEP_STATES,
    Advanced,
    BegunStep,
    Claim,
    EndedStep,
    Execution,
    StepRun,
    StepSpec,
    TakenExecution,
)
from loopwright.store.tx import Tx

MOST_ENDED = 64
"""Most steps that one call ends by the cache or by skipping: on SQLite every other verb waits for it."""
BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 60.0


@verb("pipelines.take", changes=Execution, internal=True)
def take(tx: Tx, *, claim: Claim) -> TakenExecution:
    """Take an execution; what a worker before had under way is to be begun again, and its calls are refused.

    Raises:
        Conflict: A newer attempt, or another round, has it.
    """
    execution = find(tx, claim.execution_id, lock=True)
    if execution.round != claim.round or execution.attempt > claim.attempt:
        raise _overtaken(execution)
    # The same attempt comes again where the answer was lost: by then it may have begun steps.
    if execution.state in OPEN and claim.attempt > execution.attempt:
        if execution.state == "queued":
            check_change("execution", EXECUTION_STATES, execution.state, "running")
        sql.update_execution(tx, execution.execution_id, state="running", attempt=claim.attempt)
        sql.update_steps(tx, execution.execution_id, states=("running",), state="waiting")
    spec = get_definition(tx, digest=execution.pipeline_digest)
    return TakenExecution(get(tx, execution_id=execution.execution_id), spec)


@verb("pipelines.advance", changes=StepRun, internal=True)
def advance(
    tx: Tx,
    *,
    claim: Claim,
    environment: str,
    free: Count,
    running: list[str] = [],  # noqa: B006 - never changed
    ended: list[EndedStep] = [],  # noqa: B006 - never changed
) -> Advanced:
    """Record the attempts that ended and begin what is due; the same call twice changes nothing more.

    Args:
        claim: By which the caller has taken the execution.
        environment: Digest of what the caller's steps run in; part of every key of the cache.
        free: How many attempts the caller can make beside those it makes already.
        running: Steps the caller runs. One that is begun and not among them is handed out again: the answer was lost.
        ended: How attempts ended. What is no longer the present attempt of a step is left out.

    Raises:
        Conflict: Another worker has taken the execution.
    """
    execution = find(tx, claim.execution_id, lock=True)
    if execution.state not in OPEN:
        return Advanced(execution.state)
    if (execution.round, execution.attempt) != (claim.round, claim.attempt):
        raise _overtaken(execution)
    board = _Board(tx, execution, environment)
    for ended_step in ended:
        board.end(ended_step)
    lost = [name for name, run in board.runs.items() if run.state == "running" and name not in running]
    begun = [board.hand_out(name) for name in lost]
    begun += board.begin_due(free - len(begun))
    if is_over(board.runs):
        return Advanced(finish_execution(tx, execution_id=execution.execution_id).state)
    return Advanced("running", begun, board.retry_s())


@query("pipelines.is_wanted", internal=True)
def is_wanted(tx: Tx, *, claim: Claim) -> bool:
    """Say whether an execution is still to be run by a claim; a step that takes long asks now and then."""
    execution = find(tx, claim.execution_id)
    return execution.state in OPEN and (execution.round, execution.attempt) == (claim.round, claim.attempt)


class _Board:
    """How the steps of an execution stand, within one call.

    Args:
        execution: Whose; its row is locked.
        environment: See ``advance``.
    """

    def __init__(self, tx: Tx, execution: Execution, environment: str) -> None:
        self.runs = {run.step: run for run in sql.list_step_states(tx, execution.execution_id)}
        self._tx, self._execution, self._environment = tx, execution, environment
        self._agenda = _agenda(tx, execution.pipeline_digest)
        self._outputs: dict[str, Any] = {}
        self._left = MOST_ENDED

    def end(self, ended: EndedStep) -> None:
        """Record how an attempt ended."""
        run = self.runs.get(ended.step)
        if run is None:
            raise NotFound(f"this execution has no step {ended.step}", field="ended", value=ended.step)
        if run.state != "running" or run.attempt != ended.attempt:
            return
        self._tx.keep_blobs(*ended.blobs)
        now = {"log_digest": ended.log_digest, "finished_at": self._tx.wall_us}
        if ended.error is not None:
            self._fail(run, ended, ended.error, now)
            return
        done = self._finish(run, "done", output=ended.output, error=None, **now)
        key = self._agenda.steps[run.step].is_cached and run.cache_key
        if key:
            sql.put_cached(self._tx, key, done)

    def begin_due(self, free: int) -> list[BegunStep]:
        """End or begin what is due, until ``free`` attempts are begun.

        One pass is enough: a step stands behind those it waits for, and is looked at when those have been passed by.
        """
        begun: list[BegunStep] = []
        for step in self._agenda.due(self.runs, self._tx.wall_us):
            if len(begun) >= free or self._left <= 0:
                break
            if (left := self._pass_by(step)) is not None:
                begun.append(self._begin(step, *left))
        return begun

    def hand_out(self, name: str) -> BegunStep:
        """Return an attempt that was begun in a call whose answer was lost."""
        step, run = self._agenda.steps[name], self.runs[name]
        return BegunStep(name, run.attempt, resolve_inputs(step, self._execution.params, self._outputs_before(step)))

    def retry_s(self) -> float | None:
        """Return in how many seconds the caller is to ask again by itself; None where an end brings it here."""
        if self._left <= 0:
            return 0.0
        at_us = next_retry_at(self.runs)
        return None if at_us is None else max(0.0, (at_us - self._tx.wall_us) / SECOND_US)

    def _pass_by(self, step: StepSpec) -> tuple[dict[str, Any], str | None] | None:
        """End a step that need not run; else return its inputs and its key in the cache."""
        outputs, run = self._outputs_before(step), self.runs[step.name]
        now = self._tx.wall_us
        why = next((why for name in self._agenda.waits_for[step.name] if (why := self._why(name, outputs[name]))), "")
        if why:
            self._finish(run, "skipped", output={"skip": True, "why": why}, finished_at=now)
            return None
        inputs = resolve_inputs(step, self._execution.params, outputs)
        key = cache_key(step, inputs, self._environment)
        hit = None if key is None else find_hit(self._tx, key)
        if hit is None:
            return inputs, key
        facts = {"output": hit.output, "log_digest": hit.log_digest, "cache_key": key, "is_from_cache": True}
        self._finish(run, "done", error=None, attempt=run.attempt + 1, started_at=now, finished_at=now, **facts)
        return None

    def _why(self, name: str, output: Any) -> str:
        """Return why a step skips those behind it; empty if it does not."""
        if self.runs[name].state == "skipped":
            return str((output or {}).get("why", ""))
        return why_skipped(output) or ""

    def _begin(self, step: StepSpec, inputs: dict[str, Any], key: str | None) -> BegunStep:
        run = self.runs[step.name]
        check_change("step", STEP_STATES, run.state, "running")
        begun = {"state": "running", "attempt": run.attempt + 1, "started_at": self._tx.wall_us, "cache_key": key}
        self._change(run, **begun, error=None, finished_at=None, due_at=None)
        return BegunStep(step.name, run.attempt + 1, inputs)

    def _fail(self, run: StepRun, ended: EndedStep, error: dict[str, Any], now: dict[str, Any]) -> None:
        will_retry = ended.may_retry and run.failures < self._agenda.steps[run.step].retries
        pause_s = backoff_s(run.failures, BACKOFF_S, LONGEST_BACKOFF_S)
        due_at = self._tx.wall_us + int(pause_s * SECOND_US) if will_retry else None
        check_change("step", STEP_STATES, run.state, "failed")
        self._change(run, state="failed", error=error, failures=run.failures + 1, due_at=due_at, **now)
        facts = StepAttemptFailed(run.execution_id, run.step, run.attempt, error, will_retry)
        ref = self._tx.ref("execution", run.execution_id)
        self._tx.emit(facts, ref, reason=storable_text(str(error.get("message", ""))))

    def _finish(self, run: StepRun, state: str, **values: Any) -> StepRun:
        check_change("step", STEP_STATES, run.state, state)
        self._left -= 1
        finished = self._change(run, state=state, due_at=None, **values)
        self._outputs[run.step] = finished.output
        facts = StepFinished(run.execution_id, self._execution.pipeline, run.step, state, finished.is_from_cache)
        self._tx.emit(facts, self._tx.ref("execution", run.execution_id))
        return finished

    def _change(self, run: StepRun, **values: Any) -> StepRun:
        sql.update_step(self._tx, run, values)
        changed = self.runs[run.step] = msgspec.structs.replace(run, **values)
        return changed

    def _outputs_before(self, step: StepSpec) -> dict[str, Any]:
        """Return the outputs of the steps that a step waits for, all of which have ended."""
        names = self._agenda.waits_for[step.name]
        unread = [name for name in names if name not in self._outputs]
        if unread:
            self._outputs |= sql.read_outputs(self._tx, self._execution.execution_id, unread)
        return {name: self._outputs[name] for name in names}


def _overtaken(execution: Execution) -> Conflict:
    return Conflict(
        "another worker runs this execution now",
        field="attempt",
        value=execution.execution_id,
        rule=f"held by attempt {execution.attempt} of round {execution.round}",
    )


_agendas: dict[str, Agenda] = {}


def _agenda(tx: Tx, digest: str) -> Agenda:
    """Return the agenda of a definition; kept, for every call asks and a digest never changes its meaning."""
    kept = _agendas.get(digest)
    if kept is None:
        if len(_agendas) >= 256:
            _agendas.clear()
        kept = _agendas[digest] = Agenda(get_definition(tx, digest=digest))
    return kept
