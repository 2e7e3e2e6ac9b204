"""Queries of monitors: what is watched of which deployment."""

from loopwright import serving
from loopwright.kernel.errors import NotFound
from loopwright.kernel.verbs import Role, query
from loopwright.monitoring import sql
from loopwright.monitoring.types import CurrentWindow, Monitor
from loopwright.store import sql as store_sql
from loopwright.store.tx import Tx


@query("monitoring.get")
def get(tx: Tx, *, deployment: str) -> Monitor:
    """Return what is watched of a deployment."""
    monitor = sql.find_monitor(tx, deployment)
    if monitor is None:
        raise _unknown(deployment)
    return monitor


@query("monitoring.list", role=Role.VIEWER)
def list_monitors(tx: Tx) -> list[Monitor]:
    """Return every monitor of the project."""
    return sql.list_monitors(tx)


@query("monitoring.current_window")
def current_window(tx: Tx, *, deployment: str) -> CurrentWindow | None:
    """Return the window that has not ended, and how many rows it has so far; None where none has begun."""
    monitor = get(tx, deployment=deployment)
    if monitor.next_at is None:
        return None
    every_us = monitor.spec.every_us
    start_at = max(monitor.next_at, tx.now_us - tx.now_us % every_us)
    rows = store_sql.count_rows_from(tx.connection, tx.project, "predictions", deployment, start_at, serving.SCORERS)
    return CurrentWindow(start_at, start_at + every_us, start_at + every_us + monitor.spec.grace_us, rows)


def _unknown(deployment: str) -> NotFound:
    return NotFound(
        f"nothing watches {deployment}",
        field="deployment",
        value=deployment,
        next_step="p.deployment(..., monitor=lw.Monitor(every='1d')), then loopwright apply FILE",
    )
