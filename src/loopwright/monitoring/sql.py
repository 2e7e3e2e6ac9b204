"""Every statement of monitoring."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Row, bindparam, func, insert, select, update

from loopwright.kernel.documents import to_builtins
from loopwright.monitoring.tables import alerts, channel_targets, incidents, monitors, windows
from loopwright.monitoring.types import Alert, Incident, Monitor, MonitorSpec, PolicyAnswers, Window
from loopwright.store.sql import upsert
from loopwright.store.tx import Tx

LIVE_STATES = ("open", "acknowledged")


def find_monitor(tx: Tx, deployment: str) -> Monitor | None:
    """Return the monitor of a deployment."""
    statement = select(monitors).where(monitors.c.project_id == tx.project, monitors.c.deployment == deployment)
    row = tx.execute(statement).first()
    return None if row is None else _monitor(row)


def list_monitors(tx: Tx) -> list[Monitor]:
    """Return every monitor of the project by deployment."""
    statement = select(monitors).where(monitors.c.project_id == tx.project).order_by(monitors.c.deployment)
    return [_monitor(row) for row in tx.execute(statement)]


def save_monitor(tx: Tx, monitor: Monitor) -> Monitor:
    """Add or replace a monitor."""
    values = {name: getattr(monitor, name) for name in monitor.__struct_fields__}
    upsert(
        tx.connection,
        monitors,
        [{"project_id": tx.project, **values}],
        key=("project_id", "deployment"),
        do_update=True,
    )
    return monitor


def put_target(tx: Tx, channel: str, target: str) -> None:
    """Keep the target of a channel."""
    row = {"project_id": tx.project, "channel": channel, "target": target}
    upsert(tx.connection, channel_targets, [row], key=("project_id", "channel"), do_update=True)


def find_target(tx: Tx, channel: str) -> str | None:
    """Return the target of a channel."""
    is_this = (channel_targets.c.project_id == tx.project, channel_targets.c.channel == channel)
    target: str | None = tx.execute(select(channel_targets.c.target).where(*is_this)).scalar()
    return target


def _monitor(row: Row[Any]) -> Monitor:
    values = dict(row._mapping)
    values.pop("project_id")
    values["spec"] = msgspec.convert(values["spec"], MonitorSpec)
    values["policy"] = msgspec.convert(values["policy"], PolicyAnswers | None)
    return Monitor(**values)


def save_window(tx: Tx, window: Window) -> Window:
    """Add or replace a window."""
    row = {
        "project_id": tx.project,
        "deployment": window.deployment,
        "start_at": window.start_at,
        "end_at": window.end_at,
        "state": window.state,
        "document": to_builtins(window),
        "recorded_at": window.recorded_at,
    }
    upsert(tx.connection, windows, [row], key=("project_id", "deployment", "start_at"), do_update=True)
    return window


def find_window(tx: Tx, deployment: str, start_at: int) -> Window | None:
    """Return one window by its start."""
    statement = select(windows.c.document).where(
        windows.c.project_id == tx.project, windows.c.deployment == deployment, windows.c.start_at == start_at
    )
    row = tx.execute(statement).first()
    return None if row is None else msgspec.convert(row.document, Window)


def list_windows(
    tx: Tx,
    deployment: str,
    *,
    start_at: int | None = None,
    end_at: int | None = None,
    state: str | None = None,
    limit: int = 100,
) -> list[Window]:
    """Return windows that begin in ``[start_at, end_at)``, newest first."""
    statement = select(windows.c.document).where(windows.c.project_id == tx.project, windows.c.deployment == deployment)
    if start_at is not None:
        statement = statement.where(windows.c.start_at >= start_at)
    if end_at is not None:
        statement = statement.where(windows.c.start_at < end_at)
    if state is not None:
        statement = statement.where(windows.c.state == state)
    rows = tx.execute(statement.order_by(windows.c.start_at.desc()).limit(limit))
    return [msgspec.convert(row.document, Window) for row in rows]


def oldest_window(tx: Tx, deployment: str, state: str) -> int | None:
    """Return when the oldest window in a state begins."""
    oldest = select(func.min(windows.c.start_at)).where(
        windows.c.project_id == tx.project, windows.c.deployment == deployment, windows.c.state == state
    )
    return tx.execute(oldest).scalar()


_newest_starts = (
    select(windows.c.deployment, func.max(windows.c.start_at).label("start_at"))
    .where(windows.c.project_id == bindparam("project"))
    .group_by(windows.c.deployment)
    .subquery()
)
_newest_windows = (
    select(windows.c.document)
    .join(
        _newest_starts,
        (_newest_starts.c.deployment == windows.c.deployment) & (_newest_starts.c.start_at == windows.c.start_at),
    )
    .where(windows.c.project_id == bindparam("project"))
    .order_by(windows.c.deployment)
)


def newest_windows(tx: Tx) -> list[Window]:
    """Return the newest window of every deployment, by name."""
    return [msgspec.convert(row.document, Window) for row in tx.execute(_newest_windows, {"project": tx.project})]


def find_alert_by_key(tx: Tx, key: str) -> Alert | None:
    """Return the alert that was raised under a key."""
    row = tx.execute(select(alerts).where(alerts.c.project_id == tx.project, alerts.c.key == key)).first()
    return None if row is None else _alert(row)


def insert_alert(tx: Tx, alert: Alert, key: str) -> None:
    """Add an alert."""
    values = {name: getattr(alert, name) for name in alert.__struct_fields__}
    tx.execute(insert(alerts), {"project_id": tx.project, "key": key, **values})


def list_alerts(tx: Tx, *, incident_id: str | None, subject: str | None, limit: int) -> list[Alert]:
    """Return alerts, newest first."""
    statement = select(alerts).where(alerts.c.project_id == tx.project)
    if incident_id is not None:
        statement = statement.where(alerts.c.incident_id == incident_id)
    if subject is not None:
        statement = statement.where(alerts.c.subject == subject)
    rows = tx.execute(statement.order_by(alerts.c.event_at.desc(), alerts.c.alert_id.desc()).limit(limit))
    return [_alert(row) for row in rows]


def _alert(row: Row[Any]) -> Alert:
    values = {name: value for name, value in row._mapping.items() if name not in ("project_id", "key")}
    return Alert(**values)


def find_incident(tx: Tx, incident_id: str) -> Incident | None:
    """Return one incident."""
    statement = select(incidents).where(incidents.c.project_id == tx.project, incidents.c.incident_id == incident_id)
    row = tx.execute(statement).first()
    return None if row is None else _incident(row)


def insert_incident(tx: Tx, incident: Incident) -> None:
    """Add an incident."""
    values = {name: getattr(incident, name) for name in incident.__struct_fields__}
    tx.execute(insert(incidents), {"project_id": tx.project, **values})


def update_incident(tx: Tx, incident_id: str, **values: Any) -> None:
    """Change columns of an incident."""
    statement = update(incidents).where(incidents.c.project_id == tx.project, incidents.c.incident_id == incident_id)
    tx.execute(statement.values(**values))


def list_incidents(
    tx: Tx,
    *,
    states: Sequence[str] = (),
    subject: str | None = None,
    kind: str | None = None,
    needs_person: bool | None = None,
    start_at: int | None = None,
    end_at: int | None = None,
    limit: int | None = 100,
) -> list[Incident]:
    """Return incidents, newest first; by time: those that were live at some moment of ``[start_at, end_at)``."""
    statement = select(incidents).where(incidents.c.project_id == tx.project)
    if states:
        statement = statement.where(incidents.c.state.in_(list(states)))
    if subject is not None:
        statement = statement.where(incidents.c.subject == subject)
    if kind is not None:
        statement = statement.where(incidents.c.kind == kind)
    if needs_person is not None:
        statement = statement.where(incidents.c.needs_person.is_(needs_person))
    if start_at is not None:
        statement = statement.where(incidents.c.last_at >= start_at)
    if end_at is not None:
        statement = statement.where(incidents.c.opened_at < end_at)
    rows = tx.execute(statement.order_by(incidents.c.opened_at.desc(), incidents.c.incident_id.desc()).limit(limit))
    return [_incident(row) for row in rows]


def _incident(row: Row[Any]) -> Incident:
    values = dict(row._mapping)
    values.pop("project_id")
    return Incident(**values)
