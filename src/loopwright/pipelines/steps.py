"""Kinds of steps: ``call`` runs user code in a child process; the others are functions that rooms register as plugins.

A step function takes ``(context, inputs)`` and returns JSON, or a document that names blobs. Inputs are the documents
that earlier steps returned, not decoded. An output ``{"skip": true, "why": ...}`` skips every step behind it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from loopwright.kernel.clock import Clock
from loopwright.kernel.code import CodeRef
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.plugins import load_plugin
from loopwright.pipelines.definitions import STEP_KIND_PLUGINS
from loopwright.pipelines.executors.base import CallResult, Executor
from loopwright.pipelines.types import Execution, StepSpec
from loopwright.store.blobs import BlobStore
from loopwright.store.types import EVERY_STREAM, Streams
from loopwright.store.work import READ_S, JobContext

P = ParamSpec("P")
R = TypeVar("R")


class PipelineContext(JobContext, Protocol):
    """What a pipeline may use beside what every job may: what runs functions apart from the worker."""

    children: Executor


@dataclass
class StepContext:
    """What a step function may use: everything a job may, and where it stands."""

    job: PipelineContext
    project: str
    execution: Execution
    step: StepSpec
    params: dict[str, Any]
    should_stop: Callable[[], bool] | None = None
    log: bytes = b""

    @property
    def blobs(self) -> BlobStore:
        """The blob store."""
        return self.job.blobs

    @property
    def state_dir(self) -> Path:
        """The folder of local state."""
        return self.job.state_dir

    @property
    def wall(self) -> Clock:
        """The machine's clock."""
        return self.job.wall

    @overload
    def call(self, function: Callable[Concatenate[Any, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...

    @overload
    def call(self, function: str, args: dict[str, Any], project: str = "", /) -> Any: ...

    def call(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a verb or query in the execution's project, given as its function."""
        return self.job.call(function, *args, **kwargs)

    def progress(self, text: str) -> None:
        """Say how far the step is."""
        self.job.progress(f"{self.step.name}: {text}")

    def transform(self, code: CodeRef, rows: Path, out: Path) -> None:
        """Run a user's LazyFrame function over a Parquet file in a child process."""
        self.job.transform(code, rows, out)

    def read(
        self,
        function: str,
        inputs: dict[str, Any],
        files: Mapping[str, Path],
        out: Path,
        *,
        what: str,
        timeout_s: float = READ_S,
    ) -> Any:
        """Have files read by a function of the platform in a child process."""
        return self.job.read(function, inputs, files, out, what=what, timeout_s=timeout_s)

    def seal(self, streams: Streams = EVERY_STREAM) -> None:
        """Ask every live gateway to seal streams of its spool."""
        self.job.seal(streams)

    def child(
        self,
        target: CodeRef | str,
        inputs: dict[str, Any],
        *,
        timeout_s: float | None = None,
        folder: Path | None = None,
    ) -> Any:
        """Call a function in a child process and return its output as a document.

        Args:
            target: A user's function, or ``module:qualname`` of one of the platform's.
            inputs: Documents by parameter name; the child decodes those that carry a codec.
            timeout_s: Seconds until the child is killed; the step's own where None.
            folder: Where the child may read and write beside its own scratch space.

        Raises:
            StepFailed: The function raised, took too long or needed too much memory.
        """
        result: CallResult = self.job.children.call(
            target,
            inputs,
            timeout_s=timeout_s or self.step.timeout_s,
            should_stop=self.should_stop,
            lane="training",
            folder=folder,
            owner=self.project,
        )
        self.log += result.log
        return result.output


StepFunction = Callable[[StepContext, dict[str, Any]], Any]


def find_step_function(kind: str) -> StepFunction:
    """Return the function that runs steps of a kind."""
    function: StepFunction = load_plugin(STEP_KIND_PLUGINS, kind)
    return function


def run_call(context: StepContext, inputs: dict[str, Any]) -> Any:
    """Run the user's function of a step in a child process of its code."""
    if context.step.function is None:
        raise InvalidInput("this step names no function", field=context.step.name)
    return context.child(context.step.function, inputs)
