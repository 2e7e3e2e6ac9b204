"""Verbs of incidents: alerts of one subject and kind gather in one, which a person or a policy brings to an end."""

from typing import Any, Literal

from loopwright.kernel.clock import DAY_US
from loopwright.kernel.errors import InvalidInput, NotFound
from loopwright.kernel.refs import parse_ref
from loopwright.kernel.states import check_change
from loopwright.kernel.storable import storable, storable_text
from loopwright.kernel.verbs import SERVER_ALONE, query, verb
from loopwright.monitoring import sql
from loopwright.monitoring.events import (
    AlertFired,
    IncidentAcknowledged,
    IncidentAssigned,
    IncidentOpened,
    IncidentReopened,
    IncidentResolved,
)
from loopwright.monitoring.types import INCIDENT_STATES, Alert, DeliverAlert, Incident
from loopwright.store.tx import Tx

COOL_DOWN_US = 7 * DAY_US
"""So long after an incident was resolved, warnings of its kind join it: quietly, or opening it again for a person.

Critical ones open another.
"""
Severity = Literal["warning", "critical"]


@verb("monitoring.raise_alert", changes=Incident, internal=True, parts=SERVER_ALONE)
def raise_alert(
    tx: Tx,
    *,
    subject: str,
    kind: str,
    message: str,
    facts: dict[str, Any] = {},  # noqa: B006 - never changed
    needs_person: bool = True,
    severity: Severity = "warning",
    at: int | None = None,
    key: str = "",
) -> Alert:
    """Record one firing rule, in the live incident of its subject and kind, or in a new one.

    Args:
        subject: Ref of what it is about.
        kind: drift, decay, missing, errors, latency, data, retrain, job; the rule or verb that failed for good.
        message: One sentence; the one that opened the incident, or opened it again, titles it.
        facts: The numbers behind it.
        needs_person: False where a policy acts on it.
        severity: warning or critical.
        at: Event time, microseconds UTC; None for now.
        key: The same key again is once.
    """
    known = sql.find_alert_by_key(tx, key) if key else None
    if known is not None:
        return known
    message, facts = storable_text(message), storable(facts)  # what an event quotes of rows must alarm all the same
    event_at = tx.now_us if at is None else at
    incident = _gathering_incident(tx, subject, kind, severity, event_at)
    is_new = incident is None
    if incident is None:
        incident = _open(tx, subject, kind, message, severity, event_at, needs_person=needs_person)
    alert = Alert(tx.new_id("alert"), subject, kind, message, facts, event_at, incident.incident_id)
    sql.insert_alert(tx, alert, key)
    sql.update_incident(
        tx,
        incident.incident_id,
        alerts=incident.alerts + 1,
        last_at=max(event_at, incident.last_at),
        needs_person=incident.needs_person or needs_person,
        severity="critical" if severity == "critical" else incident.severity,
    )
    incident_id = incident.incident_id
    tx.emit(AlertFired(incident_id, kind, needs_person, severity, message, alert.alert_id, facts), subject)
    if is_new:
        tx.emit(IncidentOpened(incident_id, kind, needs_person, severity, message), subject)
        _tell_channels(tx, incident, "opened")
    elif needs_person and incident.state == "resolved":
        _reopen(tx, incident, message, severity)
    return alert


def _open(tx: Tx, subject: str, kind: str, title: str, severity: Severity, at: int, *, needs_person: bool) -> Incident:
    incident = Incident(
        incident_id=tx.new_id("inc"),
        subject=subject,
        kind=kind,
        title=title,
        severity=severity,
        state="open",
        needs_person=needs_person,
        alerts=0,
        owner="",
        opened_at=at,
        last_at=at,
    )
    sql.insert_incident(tx, incident)
    return incident


def _reopen(tx: Tx, incident: Incident, message: str, severity: Severity) -> None:
    check_change("incident", INCIDENT_STATES, incident.state, "open")
    sql.update_incident(tx, incident.incident_id, title=message, state="open", resolved_at=None, resolution="")
    facts = IncidentReopened(incident.incident_id, incident.kind, needs_person=True, severity=severity)
    tx.emit(facts, incident.subject, reason=message)
    _tell_channels(tx, incident, "reopened")


@verb("monitoring.acknowledge", changes=Incident)
def acknowledge(tx: Tx, *, incident_id: str, reason: str = "") -> Incident:
    """Say that somebody looks after an incident: the caller owns it, unless it was assigned."""
    incident = get_incident(tx, incident_id=incident_id)
    check_change("incident", INCIDENT_STATES, incident.state, "acknowledged")
    sql.update_incident(tx, incident_id, state="acknowledged", owner=incident.owner or tx.actor)
    tx.emit(IncidentAcknowledged(incident_id), incident.subject, reason=reason)
    return get_incident(tx, incident_id=incident_id)


@verb("monitoring.assign", changes=Incident)
def assign(tx: Tx, *, incident_id: str, owner: str, reason: str = "") -> Incident:
    """Give an incident to somebody: a person, service or team, such as ``person:ana``."""
    incident = get_incident(tx, incident_id=incident_id)
    if incident.state == "resolved" or not owner.strip():
        rule = "an incident that is not resolved, an owner that is not empty"
        raise InvalidInput("this cannot be assigned", field="owner", value=owner or incident.state, rule=rule)
    sql.update_incident(tx, incident_id, owner=owner)
    tx.emit(IncidentAssigned(incident_id, owner), incident.subject, reason=reason)
    return get_incident(tx, incident_id=incident_id)


@verb("monitoring.resolve", changes=Incident)
def resolve(tx: Tx, *, incident_id: str, reason: str, at: int | None = None) -> Incident:
    """End an incident, saying why; ``at`` is event time in microseconds UTC, None for now."""
    if not reason.strip():
        raise InvalidInput("a resolution needs a reason", field="reason", rule="at least one word")
    incident = get_incident(tx, incident_id=incident_id)
    check_change("incident", INCIDENT_STATES, incident.state, "resolved")
    resolved_at = tx.now_us if at is None else at
    sql.update_incident(tx, incident_id, state="resolved", resolved_at=resolved_at, resolution=reason)
    facts = IncidentResolved(incident_id, incident.kind, incident.needs_person)
    tx.emit(facts, incident.subject, reason=reason)
    resolved = get_incident(tx, incident_id=incident_id)
    _tell_channels(tx, resolved, "resolved")
    return resolved


@query("monitoring.incident")
def get_incident(tx: Tx, *, incident_id: str) -> Incident:
    """Return one incident."""
    incident = sql.find_incident(tx, incident_id)
    if incident is None:
        raise NotFound("no such incident", field="incident_id", value=incident_id)
    return incident


@query("monitoring.incidents")
def list_incidents(
    tx: Tx,
    *,
    states: list[str] = [],  # noqa: B006 - never changed
    subject: str | None = None,
    kind: str | None = None,
    needs_person: bool | None = None,
    start_at: int | None = None,
    end_at: int | None = None,
    limit: int = 100,
) -> list[Incident]:
    """Return incidents, newest first; by time: those that were live at some moment of ``[start_at, end_at)``."""
    return sql.list_incidents(
        tx,
        states=states,
        subject=subject,
        kind=kind,
        needs_person=needs_person,
        start_at=start_at,
        end_at=end_at,
        limit=min(limit, 1000),
    )


def waiting_incidents(tx: Tx) -> list[Incident]:
    """Return every live incident that calls for a person, newest first."""
    return sql.list_incidents(tx, states=sql.LIVE_STATES, needs_person=True, limit=None)


def live_incidents(tx: Tx, *, subject: str | None = None, kind: str | None = None) -> list[Incident]:
    """Return every incident that is not resolved; of one subject and kind one at most, as a rule."""
    return sql.list_incidents(tx, states=sql.LIVE_STATES, subject=subject, kind=kind, limit=None)


@query("monitoring.alerts")
def list_alerts(tx: Tx, *, incident_id: str | None = None, subject: str | None = None, limit: int = 100) -> list[Alert]:
    """Return alerts, newest first."""
    return sql.list_alerts(tx, incident_id=incident_id, subject=subject, limit=min(limit, 1000))


def _gathering_incident(tx: Tx, subject: str, kind: str, severity: Severity, event_at: int) -> Incident | None:
    """Return the incident an alert belongs to: a live one, or one resolved a short while ago."""
    live = sql.list_incidents(tx, states=sql.LIVE_STATES, subject=subject, kind=kind, limit=1)
    if live:
        return live[0]
    if severity == "critical":
        return None
    past = sql.list_incidents(tx, states=("resolved",), subject=subject, kind=kind, limit=1)
    is_recent = bool(past) and past[0].resolved_at is not None and event_at - past[0].resolved_at < COOL_DOWN_US
    return past[0] if is_recent else None


def _tell_channels(tx: Tx, incident: Incident, change: Literal["opened", "reopened", "resolved"]) -> None:
    """Start one delivery for each channel of the deployment that the incident is about."""
    subject = parse_ref(incident.subject, tx.project)
    monitor = sql.find_monitor(tx, subject.name) if subject.kind == "deployment" else None
    for channel in [] if monitor is None else monitor.spec.channels:
        tx.start_job(DeliverAlert(channel, incident.incident_id, change), incident.subject)
