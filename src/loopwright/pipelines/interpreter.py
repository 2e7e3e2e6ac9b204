"""Running the DAG: which step is due, up to two at a time, and what one step does from its begin to its end.

Our rows are the truth: a step that has ended is not run again, whoever asks.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import Any

import msgspec

from loopwright.kernel.errors import Conflict, LoopwrightError, StepFailed, shorten
from loopwright.pipelines.cache import cache_key
from loopwright.pipelines.definitions import topological, waits_for
from loopwright.pipelines.executions import OPEN
from loopwright.pipelines.executors.child import blob_digests
from loopwright.pipelines.steps import (
    PipelineContext,
    StepContext,
    find_step_kind,
    resolve_inputs,
    why_skipped,
)
from loopwright.pipelines.types import Execution, PipelineSpec, StepRun, StepSpec
from loopwright.store.types import BlobRef

log = logging.getLogger("loopwright.pipelines")

PARALLEL = 2
BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 60.0
_STATE_EVERY_S = 1.0

Checkpoint = Callable[[Callable[[], dict[str, Any]]], dict[str, Any]]
"""Does the work of one step through the engine, which remembers the answer for an execution that resumes."""


class Ended(msgspec.Struct, frozen=True):
    """How a step ended, and why those behind it are skipped: ``done``, ``skipped``, ``failed`` or ``stopped``."""

    state: str
    why: str = ""


def interpret(
    context: PipelineContext, project: str, execution_id: str, reserve: Callable[[str], Checkpoint]
) -> dict[str, Any]:
    """Run an execution to its end and return its state.

    Args:
        context: What steps may use.
        project: The execution's project.
        execution_id: Which.
        reserve: Draws the engine's place for a step by name; called for all steps, in a fixed order, before any runs.
    """
    execution: Execution = context.call("pipelines.get", {"execution_id": execution_id}, project)
    if execution.state not in OPEN:
        return {"state": execution.state}
    spec: PipelineSpec = context.call("pipelines.get_definition", {"digest": execution.pipeline_digest}, project)
    steps = topological(spec)
    places = {step.name: reserve(step.name) for step in steps}
    runner = StepRunner(context, project, execution)
    ended = _run_all(steps, runner, places)
    if any(one.state == "stopped" for one in ended.values()):
        state = context.call("pipelines.get_state", {"execution_id": execution_id}, project)
        return {"state": state}
    finished: Execution = context.call("pipelines.finish_execution", {"execution_id": execution_id}, project)
    return {"state": finished.state}


def _run_all(steps: list[StepSpec], runner: "StepRunner", places: dict[str, Checkpoint]) -> dict[str, Ended]:
    ended: dict[str, Ended] = {}
    running: dict[Future[Ended], str] = {}

    def begin(pool: ThreadPoolExecutor) -> None:
        due = _due(steps, ended, set(running.values()))
        for step in due[: PARALLEL - len(running)]:
            why = next((ended[name].why for name in sorted(waits_for(step)) if ended[name].why), "")
            running[pool.submit(copy_context().run, runner.run, step, why, places[step.name])] = step.name

    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="step") as pool:
        begin(pool)
        while running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                ended[running.pop(future)] = future.result()
            begin(pool)
    return ended


def _due(steps: list[StepSpec], ended: dict[str, Ended], running: set[str]) -> list[StepSpec]:
    """Return the steps whose predecessors all ended well; none once a step failed."""
    if any(one.state in ("failed", "stopped") for one in ended.values()):
        return []
    return [step for step in steps if step.name not in ended | dict.fromkeys(running) and waits_for(step) <= set(ended)]


class StepRunner:
    """Runs the steps of one execution.

    Args:
        context: What steps may use.
        project: The execution's project.
        execution: As it stood when this process took it.
    """

    def __init__(self, context: PipelineContext, project: str, execution: Execution) -> None:
        self._context = context
        self._project = project
        self._execution = execution
        self._runs = {run.step: run for run in execution.steps}
        self._ended_runs = {run.step: run for run in execution.steps if run.state in ("done", "skipped")}

    def run(self, step: StepSpec, why_skip: str, checkpoint: Checkpoint) -> Ended:
        """Run a step until it is done or has failed for good; one that has ended already costs nothing.

        Args:
            step: Which.
            why_skip: Why it is left out; empty if it is not.
            checkpoint: The engine's place for the work; not used where there is none, as on a hit of the cache.
        """
        if step.name in self._ended_runs:
            return self._ended(step, self._ended_runs[step.name])
        known = self._runs.get(step.name)
        if known is not None and known.state == "failed" and known.failures > step.retries:
            return Ended("failed")
        if why_skip:
            return self._ended(step, self._call("pipelines.skip_step", step, why=why_skip))
        outputs = {name: run.output for name, run in self._ended_runs.copy().items()}
        inputs = resolve_inputs(step, self._execution.params, outputs)
        key = cache_key(step, inputs)
        begun = self._begin(step, key)
        if begun is None or begun.state != "running":
            return self._ended(step, begun)
        did: list[Ended] = []

        def work() -> dict[str, Any]:
            did.append(self._attempts(step, begun, inputs, key))
            return {"state": did[0].state}

        checkpoint(work)
        # The engine may remember an answer that our rows no longer hold, such as one of before a take-over.
        return did[0] if did else self._attempts(step, begun, inputs, key)

    def _attempts(self, step: StepSpec, run: StepRun | None, inputs: dict[str, Any], key: str | None) -> Ended:
        while run is not None and run.state == "running":
            outcome = self._attempt(step, run, inputs, key)
            if outcome is not None:
                return outcome
            time.sleep(min(LONGEST_BACKOFF_S, BACKOFF_S * 2.0**run.failures))
            run = self._begin(step, key)
        return self._ended(step, run)

    def _begin(self, step: StepSpec, key: str | None) -> StepRun | None:
        """Begin an attempt; None if the execution has ended."""
        try:
            return self._call("pipelines.begin_step", step, cache_key=key)
        except Conflict:
            return None

    def _attempt(self, step: StepSpec, run: StepRun, inputs: dict[str, Any], key: str | None) -> Ended | None:
        """Try once; None asks for another try."""
        watch = _Watch(self._context, self._project, self._execution.execution_id)
        context = StepContext(
            self._context, self._project, self._execution, step, self._execution.params, should_stop=watch.is_over
        )
        self._context.progress(f"runs {step.name}")
        try:
            output = find_step_kind(step.kind)(context, inputs)
            blobs = self._sizes(blob_digests(output))
        except LoopwrightError as error:
            return self._failed(step, run, error, context.log, watch)
        except Exception as error:  # a fault of ours in a platform step must end the step, not the worker
            log.exception("step %s of %s failed", step.name, self._execution.execution_id)
            failed = StepFailed(f"{type(error).__name__}: {error}", next_step="the worker's log has the details")
            return self._failed(step, run, failed, context.log, watch)
        logged = self._keep_log(context.log)
        args = {"output": output, "cache_key": key, "log_digest": logged[0].digest if logged else None}
        run = self._call("pipelines.finish_step", step, attempt=run.attempt, blobs=blobs + logged, **args)
        return self._ended(step, run)

    def _failed(
        self, step: StepSpec, run: StepRun, error: LoopwrightError, log_tail: bytes, watch: "_Watch"
    ) -> Ended | None:
        if watch.was_over:
            return Ended("stopped")
        log_tail += str(error.details.get("log", "")).encode()
        document = error.to_dict()
        document.get("details", {}).pop("log", None)
        may_retry = isinstance(error, StepFailed) or error.http_status >= 500
        will_retry = may_retry and run.failures < step.retries
        logged = self._keep_log(log_tail)
        args = {"error": document, "will_retry": will_retry, "log_digest": logged[0].digest if logged else None}
        run = self._call("pipelines.fail_step", step, attempt=run.attempt, blobs=logged, **args)
        if run.state == "failed":
            return None if will_retry else Ended("failed", shorten(error.message))
        return self._ended(step, run)

    def _ended(self, step: StepSpec, run: StepRun | None) -> Ended:
        """Read how a step stands that has ended, or is another worker's or nobody's by now."""
        if run is None or run.state not in ("done", "skipped"):
            return Ended("stopped")
        self._ended_runs[step.name] = run
        why = str((run.output or {}).get("why", "")) if run.state == "skipped" else why_skipped(run.output)
        return Ended(run.state, why or "")

    def _call(self, verb: str, step: StepSpec, **args: Any) -> StepRun:
        full = {"execution_id": self._execution.execution_id, "step": step.name, **args}
        found: StepRun = self._context.call(verb, full, self._project)
        return found

    def _sizes(self, digests: set[str]) -> list[BlobRef]:
        blobs = self._context.blobs
        return [BlobRef(digest, blobs.path(digest).stat().st_size) for digest in sorted(digests)]

    def _keep_log(self, text: bytes) -> list[BlobRef]:
        return [self._context.blobs.put(text)] if text else []


class _Watch:
    """Asks now and then whether an execution was cancelled while a step runs."""

    def __init__(self, context: PipelineContext, project: str, execution_id: str) -> None:
        self._ask: Callable[[], str] = lambda: context.call(
            "pipelines.get_state", {"execution_id": execution_id}, project
        )
        self._asked_at = time.monotonic()
        self._lock = threading.Lock()
        self.was_over = False

    def is_over(self) -> bool:
        """Say whether the step's work is no longer wanted."""
        with self._lock:
            if time.monotonic() - self._asked_at > _STATE_EVERY_S:
                self._asked_at = time.monotonic()
                self.was_over = self.was_over or self._ask() not in OPEN
            return self.was_over
