"""Structs of the loop: the whole project as applied, the retrain policy, plans, provenance."""

from datetime import datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from loopwright.data import DatasetSpec
from loopwright.features import AggregateViewSpec, BoundView, ColumnViewSpec, RequestSpec, ServiceSpec
from loopwright.kernel.code import CodeRef
from loopwright.kernel.digests import Digest, MaybeDigest
from loopwright.monitoring import MonitorSpec
from loopwright.pipelines import PipelineSpec
from loopwright.registry import GateSpec
from loopwright.serving import DeploymentSpec
from loopwright.store.types import Retention, StreamCursor
from loopwright.store.work import Power, Work, job_kind
from loopwright.tracking import SourceState


class When(msgspec.Struct, frozen=True):
    """One trigger of a retrain: ``drift`` (features), ``decay`` (metric, by, against) or ``older_than`` (age_us)."""

    kind: Literal["drift", "decay", "older_than"]
    args: dict[str, Any] = {}


class Belongings(msgspec.Struct, frozen=True):
    """What would end with a project: endpoints that serve, jobs that are not done, and its rows by table."""

    serving: list[str]
    jobs: int
    rows: dict[str, int]


@job_kind("loop.forget_project", lane="work", is_duty=True)
class ForgetProject(Work, frozen=True):
    """The rows of a deleted project are to be removed."""


class Hold(msgspec.Struct, frozen=True):
    """That a living thing needs another: what is needed, by what, why in a sentence, and how to let it go."""

    ref: str
    by: str
    why: str
    next_step: str


class DeletionPlan(msgspec.Struct, frozen=True):
    """What would go with a thing: its parts by kind, and rows that belong to them by table, where they are counted.

    ``holds`` keep it from being deleted. ``made_of_it`` are refs of what was made of it, needed by nothing alive: they
    stay, and tell of what is gone. ``also_in`` are dataset versions that hold files of it, such as restored ones: there
    its rows stay readable, and in what was built on them.
    """

    ref: str
    parts: dict[str, int]
    rows: dict[str, int]
    holds: list[Hold]
    made_of_it: list[str]
    also_in: list[str] = []


@job_kind("loop.forget_deleted", lane="upkeep", is_duty=True)
class ForgetDeleted(Work, frozen=True):
    """Rows that belonged to deleted things are to be removed."""


class OnlineUse(msgspec.Struct, frozen=True):
    """Views that somebody may still ask the online store for, and the project's present moment, microseconds UTC."""

    now_us: int
    views: list[BoundView]


@job_kind("loop.tidy_online", lane="upkeep", keep_days=7)
class TidyOnline(Work, frozen=True):
    """Views that nobody reads, and entities whose values are long over, are to leave the online store."""


class LabelFeed(msgspec.Struct, frozen=True):
    """Which column of which dataset the labels of a deployment complete.

    Chunks stored since ``since`` (wall time, microseconds UTC) were not taken yet; ``waiting`` is a Parquet blob of
    labels that no version said yet: their row, their prediction or their import was still to come. ``replacements``
    counts how often the dataset's rows were replaced; ``looked_at`` is when the log was looked into, wall time.
    """

    deployment: str
    dataset: str
    column: str
    since: int
    waiting: MaybeDigest
    replacements: int
    looked_at: int


@job_kind("loop.feed_labels", keep_days=7)
class FeedLabels(Work, frozen=True):
    """Labels of a deployment are to complete the dataset that it is trained on."""

    deployment: str


@job_kind("loop.match_labels", keep_days=7)
class MatchLabels(Work, frozen=True):
    """Labels of a deployment that name rows by key are to become labels of the predictions for these rows."""

    deployment: str


class KeyRun(msgspec.Struct, frozen=True):
    """Predictions by the digests of their keys, in one sorted file.

    ``event_last`` is the moment of the newest of them, event time, microseconds UTC.
    """

    number: int
    level: int
    rows: int
    event_last: int
    digest: Digest
    size_bytes: int


class KeyMatch(msgspec.Struct, frozen=True):
    """How far labels that name rows were matched with predictions, how far these are in the index, and its runs."""

    labels: StreamCursor
    predictions: StreamCursor
    runs: list[KeyRun]


@job_kind("loop.feed_pushes", keep_days=7)
class FeedPushes(Work, frozen=True):
    """Rows that were pushed to a dataset are to become a version of it."""

    dataset: str


class RetrainSpec(msgspec.Struct, frozen=True):
    """When the platform trains again by itself, and how often at most: ``most`` per ``per_us`` of event time."""

    deployment: str
    train: str
    when: list[When]
    most: int
    per_us: int


class TrainSpec(msgspec.Struct, frozen=True):
    """The standard training pipeline: training set, fit, held-out evaluation, gates, refit, register.

    ``window_us`` None means all rows. ``alias`` is set on the result at once, without gates or rollout: a blind
    retrain.
    ``schedule_us`` starts it again and again. ``mature`` is the share of labels that have to be known of rows as old as
    the youngest that are used, 0..1; ``embargo_us`` says instead how old these are.
    """

    name: str
    model: str
    service: str
    function: CodeRef
    window_us: int | None
    holdout_us: int | None
    refit: bool
    params: dict[str, Any] = {}
    alias: str = ""
    schedule_us: int | None = None
    experiment: str = ""
    mature: float | None = None
    embargo_us: int = 0


class ProjectSpec(msgspec.Struct, frozen=True):
    """Everything a project file declares, the digest of its packed code and the state of its repository."""

    name: str
    owner: str = ""
    risk: Literal["low", "medium", "high"] = "low"
    clock: Literal["wall", "replay"] = "wall"
    clock_at: int = 0
    code_digest: MaybeDigest = ""
    source: SourceState | None = None
    datasets: list[DatasetSpec] = []
    views: list[ColumnViewSpec | AggregateViewSpec] = []
    requests: list[RequestSpec] = []
    services: list[ServiceSpec] = []
    pipelines: list[PipelineSpec] = []
    trains: list[TrainSpec] = []
    deployments: list[DeploymentSpec] = []
    monitors: dict[str, MonitorSpec] = {}
    retrains: list[RetrainSpec] = []
    retentions: list[Retention] = []


class PlannedChange(msgspec.Struct, frozen=True):
    """One line of the plan: what would be new, changed, unaffected or left alone although no longer declared.

    ``needs_approver`` are rules that it would loosen, where whoever asked for the plan may not loosen them.
    """

    ref: str
    change: Literal["new", "changed", "unaffected", "undeclared"]
    details: list[str] = []
    needs_approver: list[str] = []


class Plan(msgspec.Struct, frozen=True):
    """What ``apply`` would do. ``digest`` names it, so that exactly what was shown is applied."""

    project: str
    digest: Digest
    changes: list[PlannedChange]


class ProvenanceNode(msgspec.Struct, frozen=True):
    """One fact behind a prediction: a ref, a sentence, and its details."""

    ref: str
    kind: str
    sentence: str
    details: dict[str, Any] = {}


class Replayed(msgspec.Struct, frozen=True):
    """An answer computed again, a value or the probability of each class, and whether every bit is as logged."""

    logged: float | list[float] | None
    computed: float | list[float]
    is_same: bool
    sentence: str


class Provenance(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything behind one prediction, nearest first, with the edges between the nodes.

    ``replay`` is there where somebody asked for the answer to be computed again.
    """

    prediction_id: str
    nodes: list[ProvenanceNode]
    edges: list[list[str]]
    replay: Replayed | None = None


@job_kind("loop.export", needs_person=False)
class Export(Work, frozen=True):
    """Write the predictions of ``[start_at, end_at)`` with their labels to one Parquet blob; see ``start_export``."""

    deployment: str
    start_at: int
    end_at: int
    features: bool


@job_kind("loop.audit_skew", needs_person=False)
class AuditSkew(Work, frozen=True):
    """Compute so many served rows again; see ``start_skew_audit``."""

    deployment: str
    rows: int
    start_at: int | None
    end_at: int | None


@job_kind("loop.audit_due", is_duty=True)
class AuditDue(Work, frozen=True):
    """Compute so many of the rows served in ``[start_at, end_at)`` again: a monitor says so, and gates rest on it."""

    deployment: str
    rows: int
    start_at: int
    end_at: int


class Skews(msgspec.Struct, frozen=True):
    """What the newest audits of a model's deployments say: of one that ``found`` differences, or did not happen."""

    is_audited: bool
    found: list[str]
    unaudited: list[str]


class SkewFound(msgspec.Struct, frozen=True):
    """What an audit found: rows that were compared and that differ, and what is told of each feature and of all."""

    rows: int
    unequal_rows: int
    features: list[dict[str, Any]]
    told: str


class Scope(msgspec.Struct, frozen=True):
    """What a closing table is about.

    ``series`` are the followed aliases, ``blind`` says how often those are retrained that have a schedule of their own,
    as ``alias -> (pipeline, every_us)``. Months and days are those of ``zone``. ``rows`` and ``short`` are what the
    table calls a prediction and its metric.
    """

    deployment: str
    start_at: int
    end_at: int
    task: str
    metric: str
    series: list[str]
    blind: dict[str, tuple[str, int]]
    zone: str = "UTC"
    rows: str = "predictions"
    short: str = ""

    def has(self, at_us: int) -> bool:
        """Say whether a moment lies in the stretch."""
        return self.start_at <= at_us < self.end_at

    def month(self, at_us: int) -> str:
        """Return the month of a moment, as ``2013-03``."""
        return datetime.fromtimestamp(at_us / 1e6, ZoneInfo(self.zone)).strftime("%Y-%m")

    def columns(self) -> list[str]:
        """Return the table's column of each series: the metric's name with that of the series."""
        return [f"{self.short}_{series}" for series in (*self.series, "served")]


class ClosingTable(msgspec.Struct, frozen=True):
    """What a stretch came to, and what that is about.

    ``table`` holds ``months``, one row each, and figures of the whole stretch; its columns are named after the scope's
    metric and series.
    """

    scope: Scope
    table: dict[str, Any]


@job_kind("loop.closing_table", needs_person=False)
class MakeClosingTable(Work, frozen=True):
    """Make the closing table of a stretch; see ``start_closing_table``."""

    scope: Scope


@job_kind("loop.replay_prediction", lane="looks")
class ReplayPrediction(Work, frozen=True):
    """Compute one prediction again; see ``start_replay``."""

    prediction_id: str


@job_kind("loop.evaluate", powers=frozenset[Power]({"record_gates"}))
class Evaluate(Work, frozen=True):
    """Measure a version on the rows of ``[start_at, end_at)``, by the labels known by ``known_by``.

    ``is_stretch_chosen``: whoever asked for it said which rows are measured, and is no approver.
    """

    model: str
    version: int
    gates: list[GateSpec]
    plan_digest: str
    start_at: int
    end_at: int
    known_by: int
    reason: str
    is_stretch_chosen: bool = False


class RetrainRecord(msgspec.Struct, frozen=True):
    """One retrain the policy started: its trigger, its execution, the version that rolls out, and how it ended.

    ``state`` is ``training``, ``rolling_out``, or ended: ``promoted``, ``refused`` (by gate or rollout), ``failed``,
    ``cancelled``.
    """

    retrain_id: str
    deployment: str
    execution_id: str
    cause: str
    reason: str
    state: str
    outcome: str
    event_at: int
    finished_at: int | None = None
    version: int | None = None


class WaitingReaction(msgspec.Struct, frozen=True):
    """A rule that failed on the event at a position, so often, and is tried again."""

    rule: str
    position: int
    failures: int


class Backtest(msgspec.Struct, frozen=True):
    """A stretch of history that is played again under a policy, and what came of it.

    ``start_at`` and ``end_at`` are event times, ``recorded_at`` and ``finished_at`` wall time, all microseconds UTC.
    ``versions`` are those of the datasets whose rows are played. ``attempt`` says how often it was begun. ``scratch``
    is the project in which the newest attempt plays; after its end it is named only where it was kept. ``state`` is
    ``running``, or ended: ``done``, ``failed``, ``cancelled``.
    """

    backtest_id: str
    deployment: str
    start_at: int
    end_at: int
    zone: str
    keeps_project: bool
    reason: str
    versions: dict[str, int]
    job_id: str
    started_by: str
    recorded_at: int
    state: Literal["running", "done", "failed", "cancelled"] = "running"
    attempt: int = 0
    scratch: str | None = None
    closing: ClosingTable | None = None
    error: dict[str, Any] | None = None
    finished_at: int | None = None


@job_kind(
    "loop.backtest",
    lane="backtests",
    deadline_s=24 * 3600.0,
    retry_after_s=(5.0, 30.0),
    needs_person=False,
    powers=frozenset[Power]({"play_backtest"}),
)
class PlayBacktest(Work, frozen=True):
    """Play a stretch of history in a scratch project; see ``start_backtest``."""

    backtest_id: str


class Pin(msgspec.Struct, frozen=True):
    """What still needs rows of a stream from a moment on: event time, or where they are pushes the wall time."""

    start_at: int
    why: str


class Expired(msgspec.Struct, frozen=True):
    """What is old enough in one stream, and what keeps rows longer than was declared.

    Of points of metrics ``chunks`` are the runs, ``pins`` those of them that something living needs.
    """

    kind: str
    stream: str
    chunks: int
    rows: int
    size_bytes: int
    pins: list[Pin]
