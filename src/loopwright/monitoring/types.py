"""Structs of monitoring: what to watch, windows, drift, performance, alerts, incidents."""

from typing import Any, Literal

import msgspec

from loopwright.kernel.clock import DAY_US, format_moment
from loopwright.kernel.digests import Digest, MaybeDigest
from loopwright.store.types import Chunk
from loopwright.store.work import Work, job_kind


class MonitorSpec(msgspec.Struct, frozen=True):
    """What to watch of a deployment.

    Windows of ``every_us`` event time close ``grace_us`` after their end; performance of a window is settled
    ``label_lag_us`` after it. A feature drifts when bias-corrected ``drift`` of the last ``over_us`` (0: of the window)
    exceeds ``above``, and with ``usual`` also what such stretches of the reference reach, in ``persist`` windows in a
    row. ``performance`` is the metric of quality; ``value`` an expression over true_positive, false_positive,
    true_negative, false_negative (classification at ``threshold``), in ``unit``. ``ignore`` names columns whose
    distance means nothing. ``decay`` is how much worse than held out quality may become: absolute for metrics where
    more is better, a share of the held-out error otherwise. ``channels`` hear of incidents: ``log``, or
    ``webhook:https://...``. Each ``audit_us`` of event time served features are compared with the datasets, never if
    it is 0.
    """

    every_us: int
    drift: str = "psi"
    above: float = 0.2
    over_us: int = 0
    usual: bool = True
    persist: int = 2
    performance: str = ""
    span_us: int = 14 * 86_400_000_000
    label_lag_us: int = 86_400_000_000
    grace_us: int = 0
    segments: list[str] = []
    ignore: list[str] = []
    value: str = ""
    unit: str = ""
    threshold: float = 0.5
    decay: float = 0.03
    channels: list[str] = []
    audit_us: int = 0


class DecayLimit(msgspec.Struct, frozen=True):
    """How much worse than held out quality may certainly become, judged from ``least_labels`` matured labels on.

    ``by`` is in units of the metric, or, where ``is_share``, a share of the held-out value.
    """

    by: float
    least_labels: int
    is_share: bool = False


class PolicyAnswers(msgspec.Struct, frozen=True):
    """What a retrain policy answers by itself, so that no person needs to: drift, and decay beyond these limits."""

    drift: bool = False
    decay: list[DecayLimit] = []


class Monitor(msgspec.Struct, frozen=True):
    """What watches a deployment: its declaration, the reference in force since ``reference_at``, the next window.

    ``metrics`` are the held-out ones of ``model_version``. ``policy`` is what the deployment's retrain policy answers,
    None where it has none. ``next_at`` is the start of the next window to close, None before the first prediction is
    expected.
    """

    deployment: str
    spec: MonitorSpec
    task: str
    is_external: bool
    policy: PolicyAnswers | None
    reference: str
    reference_at: int
    model_version: int | None
    metrics: dict[str, float]
    next_at: int | None
    event_at: int
    recorded_at: int


def served_variant(monitor: Monitor) -> str:
    """Return the name under which performance of the answers that callers got is kept."""
    return "external" if monitor.is_external else "champion"


class FeatureDrift(msgspec.Struct, frozen=True):
    """Distance of one feature's window from the reference. ``missing`` is the share of missing values, 0..1.

    ``above`` is the distance beyond which it counts: the declared one, or what stretches of the reference itself reach.
    ``is_drifted`` says that it was beyond in enough windows in a row.
    """

    feature: str
    distance: float
    missing: float
    reference_missing: float
    rows: int
    is_drifted: bool
    above: float = 0.0


class Performance(msgspec.Struct, frozen=True):
    """Quality of one variant on matured labels; ``low`` and ``high`` bound a 95 % interval; None: too few labels.

    ``variant`` is ``champion`` (``external``) for what callers were answered, else the name of an unseen shadow.
    """

    variant: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    labels: int
    predictions: int
    value_sum: float | None = None


class Window(msgspec.Struct, frozen=True):
    """A closed stretch of event time ``[start_at, end_at)`` of one deployment.

    ``span`` and ``segments`` (``column=level``) are performance over ``span_us`` up to the end of the window, since
    the reference was set. ``profile_digest`` names the blob of the mergeable profile, ``scores_digest`` that of the
    scored and labelled rows, ``reference`` that of what drift was measured against, the rows of ``model_version``.
    """

    deployment: str
    start_at: int
    end_at: int
    state: Literal["closed", "settled"]
    predictions: int
    labels: int
    errors: int
    latency_p99_ms: float | None
    drift: list[FeatureDrift]
    performance: list[Performance]
    span: list[Performance]
    segments: dict[str, list[Performance]]
    profile_digest: MaybeDigest
    recorded_at: int
    scores_digest: MaybeDigest = ""
    reference: str = ""
    model_version: int | None = None


class CurrentWindow(msgspec.Struct, frozen=True):
    """The window of a deployment that has not ended.

    Args:
        start_at: Its first moment, microseconds UTC.
        end_at: The moment after its last.
        measured_at: When it is measured: its end and the monitor's grace.
        rows: Predictions logged in it so far, shadows' too. What gateways have yet to seal is not among them, nor what
            lies in a chunk that began before the window.
    """

    start_at: int
    end_at: int
    measured_at: int
    rows: int


class SpanPart(msgspec.Struct, frozen=True):
    """An earlier window's share of a span: its profile, its scored rows, how many predictions each variant made."""

    start_at: int
    profile_digest: MaybeDigest
    scores_digest: MaybeDigest
    predictions: dict[str, int]


@job_kind("monitoring.evaluate_window", is_duty=True)
class EvaluateWindow(Work, frozen=True):
    """Measure one window: as it closes, or again once its labels have matured."""

    deployment: str
    start_at: int
    end_at: int
    state: Literal["closed", "settled"]


@job_kind("monitoring.evaluate_range")
class EvaluateRange(Work, frozen=True):
    """Measure every window that begins in ``[start_at, end_at)`` and ends by then."""

    deployment: str
    start_at: int
    end_at: int


@job_kind("monitoring.build_reference")
class BuildReference(Work, frozen=True):
    """Profile the rows of a Parquet blob and set them as the reference; see ``start_reference``."""

    deployment: str
    digest: str
    columns: list[str] | None
    time: str
    score: str
    model_version: int | None
    metrics: dict[str, float]


@job_kind("monitoring.profile_chunks", lane="upkeep", deadline_s=6 * 3600.0, keep_days=7)
class ProfileChunks(Work, frozen=True):
    """Count the rows of what was sealed and merged, so that windows need not read them."""


class CountableChunk(msgspec.Struct, frozen=True):
    """A chunk without a profile, and the reference in whose bins its rows are to be counted."""

    chunk: Chunk
    reference: Digest


@job_kind("monitoring.deliver_alert", lane="looks", is_duty=True)
class DeliverAlert(Work, frozen=True):
    """Tell one channel of a change of an incident."""

    channel: str
    incident_id: str
    change: Literal["opened", "reopened", "resolved"]


class WindowTask(msgspec.Struct, frozen=True):
    """Everything the job of a window needs: what to measure, the chunks to read, the windows before, what is known."""

    monitor: Monitor
    start_at: int
    end_at: int
    state: Literal["closed", "settled"]
    predictions: list[Chunk]
    labels: list[Chunk]
    before: list[SpanPart]
    known: Window | None
    now_us: int


INCIDENT_STATES = {
    "open": frozenset({"acknowledged", "resolved"}),
    "acknowledged": frozenset({"resolved"}),
    "resolved": frozenset({"open"}),
}


class Alert(msgspec.Struct, frozen=True):
    """One firing rule; ``facts`` hold the numbers.

    ``kind`` is drift, decay, missing, errors or latency from windows; other rooms raise data, rollout, retrain.
    """

    alert_id: str
    subject: str
    kind: str
    message: str
    facts: dict[str, Any]
    event_at: int
    incident_id: str


class Incident(msgspec.Struct, frozen=True):
    """Grouped alerts of one subject. ``needs_person`` is False where a policy already acts on it."""

    incident_id: str
    subject: str
    kind: str
    title: str
    severity: Literal["warning", "critical"]
    state: str
    needs_person: bool
    alerts: int
    owner: str
    opened_at: int
    last_at: int
    resolved_at: int | None = None
    resolution: str = ""


class Report(msgspec.Struct, frozen=True):
    """Windows and incidents of one stretch of event time; printed, it is a small table."""

    deployment: str
    start_at: int
    end_at: int
    windows: list[Window]
    incidents: list[Incident]

    def __str__(self) -> str:
        """Return a line for each window: rows, labels, drifted features, quality with its interval."""
        # A window shorter than a day is told by its moment, and quality takes the room it needs.
        letters = 10 if all(window.end_at - window.start_at >= DAY_US for window in self.windows) else 16
        quality = [_quality(window) for window in self.windows]
        wide = max([28, *(len(text) + 2 for text in quality)])
        lines = [f"{self.deployment}  {format_moment(self.start_at)} to {format_moment(self.end_at)}"]
        lines.append(f"{'window':<{letters + 2}}{'rows':>8}{'labels':>8}{'errors':>8}  {'quality':<{wide}}drifted")
        for window, text in zip(self.windows, quality, strict=True):
            drifted = ", ".join(one.feature for one in window.drift if one.is_drifted) or "-"
            counts = f"{window.predictions:>8}{window.labels:>8}{window.errors:>8}"
            at = format_moment(window.start_at)[:letters].replace("T", " ")
            lines.append(f"{at:<{letters + 2}}{counts}  {text:<{wide}}{drifted}")
        lines += [f"{incident.state:<13}{incident.kind:<10}{incident.title}" for incident in self.incidents]
        return "\n".join(lines if self.windows else [*lines, "no windows yet"])


def _quality(window: Window) -> str:
    first = next((performance for performance in window.performance if performance.value is not None), None)
    if first is None:
        return "-"
    interval = "" if first.low is None else f" ({first.low:.3f} to {first.high:.3f})"
    return f"{first.metric} {first.value:.3f}{interval}"
