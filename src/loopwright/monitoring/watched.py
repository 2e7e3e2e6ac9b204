"""Queries of monitors: what is watched of which deployment."""

from loopwright.kernel.errors import NotFound
from loopwright.kernel.verbs import Role, query
from loopwright.monitoring import sql
from loopwright.monitoring.types import Monitor
from loopwright.store.tx import Tx


@query("monitoring.get")
def get(tx: Tx, *, deployment: str) -> Monitor:
    """Return what is watched of a deployment."""
    found = sql.find_monitor(tx, deployment)
    if found is None:
        raise _unknown(deployment)
    return found


@query("monitoring.list", role=Role.VIEWER)
def list_monitors(tx: Tx) -> list[Monitor]:
    """Return every monitor of the project."""
    return sql.list_monitors(tx)


def _unknown(deployment: str) -> NotFound:
    return NotFound(
        f"nothing watches {deployment}",
        field="deployment",
        value=deployment,
        next_step="p.deployment(..., monitor=lw.Monitor(every='1d')), then loopwright apply FILE",
    )
