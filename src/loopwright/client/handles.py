"""What declaring returns: handles that later declarations refer to, and that reach the running project."""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import msgspec

from loopwright import client
from loopwright.data import DatasetSpec
from loopwright.features import AggregateViewSpec, ColumnViewSpec
from loopwright.loop import CommandSpec, RetrainSpec, TrainSpec
from loopwright.monitoring import MonitorSpec
from loopwright.serving import DeploymentSpec

if TYPE_CHECKING:
    import polars as pl

    from loopwright.client.datasets import Moment, RemoteDataset
    from loopwright.client.frames import Table
    from loopwright.client.project import Project
    from loopwright.client.remote import Remote, RemoteDeployment
    from loopwright.client.waiting import RemoteJob
    from loopwright.wire.endpoints import LookedUp
    from loopwright.wire.rows import Rows


class Column(msgspec.Struct, frozen=True):
    """One column of a dataset, as ``flights["is_late"]``."""

    dataset: str
    column: str


class Dataset:
    """A declared dataset."""

    def __init__(self, project: "Project", spec: DatasetSpec, transform: Callable[..., Any] | None) -> None:
        self.spec = spec
        self.transform = transform
        self._project = project

    def __getitem__(self, column: str) -> Column:
        return Column(self.spec.name, column)

    @property
    def remote(self) -> "RemoteDataset":
        """The dataset on the running server."""
        return client.connect(project=self._project.name).dataset(self.spec.name)

    def append(self, rows: "Table", *, reason: str = "") -> "RemoteJob":
        """Upload rows as a new version; returns the job, which can be waited for."""
        return self.remote.append(rows, reason=reason)

    def upsert(self, rows: "Table", *, known_at: str | None = None, reason: str = "") -> "RemoteJob":
        """Put rows in the place of those of the same key, and add those of new keys."""
        return self.remote.upsert(rows, known_at=known_at, reason=reason)

    def complete(
        self, rows: "Table", *, known_at: str | None = None, corrects: bool = False, reason: str = ""
    ) -> "RemoteJob":
        """Fill in columns of rows that are there."""
        return self.remote.complete(rows, known_at=known_at, corrects=corrects, reason=reason)

    def read(
        self,
        *,
        version: int | None = None,
        columns: Sequence[str] | None = None,
        as_known_at: "Moment | None" = None,
    ) -> "pl.DataFrame":
        """Return the rows of a version, the newest if none is named."""
        return self.remote.read(version=version, columns=columns, as_known_at=as_known_at)

    def push(self, rows: "Rows") -> int:
        """Send rows as they become known."""
        return self.remote.push(rows)


class View:
    """A declared feature view."""

    def __init__(self, spec: ColumnViewSpec | AggregateViewSpec) -> None:
        self.spec = spec


class RequestFeatures:
    """Declared on-request features; still callable as the plain function."""

    def __init__(self, name: str, function: Callable[..., Any], inputs: list[str], outputs: list[str] | None) -> None:
        self.name = name
        self.function = function
        self.inputs = inputs
        self.outputs = outputs

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the user's function."""
        return self.function(*args, **kwargs)


class Service(msgspec.Struct, frozen=True):
    """A declared feature service."""

    name: str
    parts: list[Any]
    label: Column
    task: str


class Train:
    """A declared training; still callable as the plain function."""

    def __init__(self, spec: TrainSpec, function: Callable[..., Any]) -> None:
        self.spec = spec
        self.function = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the user's function."""
        return self.function(*args, **kwargs)


class Command(msgspec.Struct, frozen=True):
    """A declared command: an existing script as a pipeline. ``lock`` is the file that fixes its environment."""

    spec: CommandSpec
    params: dict[str, Any]
    timeout_s: float
    schedule_us: int | None
    lock: str = ""


class StepCall(msgspec.Struct, frozen=True):
    """The output of a step inside a traced pipeline."""

    step: str


Recorder = Callable[["Step", tuple[Any, ...], dict[str, Any]], StepCall]

RECORDER: ContextVar[Recorder | None] = ContextVar("loopwright_recorder", default=None)
"""What calls of steps are told to while a pipeline is traced; None outside."""


class Step:
    """A declared step. Inside a traced pipeline a call records a node; outside it runs the function."""

    def __init__(
        self, name: str, function: Callable[..., Any], retries: int, timeout_s: float, is_cached: bool
    ) -> None:
        self.name = name
        self.function = function
        self.retries = retries
        self.timeout_s = timeout_s
        self.is_cached = is_cached

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Record a node while a pipeline is traced, else run the function."""
        record = RECORDER.get()
        return self.function(*args, **kwargs) if record is None else record(self, args, kwargs)


class Deployment:
    """A declared deployment."""

    def __init__(
        self, project: "Project", spec: DeploymentSpec, monitor: MonitorSpec | None, retrain: RetrainSpec | None
    ) -> None:
        self.spec = spec
        self.monitor = monitor
        self.retrain = retrain
        self._project = project

    @property
    def remote(self) -> "RemoteDeployment":
        """The endpoint on the running gateway."""
        return self._connection.deployment(self.spec.name)

    @property
    def _connection(self) -> "Remote":
        return client.connect(project=self._project.name)

    def predict(self, rows: "Rows") -> list[dict[str, Any]]:
        """Return one answer a row."""
        return self.remote.predict(rows)

    def features(self, rows: "Rows", *, at: "Moment | None" = None) -> "list[LookedUp]":
        """Return what predictions for these rows would be given, with ages and reasons; nothing is logged."""
        return self.remote.features(rows, at=at)

    def log(self, rows: "Rows") -> int:
        """Send predictions that were made elsewhere."""
        return self.remote.log(rows)

    def label(self, rows: "Rows") -> int:
        """Send observed outcomes."""
        return self.remote.label(rows)
