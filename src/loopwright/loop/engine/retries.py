"""Trying again what the platform does by itself: how often, after which pauses, and who is told in the end."""

import logging
from typing import Any, NamedTuple

from loopwright import monitoring
from loopwright.kernel.clock import SECOND_US
from loopwright.kernel.errors import LoopwrightError, Unavailable
from loopwright.kernel.storable import storable_text
from loopwright.store.tx import Tx

log = logging.getLogger("loopwright.loop")

PAUSES_S = (1.0, 5.0, 30.0, 120.0, 600.0)
"""Pauses before a call that failed is tried again; after the last one a person is told."""
REPLAY_PAUSES_S = (0.05, 0.2, 0.5)
"""The same in a project on a replay clock, where somebody waits for its time to pass and nothing heals by waiting."""


class NextTry(NamedTuple):
    """When a call that failed is tried again, wall clock, microseconds UTC; and whether a person is told of it now."""

    at_us: int | None
    is_told: bool


def next_try(tx: Tx, failures: int, error: Exception) -> NextTry:
    """Return what becomes of a call that failed and had failed so often before.

    After its last pause it is given up, and a person is told; what a part of the platform was not there for is told
    then too, and goes on being tried: it is nobody's fault, and one day over. No event time passes: on a replay clock
    it is tried again at the very moment at which it was due.
    """
    pauses = PAUSES_S if tx.clock is tx.wall else REPLAY_PAUSES_S
    is_passing = isinstance(error, Unavailable)
    is_over = failures >= len(pauses)
    at_us = None if is_over and not is_passing else tx.wall_us + int(pauses[min(failures, len(pauses) - 1)] * SECOND_US)
    return NextTry(at_us, is_told=failures == len(pauses) if is_passing else is_over)


def says(error: Exception) -> str:
    """Return an error in words that can be stored; of a fault of ours with its kind."""
    return storable_text(str(error) if isinstance(error, LoopwrightError) else f"{type(error).__name__}: {error}")


def tell_person(tx: Tx, subject: str, kind: str, message: str, facts: dict[str, Any]) -> None:
    """Open an incident for what is given up, or add to the one there is.

    Where that cannot be done either, what is given up is given up all the same: its event tells of it.
    """
    try:
        with tx.connection.begin_nested():
            monitoring.raise_alert(tx, subject=subject, kind=kind, message=message, facts=facts)
    except LoopwrightError:
        log.exception("no incident could be opened: %s", message)


def settle_incident(tx: Tx, subject: str, kind: str, reason: str) -> None:
    """Resolve the incident that was opened for something that goes well again."""
    for incident in monitoring.live_incidents(tx, subject=subject, kind=kind):
        monitoring.resolve(tx, incident_id=incident.incident_id, reason=reason)
