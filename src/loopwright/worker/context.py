"""What a job may use: verbs over HTTP, blobs, child processes."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

from loopwright.config import Settings, closed_places, read_addresses
from loopwright.governance import SYSTEM
from loopwright.kernel.clock import Clock, WallClock
from loopwright.kernel.code import CodeRef
from loopwright.kernel.lanes import Lane
from loopwright.kernel.verbs import VERBS
from loopwright.pipelines import ChildPool, Enclosure
from loopwright.serving import list_gateways
from loopwright.store.blobs import BlobStore, open_blob_store
from loopwright.store.types import EVERY_STREAM, Job, Streams
from loopwright.store.work import READ_S, kind_named
from loopwright.wire.addresses import base_url
from loopwright.wire.credentials import JobClaim, worker_token
from loopwright.worker.calling import ServerCaller
from loopwright.worker.lent import LentProject
from loopwright.worker.tasks import Task

P = ParamSpec("P")
R = TypeVar("R")


class WorkerContext:
    """The context of one task, or of the worker itself.

    Args:
        caller: Reaches the server.
        blobs: The blob store that server and gateways use too.
        state_dir: Folder of local state.
        online_url: Server of the online stores, empty for files in ``state_dir``.
        children: Pool of child processes.
        source_roots: Folders whose files datasets may read.
        closed: What is closed inside them all the same.
        addresses: Databases that datasets may be read from, by project and name.
        task: The job under way; None for the worker itself.
        project: Where verbs are called.
    """

    def __init__(
        self,
        caller: ServerCaller,
        blobs: BlobStore,
        state_dir: Path,
        online_url: str,
        children: ChildPool,
        source_roots: Sequence[Path],
        closed: Sequence[Path],
        addresses: Mapping[tuple[str, str], str],
        task: Task | None = None,
        project: str = SYSTEM,
    ) -> None:
        self.blobs: BlobStore = blobs
        self.state_dir: Path = state_dir
        self.online_url: str = online_url
        self.source_roots: Sequence[Path] = source_roots
        self.closed: Sequence[Path] = closed
        self.addresses: Mapping[tuple[str, str], str] = addresses
        self.wall: Clock = WallClock()
        self.children: ChildPool = children
        self.caller = caller
        self.project = project
        self._task = task

    @property
    def job(self) -> Job:
        """The job that is done."""
        assert self._task is not None, "the worker's own context has no job"
        return self._task.job

    @property
    def token_digest(self) -> str:
        """SHA-256 of the token under which this attempt calls."""
        return self.caller.token_digest

    def within(self, project: str) -> LentProject:
        """Return a project that was lent to this attempt."""
        return LentProject(self.caller, project, self.should_stop)

    def for_task(self, task: Task) -> "WorkerContext":
        """Return the context of one job, whose calls end when it is to stop."""
        job = task.job
        caller = self.caller.for_job(JobClaim(job.project, job.job_id, job.attempt))
        places = self.state_dir, self.online_url, self.children, self.source_roots, self.closed, self.addresses
        return WorkerContext(caller, self.blobs, *places, task, task.job.project)

    @overload
    def call(self, function: Callable[Concatenate[Any, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...

    @overload
    def call(self, function: str, args: dict[str, Any], project: str = "", /) -> Any: ...

    def call(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a verb or query in the project of the job; waits while the server is down.

        Raises:
            Stopped: The job is to stop.
        """
        project = self.project
        if isinstance(function, str):
            function, kwargs, project = VERBS[function].function, args[0], (args[1:] and args[1]) or project
        return self.caller.call(function, project, self.should_stop, **kwargs)

    def progress(self, text: str) -> None:
        """Say how far the job is; it is sent with the next sign of life."""
        if self._task is not None:
            self._task.say(text)

    def should_stop(self) -> bool:
        """Say whether the job is to stop."""
        return self._task is not None and self._task.should_stop()

    def transform(self, code: CodeRef, rows: Path, out: Path) -> None:
        """Run a user's LazyFrame function over a Parquet file in a child process."""
        lane = kind_named(self.job.kind).lane
        self.children.transform(code, rows, out, should_stop=self.should_stop, lane=lane, owner=self.project)

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
        """Have files read by a function of the platform in a child process; return what it tells of them."""
        lane, roots = kind_named(self.job.kind).lane, self.source_roots
        ends: dict[str, Any] = {"timeout_s": timeout_s, "should_stop": self.should_stop}
        return self.children.read(function, inputs, files, out, roots=roots, what=what, lane=lane, **ends)

    def ask(
        self,
        function: str,
        inputs: dict[str, Any],
        files: Mapping[str, Path],
        folder: Path,
        *,
        file: Path | None,
        what: str,
    ) -> Any:
        """Have a database asked by a function of the platform in a child process; return what it tells."""
        lane, stop = kind_named(self.job.kind).lane, self.should_stop
        return self.children.ask(function, inputs, files, folder, file=file, what=what, should_stop=stop, lane=lane)

    def seal(self, streams: Streams = EVERY_STREAM) -> None:
        """Ask every live gateway to seal streams of its spool, so that what it took until now can be read.

        Raises:
            Unavailable: One did not; one that was killed too, as long as its lease runs: the job is done again when its
                rows can be read.
        """
        for lease in self.call(list_gateways):
            self.caller.seal(lease.address, streams)


def make_context(settings: Settings, folder: Path, slots: Mapping[Lane, int]) -> WorkerContext:
    """Return the worker's own context.

    Args:
        settings: Of the process.
        folder: The folder of this worker alone.
        slots: How many jobs of each lane it does at once.
    """
    blobs = open_blob_store(settings.blobs_url, settings.state_dir / "blob-copies")
    url = settings.url or base_url(settings.host, settings.port)
    caller = ServerCaller(url, worker_token(settings.service_token))
    children = ChildPool(folder, blobs, slots=slots, enclosure=Enclosure.of(settings))
    closed = closed_places(settings)
    places = settings.state_dir, settings.online_url, children, settings.source_roots, closed
    return WorkerContext(caller, blobs, *places, read_addresses(settings.sources))
