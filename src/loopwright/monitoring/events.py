"""What the events of monitoring tell: monitors, windows, alerts, incidents."""

from typing import Any

from loopwright.kernel.events import Facts, event
from loopwright.monitoring.types import Performance


@event("monitoring.declared")
class MonitorDeclared(Facts, frozen=True):
    """What to watch of a deployment was declared, or declared differently; the digests say how.

    ``spec_digest`` is of the declaration with what may be shown in place of channels' targets, ``policy_digest`` of
    what its policy answers; both are missing in events of older versions.
    """

    deployment: str
    spec_digest: str = ""
    policy_digest: str = ""


@event("monitoring.opened")
class WindowsOpened(Facts, frozen=True):
    """Windows close from now on, the first one from ``start_at``."""

    deployment: str
    start_at: int


@event("monitoring.reference_set")
class ReferenceSet(Facts, frozen=True):
    """Windows are compared with other rows: a profile, and the version that was trained on them, if it is known."""

    deployment: str
    profile_digest: str
    model_version: int | None


@event("monitoring.reference_started")
class ReferenceStarted(Facts, frozen=True):
    """Rows are profiled, to become the reference."""

    deployment: str
    job_id: str


@event("monitoring.range_started")
class RangeStarted(Facts, frozen=True):
    """Every window of a range is measured again."""

    job_id: str
    deployment: str
    start_at: int
    end_at: int


@event("monitoring.window_started")
class WindowStarted(Facts, frozen=True):
    """A window is measured: as it closes, or once its labels have matured (``state``)."""

    deployment: str
    start_at: int
    end_at: int
    state: str
    job_id: str


class WindowFacts(Facts, frozen=True):
    """What every event of a measured window tells.

    ``drifted`` are the features that drift, ``beyond`` those whose distance was too large in this window alone.
    ``held_out`` are the metrics that performance is compared with.
    """

    deployment: str
    start_at: int
    end_at: int
    state: str
    predictions: int
    labels: int
    errors: int
    latency_p99_ms: float | None
    drifted: list[str]
    beyond: list[str]
    span: list[Performance]
    model_version: int | None
    held_out: dict[str, float]


@event("monitoring.window_closed")
class WindowClosed(WindowFacts, frozen=True):
    """A window was measured for the first time, or for the first time with enough rows to be judged."""


@event("monitoring.window_settled")
class WindowSettled(WindowFacts, frozen=True):
    """Performance of a window was measured on matured labels."""


@event("monitoring.window_restated")
class WindowRestated(WindowFacts, frozen=True):
    """A window was measured again and is not what it was; nothing is judged by it."""


class IncidentFacts(Facts, frozen=True):
    """Which incident an event is about, and whether it calls for a person."""

    incident_id: str
    kind: str
    needs_person: bool


@event("monitoring.alert_fired")
class AlertFired(IncidentFacts, frozen=True):
    """A rule fired; ``facts`` are the numbers behind it."""

    severity: str
    message: str
    alert_id: str
    facts: dict[str, Any]


@event("monitoring.incident_opened")
class IncidentOpened(IncidentFacts, frozen=True):
    """An alert opened an incident."""

    severity: str
    title: str


@event("monitoring.incident_reopened")
class IncidentReopened(IncidentFacts, frozen=True):
    """An alert opened a resolved incident again."""

    severity: str


@event("monitoring.incident_resolved")
class IncidentResolved(IncidentFacts, frozen=True):
    """An incident ended."""


@event("monitoring.incident_acknowledged")
class IncidentAcknowledged(Facts, frozen=True):
    """Somebody looks after an incident."""

    incident_id: str


@event("monitoring.incident_assigned")
class IncidentAssigned(Facts, frozen=True):
    """An incident was given to somebody."""

    incident_id: str
    owner: str
