"""Structs of features: views, aggregates, on-request functions, services, training sets, and what gateways need."""

from typing import Any, Literal

import msgspec

from loopwright.data import KnownAt
from loopwright.kernel.code import CodeRef
from loopwright.kernel.digests import Digest, MaybeDigest
from loopwright.store.work import Work, job_kind


class ColumnViewSpec(msgspec.Struct, frozen=True, tag="columns"):
    """Latest known values of columns of a dataset, by entity.

    ``entity`` is the join key column. A value older than ``ttl_us`` at the asked moment is missing (EXPIRED).
    """

    name: str
    dataset: str
    entity: str
    columns: list[str]
    ttl_us: int | None = None


class Aggregate(msgspec.Struct, frozen=True):
    """One aggregate of one column: ``mean``, ``sum`` or ``count`` (of non-null values known by then)."""

    name: str
    function: Literal["mean", "sum", "count"]
    column: str


class AggregateViewSpec(msgspec.Struct, frozen=True, tag="aggregates"):
    """Windowed aggregates of a dataset by entity, counting only what was known at the asked moment.

    ``counts`` says which time a window is cut by: ``event`` (what happened in the last 3 hours and is known by now) or
    ``known`` (what became known in the last 3 hours, whenever it happened).

    A feature is named ``{entity}_{aggregate}_{window}``, such as ``carrier_late_share_3h``. Windows are microseconds,
    the rows with event time in ``(at - window, at]`` and known time ``<= at``.
    """

    name: str
    dataset: str
    entity: str
    windows_us: list[int]
    aggregates: list[Aggregate]
    counts: Literal["event", "known"] = "event"


ViewSpec = ColumnViewSpec | AggregateViewSpec
Kind = Literal["view", "request", "service"]
"""What a declaration of features may be."""


class RequestSpec(msgspec.Struct, frozen=True):
    """On-request features: a user function from a Polars frame of the request's inputs to a frame of features."""

    name: str
    inputs: list[str]
    outputs: list[str]
    function: CodeRef


class LabelSpec(msgspec.Struct, frozen=True):
    """Which column of which dataset is the label."""

    dataset: str
    column: str


class ServiceSpec(msgspec.Struct, frozen=True):
    """The set of views one model uses, in the order of its columns.

    The rows of ``label.dataset`` are the spine: one training row per row of it, at its event time.
    ``views`` and ``requests`` are names.
    """

    name: str
    requests: list[str]
    views: list[str]
    label: LabelSpec
    task: str


RIPE_SHARES = (0.5, 0.9, 0.99)
"""Shares of the labels whose lag is told, and by which a training may say when they are ripe."""


class LabelLag(msgspec.Struct, frozen=True):
    """How long labels take, as learned at a moment: microseconds by share of the labels, of all and of each class.

    ``waiting_rows`` had no label then. ``within_us``: labels that take longer than this could not be seen, of all and
    of each class.
    """

    labelled_rows: int
    waiting_rows: int
    within_us: int
    quantiles: dict[str, int]
    by_class: dict[str, dict[str, int]] = {}
    within_by_class: dict[str, int] = {}


class TrainingSetSpec(msgspec.Struct, frozen=True):
    """What to freeze: a service at dataset versions, event times in ``[start_at, end_at)``, labels by ``known_by``.

    ``embargo_us`` is how much was left out at the end because labels of those rows were not ripe, and ``lag`` what that
    was learned from.
    """

    service: str
    dataset_versions: dict[str, int]
    start_at: int | None
    end_at: int
    known_by: int
    embargo_us: int = 0
    lag: LabelLag | None = None


class TrainingSetVersion(msgspec.Struct, frozen=True):
    """A point-in-time join frozen as Parquet: ``row_id, event_at, label, <features>``.

    ``row_id`` is the spine's key as text. ``ref`` is ``training_set:<service>/<version>``.
    """

    service: str
    version: int
    spec: TrainingSetSpec
    digest: Digest
    size_bytes: int
    rows: int
    columns: list[str]
    label: str
    plan_digest: Digest
    event_at_min: int
    event_at_max: int
    recorded_at: int


class DatasetPushSpec(msgspec.Struct, frozen=True):
    """What a gateway needs to take pushed rows of a dataset: key, time, known-at and the transform.

    ``dtypes`` are the Polars dtypes of the columns of its newest version when the plan was frozen, as text; empty if it
    had none. ``zone`` is the time zone of moments that its source writes without one.
    """

    name: str
    key: list[str]
    time: str
    known_at: dict[str, KnownAt]
    transform: CodeRef | None = None
    dtypes: dict[str, str] = {}
    zone: str | None = None


class FeaturePlan(msgspec.Struct, frozen=True):
    """How a request becomes the model's columns: everything gateway and training need, frozen under a digest.

    ``time`` and ``key`` are the spine's; ``columns`` are the features in order. ``code_digest`` names the packed code.
    ``datasets`` are the spine's and those behind the views.
    """

    service: str
    time: str
    key: list[str]
    requests: list[RequestSpec]
    views: list[ColumnViewSpec | AggregateViewSpec]
    datasets: list[DatasetPushSpec]
    columns: list[str] = []
    label: LabelSpec | None = None
    task: str = ""
    code_digest: MaybeDigest = ""


class BoundView(msgspec.Struct, frozen=True):
    """A view as one plan reads it from the online store.

    ``key`` names its rows there: project, view, and a digest of the view, the dataset's known-at and transform.
    ``names`` maps a column, or an aggregate and its window as ``late_share_3h``, to the plan's feature. ``is_own``: its
    rows are of the dataset that requests are rows of, so that each request leaves its own row out.
    """

    key: str
    view: ColumnViewSpec | AggregateViewSpec
    dataset: DatasetPushSpec
    names: dict[str, str]
    is_own: bool = False


@job_kind("features.materialize")
class MaterializeRequest(Work, frozen=True):
    """A fill of the online store to be made; rows with event time after ``until_us`` (microseconds UTC) stay out.

    ``reset`` fills the view anew, beside what answers meanwhile.
    """

    view: BoundView
    dataset_version: int
    until_us: int
    reset: bool = False
    reason: str = ""


class Definition(msgspec.Struct, frozen=True):
    """A declared view, request or service by its digest; an older digest stays valid in the plans that hold it."""

    kind: Kind
    name: str
    digest: Digest
    spec: dict[str, Any]
    event_at: int
    recorded_at: int


class Materialization(msgspec.Struct, frozen=True):
    """A fill of the online store with one view from one dataset version.

    ``rows`` were read and merged; ``entities`` is how many the view held when that was done, pushed ones too.
    """

    view: str
    view_key: str
    dataset: str
    dataset_version: int
    rows: int
    entities: int
    job_id: str
    event_at: int
    recorded_at: int
    reason: str = ""


MISSING = ("", "NOT_FOUND", "EXPIRED", "NOT_YET_KNOWN")
"""Reasons a looked-up value is missing; the empty one means it is there."""
