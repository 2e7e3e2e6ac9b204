"""What a job may use: verbs over HTTP, blobs, child processes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

from loopwright.config import Settings
from loopwright.governance import SYSTEM
from loopwright.kernel.clock import Clock, WallClock
from loopwright.kernel.code import CodeRef
from loopwright.kernel.verbs import verb_of
from loopwright.pipelines import ChildPool
from loopwright.store.blobs import BlobStore, open_blob_store
from loopwright.store.types import EVERY_STREAM, Job, Streams
from loopwright.worker.calling import ServerCaller

P = ParamSpec("P")
R = TypeVar("R")


class WorkerContext:
    """The context of one job, or of the worker itself.

    Args:
        caller: Reaches the server.
        blobs: The blob store that server and gateways use too.
        state_dir: Folder of local state.
        children: Pool of child processes.
        say: Takes the progress of the job.
        project: Where verbs are called.
        job: The job; None for the worker itself.
        source_roots: Folders whose files datasets may read.
    """

    def __init__(
        self,
        caller: ServerCaller,
        blobs: BlobStore,
        state_dir: Path,
        children: ChildPool,
        say: Callable[[str], None] = lambda _: None,
        project: str = SYSTEM,
        job: Job | None = None,
        source_roots: Sequence[Path] = (),
    ) -> None:
        self.blobs: BlobStore = blobs
        self.state_dir: Path = state_dir
        self.source_roots: Sequence[Path] = source_roots
        self.wall: Clock = WallClock()
        self.children: ChildPool = children
        self.caller = caller
        self._say = say
        self.project = project
        self._job = job

    @property
    def job(self) -> Job:
        """The job that is done."""
        assert self._job is not None, "the worker's own context has no job"
        return self._job

    def for_job(self, job: Job, say: Callable[[str], None]) -> "WorkerContext":
        """Return the context of one job, which tells its progress."""
        return self._with(say, job.project, job)

    def within(self, project: str) -> "WorkerContext":
        """Return the same context for calls in another project."""
        return self._with(self._say, project, self._job)

    def _with(self, say: Callable[[str], None], project: str, job: Job | None) -> "WorkerContext":
        parts = (self.caller, self.blobs, self.state_dir, self.children)
        return WorkerContext(*parts, say, project, job, self.source_roots)

    @overload
    def call(self, function: Callable[Concatenate[Any, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...

    @overload
    def call(self, function: str, args: dict[str, Any], project: str = "", /) -> Any: ...

    def call(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a verb or query with the service token; waits while the server is down."""
        if isinstance(function, str):
            return self.caller.call(function, args[0], (args[1:] and args[1]) or self.project)
        return self.caller.call(verb_of(function).name, kwargs, self.project)

    def progress(self, text: str) -> None:
        """Say how far the job is; it is sent with the next sign of life."""
        self._say(text)

    def transform(self, code: CodeRef, rows: Path, out: Path) -> None:
        """Run a user's LazyFrame function over a Parquet file in a child process."""
        self.children.transform(code, rows, out)

    def seal(self, streams: Streams = EVERY_STREAM) -> None:
        """Ask every live gateway to seal streams of its spool, so that what it took until now can be read.

        Raises:
            Unavailable: One is there and did not.
        """
        for lease in self.call("serving.gateways", {}, SYSTEM):
            self.caller.seal(lease.address, streams)


def make_context(settings: Settings) -> WorkerContext:
    """Return the worker's own context."""
    folder = settings.state_dir / "worker"
    blobs = open_blob_store(settings.blobs_url, settings.state_dir / "blob-cache")
    url = settings.url or f"http://{settings.host}:{settings.port}"
    caller = ServerCaller(url, settings.service_token)
    children = ChildPool(folder, blobs)
    return WorkerContext(caller, blobs, settings.state_dir, children, source_roots=settings.source_roots)
