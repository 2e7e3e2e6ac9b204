"""A worker in the test's own process: real verbs through dispatch, real blobs, user code in a real child process."""

import importlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import msgspec

from loopwright.config import closed_places, load_settings
from loopwright.governance import SERVICE_ACTOR, SYSTEM, Dispatcher
from loopwright.kernel.clock import FixedClock
from loopwright.kernel.code import CodeRef
from loopwright.kernel.documents import digest_bytes, to_json
from loopwright.kernel.errors import LoopwrightError, StepFailed
from loopwright.kernel.verbs import VERBS, verb_of
from loopwright.pipelines import ChildPool
from loopwright.store.blobs import BlobStore
from loopwright.store.types import EVERY_STREAM, Job, Streams
from loopwright.store.work import JOBS, do_job

CHILD = """
import importlib, sys, polars
module, name, rows, out = sys.argv[1:]
frame = getattr(importlib.import_module(module), name)(polars.scan_parquet(rows))
frame.lazy().collect().write_parquet(out)
"""


def read_here(
    function: str, inputs: dict[str, Any], files: Mapping[str, Path], out: Path, *, what: str, timeout_s: float = 0
) -> Any:
    """Read in this process, with what travels as JSON both ways; children are tested where they live."""
    del what, timeout_s
    module, _, name = function.partition(":")
    with tempfile.TemporaryDirectory() as scratch:
        given = msgspec.json.decode(msgspec.json.encode(inputs))
        told = getattr(importlib.import_module(module), name)(out, Path(scratch), dict(files), **given)
    return msgspec.json.decode(msgspec.json.encode(told))


def ask_here(
    function: str, inputs: dict[str, Any], files: Mapping[str, Path], folder: Path, *, file: Path | None, what: str
) -> Any:
    """Ask a database in this process."""
    del file
    return read_here(function, inputs, files, folder / "out", what=what)


@dataclass
class InProcessWorker:
    """Claims and does queued jobs as the worker process does; verbs travel as JSON both ways."""

    dispatcher: Dispatcher
    blobs: BlobStore
    state_dir: Path
    wall: FixedClock
    project: str = "flights"
    claimed: Job | None = None
    said: list[str] = field(default_factory=list)
    sealed: list[Streams] = field(default_factory=list)
    source_roots: Sequence[Path] = ()
    closed: Sequence[Path] = field(init=False)
    addresses: Mapping[tuple[str, str], str] = field(default_factory=dict)
    online_url: str = ""
    children: Any = None
    read: Callable[..., Any] = read_here
    ask: Callable[..., Any] = ask_here
    before_call: Callable[[str], None] = lambda verb: None

    def __post_init__(self) -> None:
        self.children = self.children or ChildPool(self.state_dir / "worker", self.blobs)
        self.closed = closed_places(msgspec.structs.replace(load_settings(self.state_dir), blobs_url=self.blobs.url))

    @property
    def job(self) -> Job:
        assert self.claimed is not None
        return self.claimed

    @property
    def token_digest(self) -> str:
        return digest_bytes(f"{self.job.job_id} {self.job.attempt}".encode())

    def within(self, project: str) -> Self:
        return replace(self, project=project)

    def for_job(self, job: Job) -> Self:
        return replace(self, project=job.project, claimed=job)

    def call(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a verb: ``call(data.get_version, dataset="w")``, or ``call("data.get_version", {...}, project)``."""
        if isinstance(function, str):
            name, values, project = function, args[0], (args[1:] and args[1]) or self.project
        else:
            name, values, project = verb_of(function).name, kwargs, self.project
        self.before_call(name)
        sent = msgspec.json.decode(to_json(values))
        answer = self.dispatcher.call(name, sent, actor=SERVICE_ACTOR, project=project)
        return msgspec.json.decode(to_json(answer), type=VERBS[name].types["return"])

    def progress(self, text: str) -> None:
        self.said.append(text)

    def should_stop(self) -> bool:
        return False

    def transform(self, code: CodeRef, rows: Path, out: Path) -> None:
        command = [sys.executable, "-c", CHILD, code.module, code.qualname, str(rows), str(out)]
        answer = subprocess.run(command, cwd=self.state_dir, capture_output=True, text=True, check=False)
        if answer.returncode:
            raise StepFailed(answer.stderr.strip().split("\n")[-1])

    def seal(self, streams: Streams = EVERY_STREAM) -> None:
        self.sealed.append(streams)

    def run_job(self, job: Job) -> dict[str, Any] | None:
        """Do one job, claimed or not; its errors are raised."""
        return do_job(self.for_job(job), job)

    def run_all(self) -> list[Job]:
        """Claim and do every queued job, report how it ended; return them ended."""
        ended = []
        for job in self._claimed():
            try:
                result = self.run_job(job)
            except LoopwrightError as error:
                ended.append(self._end("jobs.fail", job, error=error.to_dict()))
            else:
                ended.append(self._end("jobs.finish", job, result=result))
        return ended

    def run(self) -> list[Job]:
        """Claim and do every queued job, where none may fail: its errors are raised."""
        return [self._end("jobs.finish", job, result=self.run_job(job)) for job in self._claimed()]

    def _claimed(self) -> Iterator[Job]:
        while claimed := self.call("jobs.claim", {"worker": "w", "kinds": list(JOBS)}, SYSTEM):
            yield from claimed

    def _end(self, verb: str, job: Job, **outcome: Any) -> Job:
        ended: Job = self.call(verb, {"job_id": job.job_id, "worker": "w", **outcome}, job.project)
        return ended
