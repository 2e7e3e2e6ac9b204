"""Running an execution on the worker's side: make the attempts that ``pipelines.advance`` hands out and tell of them.

What is due, cached, skipped or over is decided there, from the rows: a crash here loses nothing but attempts under way.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import Any

from loopwright.kernel.errors import LoopwrightError, StepFailed
from loopwright.kernel.storable import words_of
from loopwright.pipelines.cache import environment_digest
from loopwright.pipelines.executions import OPEN
from loopwright.pipelines.executors.pool import blob_digests
from loopwright.pipelines.step_runs import advance, is_wanted, take
from loopwright.pipelines.steps import PipelineContext, StepContext, find_step_function
from loopwright.pipelines.types import Advanced, BegunStep, Claim, EndedStep, Execute, TakenExecution
from loopwright.store.types import BlobRef
from loopwright.store.work import NotYet, Stopped, kind_of

log = logging.getLogger("loopwright.pipelines")

LONGEST_WAIT_S = 3.0
"""A step that is tried again later than this is waited for in the job's queue."""
_ASK_EVERY_S = 1.0


def run_execution(context: PipelineContext, work: Execute, attempt: int) -> str:
    """Run an execution to its end and return its state.

    Args:
        context: What steps may use.
        work: Which execution, and which round of it.
        attempt: Of the job that does this; when another one begins, this one is refused and stops.

    Raises:
        Conflict: Another worker has taken the execution; nothing runs here any more.
    """
    claim = Claim(work.execution_id, work.round, attempt)
    taken = context.call(take, claim=claim)
    if taken.execution.state not in OPEN:
        return taken.execution.state
    return _Run(context, taken, claim).to_end()


class _Run:
    """One execution while this process runs it."""

    def __init__(self, context: PipelineContext, taken: TakenExecution, claim: Claim) -> None:
        self._context, self._execution, self._claim = context, taken.execution, claim
        self._steps = {step.name: step for step in taken.spec.steps}
        # More attempts than children would only wait for one.
        self._at_once = context.children.most_at_work(kind_of(Execute).lane)
        self._watch = _Watch(context.should_stop, lambda: context.call(is_wanted, claim=claim))
        self._running: dict[Future[EndedStep], str] = {}

    def to_end(self) -> str:
        """Make attempts, as many at once as there are slots, until none is left to make."""
        with ThreadPoolExecutor(self._at_once, thread_name_prefix="step") as pool:
            try:
                return self._loop(pool)
            finally:
                self._watch.stop()  # what still runs is no longer wanted, and the pool waits for it

    def _loop(self, pool: ThreadPoolExecutor) -> str:
        ended: list[EndedStep] = []
        while True:
            now = self._advance(ended)
            if now.state not in OPEN:
                return now.state
            for begun in now.begun:
                future = pool.submit(copy_context().run, self._make, begun)
                self._running[future] = begun.step
            if self._running:
                done = wait(self._running, now.retry_s, FIRST_COMPLETED).done
                ended = [future.result() for future in done]
                for future in done:
                    del self._running[future]
            else:
                ended = []
                self._wait_for_retry(now.retry_s or 0.0)

    def _wait_for_retry(self, retry_s: float) -> None:
        """Wait until a step is to be tried again; a long wait is no reason to hold a slot."""
        if retry_s > LONGEST_WAIT_S:
            raise NotYet(retry_s)
        time.sleep(retry_s)

    def _advance(self, ended: list[EndedStep]) -> Advanced:
        return self._context.call(
            advance,
            claim=self._claim,
            environment=environment_digest(),
            free=self._at_once - len(self._running),
            running=list(self._running.values()),
            ended=ended,
        )

    def _make(self, begun: BegunStep) -> EndedStep:
        """Make one attempt at a step; whatever it raises becomes how it ended."""
        step, params = self._steps[begun.step], self._execution.params
        context = StepContext(self._context, self._context.project, self._execution, step, params, self._watch.is_over)
        self._context.progress(f"runs {step.name}")
        try:
            output = find_step_function(step.kind)(context, begun.inputs)
            blobs = self._sizes(blob_digests(output))
        except LoopwrightError as error:
            return self._failed(begun, error, context.log)
        except Stopped:
            raise
        # A fault of ours in a platform step, or a library's panic, must end the step and not the worker.
        except BaseException as error:
            log.exception("step %s of %s failed", step.name, self._execution.execution_id)
            failed = StepFailed(
                f"{type(error).__name__}: {words_of(error)}", next_step="the worker's log has the details"
            )
            return self._failed(begun, failed, context.log)
        logged = self._keep_log(context.log)
        return EndedStep(begun.step, begun.attempt, output, log_digest=_digest(logged), blobs=blobs + logged)

    def _failed(self, begun: BegunStep, error: LoopwrightError, log_tail: bytes) -> EndedStep:
        log_tail += str(error.details.get("log", "")).encode(errors="replace")
        document = error.to_dict()
        document.get("details", {}).pop("log", None)
        may_retry = isinstance(error, StepFailed) or error.http_status >= 500
        logged = self._keep_log(log_tail)
        named: dict[str, Any] = {"log_digest": _digest(logged), "blobs": logged}
        return EndedStep(begun.step, begun.attempt, error=document, may_retry=may_retry, **named)

    def _sizes(self, digests: set[str]) -> list[BlobRef]:
        blobs = self._context.blobs
        return [BlobRef(digest, blobs.path(digest).stat().st_size) for digest in sorted(digests)]

    def _keep_log(self, text: bytes) -> list[BlobRef]:
        return [self._context.blobs.put(text)] if text else []


def _digest(logged: list[BlobRef]) -> str | None:
    return logged[0].digest if logged else None


class _Watch:
    """Says to the steps of an execution whether their work is still wanted.

    Args:
        should_stop: Says whether the job is to stop; costs nothing.
        ask: Asks the server whether the execution is still to be run here; called now and then.
    """

    def __init__(self, should_stop: Callable[[], bool], ask: Callable[[], bool]) -> None:
        self._should_stop, self._ask = should_stop, ask
        self._asked_at = time.monotonic()
        self._lock = threading.Lock()
        self._is_over = False

    def stop(self) -> None:
        """Say from now on that it is not."""
        self._is_over = True

    def is_over(self) -> bool:
        """Say whether the step's work is no longer wanted."""
        with self._lock:
            if not self._is_over and not self._should_stop() and time.monotonic() - self._asked_at > _ASK_EVERY_S:
                self._asked_at = time.monotonic()
                self._is_over = not self._ask()
            return self._is_over or self._should_stop()
