"""Jobs from the inside: the kinds there are, the functions that do them, and what a worker hands to each."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, overload

import msgspec

from loopwright.kernel.clock import Clock
from loopwright.kernel.code import CodeRef
from loopwright.kernel.lanes import Lane
from loopwright.store.blobs import BlobStore
from loopwright.store.types import EVERY_STREAM, BlobRef, Job, Streams

P = ParamSpec("P")
R = TypeVar("R")

RESTFUL_LANES: tuple[Lane, ...] = ("upkeep", "backtests")
"""A project is at rest while jobs of these run in it."""


Power = Literal["register_trained", "record_gates", "finish_training", "play_backtest"]
"""What only a job may do, while it is under way: each kind of job says which of these it is for."""


READ_S = 3000.0
"""How long a child may read for a job."""


class Work(msgspec.Struct, frozen=True):
    """What one kind of job is to do: its arguments; each kind has a struct, in its room's ``types.py``.

    Fields are JSON-able. A field that joins later has a default, so that what was queued before can be done.
    """


class JobKind(msgspec.Struct, frozen=True):
    """How jobs of a kind are done.

    Args:
        name: ``room.what``, such as ``data.import``.
        args: The struct of its arguments.
        lane: The queue it waits in.
        retry_after_s: Pauses before it is tried again, where a part of the platform was not there. After the last one
            the job has failed.
        deadline_s: Longest time one attempt may take; then it is stopped and the job has failed.
        keep_days: How long its row is kept after its end; None for ever, where others refer to it.
        needs_person: Whether its failure needs somebody, as an incident and in ``loop.attention``; False where whoever
            started it waits for the answer, and where another row tells of it, as an execution does.
        powers: What its jobs may do that nobody else does.
        is_duty: Whether a rule, an alarm or an erasure rests on its being done: only an approver cancels it.
    """

    name: str
    args: type[Work]
    lane: Lane = "work"
    retry_after_s: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0, 20.0)
    deadline_s: float = 3600.0
    keep_days: int | None = 30
    needs_person: bool = True
    powers: frozenset[Power] = frozenset()
    is_duty: bool = False


W = TypeVar("W", bound=Work)
WorkType = TypeVar("WorkType", bound=type[Work])

KINDS: dict[str, JobKind] = {}
"""Kinds of jobs by name, filled as rooms are imported."""
_BY_ARGS: dict[type[Work], JobKind] = {}


def job_kind(name: str, **marks: Any) -> Callable[[WorkType], WorkType]:
    """Mark a struct as the arguments of a kind of job; ``marks`` are further fields of its ``JobKind``."""

    def keep(args: WorkType) -> WorkType:
        KINDS[name] = _BY_ARGS[args] = JobKind(name, args, **marks)
        return args

    return keep


def kind_of(args: type[Work]) -> JobKind:
    """Return the kind of job whose arguments a struct holds."""
    return _BY_ARGS[args]


def kinds_with(power: Power) -> list[str]:
    """Return the names of the kinds of jobs that have a power."""
    return sorted(kind.name for kind in KINDS.values() if power in kind.powers)


def kind_named(name: str) -> JobKind:
    """Return how jobs of a kind are done; of one that nobody declared here, in the usual way."""
    return KINDS.get(name) or JobKind(name, Work)


class NotYet(Exception):
    """Raised by a job that can go on only later: it goes back to its queue and holds no slot until then.

    Args:
        after_s: In how many seconds it may be taken again.
    """

    def __init__(self, after_s: float) -> None:
        super().__init__(f"it goes on in {after_s:g} s")
        self.after_s = after_s


class Stopped(BaseException):
    """Ends a job at its next call: somebody cancelled it, another worker has it, it took too long, or the worker stops.

    No error, so that nothing on the way takes it for a failure of the job.
    """


class ProjectCaller(Protocol):
    """What calls verbs in a project: a job, or a step."""

    @property
    def project(self) -> str:
        """The project in which verbs are called."""
        ...

    def call(self, function: Callable[Concatenate[Any, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a verb or query, given as its function."""
        ...


class OtherProject(ProjectCaller, Protocol):
    """A project that was made for a job, as the job reaches it: by what its editors may do."""

    def put_blob(self, body: bytes) -> BlobRef:
        """Upload bytes to it."""
        ...

    def ask_gateway(self, path: str, document: Any) -> Any:
        """Send a document to a path of a live gateway under one key and return its answer."""
        ...


class JobContext(ProjectCaller, Protocol):
    """What a job may use, in its own project. It never opens the metadata database: it calls verbs over HTTP.

    ``source_roots`` are the folders whose files datasets may read, ``closed`` what is closed inside them all the same;
    ``online_url`` is the server of the online stores, empty for files in ``state_dir``.
    """

    blobs: BlobStore
    state_dir: Path
    online_url: str
    source_roots: Sequence[Path]
    closed: Sequence[Path]
    addresses: Mapping[tuple[str, str], str]
    wall: Clock

    @property
    def job(self) -> Job:
        """The job that is done: its id, what it is for, when it was asked for."""
        ...

    @property
    def token_digest(self) -> str:
        """SHA-256 of the token under which this attempt calls; a project that is lent to it knows it by that."""
        ...

    def within(self, project: str) -> OtherProject:
        """Return a project that was lent to this attempt."""
        ...

    @overload
    def call(self, function: Callable[Concatenate[Any, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...

    @overload
    def call(self, function: str, args: dict[str, Any], project: str = "", /) -> Any: ...

    def call(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a verb or query, given as its function, in the project of the job.

        ``context.call(registry.get_version, model="late", version=3)`` is checked by mypy and has the verb's own type.
        """
        ...

    def progress(self, text: str) -> None:
        """Say how far the job is, for the person who waits."""
        ...

    def should_stop(self) -> bool:
        """Say whether the job is no longer wanted here; what takes long asks now and then. Calls raise ``Stopped``."""
        ...

    def transform(self, code: CodeRef, rows: Path, out: Path) -> None:
        """Run a user's LazyFrame -> LazyFrame function over a Parquet file in a child process.

        Raises:
            StepFailed: The function raised; the message carries the user's error without our frames.
        """
        ...

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
        """Have files read by a function of the platform in a child process; return what it tells of them.

        What crashes it, fills its memory or never ends is an error of this job alone.

        Args:
            function: ``module:qualname``; called with where to write rows, a scratch folder, ``files`` and ``inputs``.
            inputs: JSON by parameter name.
            files: What it is handed; beside them it reads below ``source_roots``.
            out: Where what it wrote comes.
            what: What is read, for errors.
            timeout_s: Seconds until it is ended.

        Raises:
            LoopwrightError: What the function raised.
            ReaderEnded: The child ended.
        """
        ...

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
        """Have a database asked by a function of the platform in a child process; return what it tells.

        An answer that fills its memory or never ends is an error of this job alone.

        Args:
            function: As of ``read``.
            inputs: As of ``read``.
            files: As of ``read``.
            folder: Where it writes what it was answered.
            file: The database, where it is a file of this machine; None where it is reached otherwise.
            what: What is asked, for errors.

        Raises:
            LoopwrightError: What the function raised.
            ReaderEnded: The child ended.
        """
        ...

    def seal(self, streams: Streams = EVERY_STREAM) -> None:
        """Ask every live gateway to seal streams of its spool, so that what it took until now can be read.

        Raises:
            Unavailable: One is there and did not.
        """
        ...


JobFunction = Callable[[Any, Any], dict[str, Any] | None]

JOBS: dict[str, JobFunction] = {}
"""Job functions by kind, filled as rooms are imported; each takes the context and its arguments.

Each is idempotent by job id: it may run again after a crash, and does so where it raised ``Unavailable``.
"""


def job(kind: type[Work] | str) -> Callable[[JobFunction], JobFunction]:
    """Mark ``function(context, args)`` as the one that does jobs of a kind."""

    def keep(function: JobFunction) -> JobFunction:
        JOBS[kind if isinstance(kind, str) else kind_of(kind).name] = function
        return function

    return keep


def do_job(context: JobContext, task: Job) -> dict[str, Any] | None:
    """Do a job with the arguments of its kind."""
    kind = KINDS.get(task.kind)
    return JOBS[task.kind](context, task if kind is None else msgspec.convert(task.args, kind.args))
