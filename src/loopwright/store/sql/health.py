"""Statements that say how the store does, of all projects together."""

from typing import TYPE_CHECKING

from sqlalchemy import func, select, text

from loopwright.store.tables import events, jobs
from loopwright.store.types import Queue

if TYPE_CHECKING:
    from loopwright.store.tx import Tx

_depths = (
    select(jobs.c.kind, jobs.c.state, func.count().label("jobs"), func.min(jobs.c.recorded_at).label("oldest_at"))
    .where(jobs.c.state.in_(("queued", "running")))
    .group_by(jobs.c.kind, jobs.c.state)
    .order_by(jobs.c.kind, jobs.c.state)
)
_unsealed = select(func.count()).select_from(events).where(events.c.position.is_(None))
_oldest_unsealed = select(func.min(events.c.recorded_at)).where(events.c.position.is_(None))
_sizes = {
    "sqlite": text("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"),
    "postgresql": text("SELECT pg_database_size(current_database())"),
}


def queue_depths(tx: "Tx") -> list[Queue]:
    """Return how many jobs of each kind wait or run."""
    return [Queue(row.kind, row.state, row.jobs, row.oldest_at) for row in tx.execute(_depths)]


def count_unsealed(tx: "Tx") -> int:
    """Return how many events are not in the chain yet."""
    return int(tx.execute(_unsealed).scalar_one())


def oldest_unsealed(tx: "Tx") -> int | None:
    """Return when the oldest event was recorded that is not in the chain yet, wall clock; None where all are."""
    oldest: int | None = tx.execute(_oldest_unsealed).scalar_one()
    return oldest


def size_bytes(tx: "Tx") -> int:
    """Return the size of the database in bytes; of SQLite without what its write-ahead log adds."""
    return int(tx.execute(_sizes[tx.connection.dialect.name]).scalar_one())
