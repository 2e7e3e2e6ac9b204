"""Structs of monitoring: what to watch, windows, drift, performance, alerts, incidents."""

from typing import Any, Literal

import msgspec


class MonitorSpec(msgspec.Struct, frozen=True):
    """What to watch of a deployment.

    Windows of ``every_us`` event time close ``grace_us`` after their end; performance of a window is settled ``label_lag_us``
    after it. A feature drifts when bias-corrected ``drift`` exceeds ``above`` in ``persist`` windows in a row.
    ``performance`` is the metric of quality; ``value`` an expression over true_positive, false_positive, true_negative,
    false_negative (classification at ``threshold``), in ``unit``.
    """

    every_us: int
    drift: str = "psi"
    above: float = 0.2
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


class FeatureDrift(msgspec.Struct, frozen=True):
    """Distance of one feature's window from the reference. ``missing`` is the share of missing values, 0..1."""

    feature: str
    distance: float
    missing: float
    reference_missing: float
    rows: int
    is_drifted: bool


class Performance(msgspec.Struct, frozen=True):
    """Quality of one variant on matured labels; ``low`` and ``high`` bound a 95 % interval."""

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

    ``span`` is performance over ``span_us`` up to the end of the window; ``profile_digest`` names the mergeable profile blob.
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
    profile_digest: str
    recorded_at: int


INCIDENT_STATES = {
    "open": frozenset({"acknowledged", "resolved"}),
    "acknowledged": frozenset({"resolved"}),
    "resolved": frozenset[str](),
}


class Alert(msgspec.Struct, frozen=True):
    """One firing rule. ``kind`` is drift, decay, missing, errors, latency, data or rollout; ``facts`` hold the numbers."""

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
