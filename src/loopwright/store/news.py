"""News: what a transaction tells those who wait for commits, by topic, so that a commit wakes only who asked for it."""

from collections.abc import Callable

from sqlalchemy import Connection

Listener = Callable[[frozenset[str]], None]
"""Is called with the topics of what was committed, in the thread that committed it."""

EVENTS = "events"
"""Events stand in the log, sealed."""
JOBS = "jobs.queued"
"""A job waits for a worker."""
GATEWAYS = "gateways"
"""A gateway has taken up another release."""

_TOLD = "loopwright_told"


def tell(connection: Connection, *topics: str) -> None:
    """Note what the open transaction will have told once it commits."""
    connection.info.setdefault(_TOLD, set()).update(topics)


def take_news(connection: Connection) -> frozenset[str]:
    """Return what was noted since the last time, and forget it."""
    return frozenset(connection.info.pop(_TOLD, ()))
