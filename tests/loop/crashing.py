"""A worker's context that dies right after a call, as kill -9 does."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loopwright.kernel.clock import Clock
from loopwright.kernel.verbs import verb_of
from loopwright.loop import jobs  # noqa: F401 - the functions that do jobs
from loopwright.pipelines import Execution, StepContext, StepSpec
from loopwright.store.blobs import BlobStore
from loopwright.store.types import EVERY_STREAM, Job, Streams
from loopwright.store.work import do_job
from tests.loop.conftest import Loop


class Killed(BaseException):
    """What no step catches."""


@dataclass
class Worker:
    """What a step may use. ``dies_after`` names the call after which it is killed, once."""

    loop: Loop
    state_dir: Path
    children: Any = None
    dies_after: str = ""
    project: str = "flights"

    @property
    def blobs(self) -> BlobStore:
        """The blob store."""
        return self.loop.blobs

    @property
    def wall(self) -> Clock:
        """The clock."""
        return self.loop.wall

    def call(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a verb, and die after it if that was told."""
        verb, values = (function, args[0]) if isinstance(function, str) else (verb_of(function).name, kwargs)
        answer = self.loop.service(verb, **values)
        if verb == self.dies_after:
            self.dies_after = ""
            raise Killed
        return answer

    def do(self, job: Job) -> Any:
        """Do a job."""
        return do_job(self, job)  # type: ignore[arg-type]

    def progress(self, text: str) -> None:
        """Hear how far a step is."""

    def seal(self, streams: Streams = EVERY_STREAM) -> None:
        """Ask no gateway, for there is none."""

    def step(self, name: str, kind: str) -> StepContext:
        """Return the context of a step of an execution, the same one each time."""
        at = (self.loop.wall.at_us, self.loop.wall.at_us)
        execution = Execution("exe_01", name, "d" * 64, {"rate": 0.1}, "running", "local", "", *at)
        return StepContext(self, "flights", execution, StepSpec(name, kind), execution.params)  # type: ignore[arg-type]
