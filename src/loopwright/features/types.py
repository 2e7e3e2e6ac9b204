"""Structs of features: views, aggregates, on-request functions, services, training sets, and what a gateway needs of them."""

from typing import Literal

import msgspec

from loopwright.data import KnownAt
from loopwright.kernel.code import CodeRef


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

    A feature is named ``{view}_{aggregate}_{window}``, such as ``carrier_late_share_3h``. Windows are microseconds, the
    rows with event time in ``(at - window, at]`` and known time ``<= at``.
    """

    name: str
    dataset: str
    entity: str
    windows_us: list[int]
    aggregates: list[Aggregate]


ViewSpec = ColumnViewSpec | AggregateViewSpec


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


class TrainingSetSpec(msgspec.Struct, frozen=True):
    """What to freeze: a service at dataset versions, event times in ``[start_at, end_at)``, labels known by ``known_by``."""

    service: str
    dataset_versions: dict[str, int]
    start_at: int | None
    end_at: int
    known_by: int


class TrainingSetVersion(msgspec.Struct, frozen=True):
    """A point-in-time join frozen as Parquet: ``row_id, event_at, label, <features>``.

    ``row_id`` is the spine's key as text. ``ref`` is ``training_set:<service>/<version>``.
    """

    service: str
    version: int
    spec: TrainingSetSpec
    digest: str
    size_bytes: int
    rows: int
    columns: list[str]
    label: str
    plan_digest: str
    event_at_min: int
    event_at_max: int
    recorded_at: int


class DatasetPushSpec(msgspec.Struct, frozen=True):
    """What a gateway needs to take pushed rows of a dataset: key, time, known-at and the transform."""

    name: str
    key: list[str]
    time: str
    known_at: dict[str, KnownAt]
    transform: CodeRef | None = None


class FeaturePlan(msgspec.Struct, frozen=True):
    """How a request becomes the model's columns: everything gateway and training need, frozen under a digest.

    ``time`` and ``key`` are the spine's; ``columns`` are the features in order. ``code_digest`` names the packed code.
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
    code_digest: str = ""


MISSING = ("", "NOT_FOUND", "EXPIRED", "NOT_YET_KNOWN")
"""Reasons a looked-up value is missing; the empty one means it is there."""
