"""Statements of disks with hardly any room left, and of what else servers cannot do."""

from sqlalchemy import Connection, delete, or_, select

from loopwright.store.sql.rows import begins_with, upsert
from loopwright.store.tables import low_disks
from loopwright.store.types import LowDisk


def upsert_low_disk(connection: Connection, low: LowDisk) -> None:
    """Remember that a disk runs full, or still does."""
    row = {"disk": low.disk, "message": low.message, "since": low.since, "heard_at": low.heard_at}
    upsert(connection, low_disks, [row], key=("disk",), do_update=True)


def delete_low_disk(connection: Connection, disk: str) -> None:
    """Forget that a disk ran full."""
    connection.execute(delete(low_disks).where(low_disks.c.disk == disk))


def find_low_disks(connection: Connection, heard_since: int) -> list[LowDisk]:
    """Return the disks that a server has seen to run full since a moment (wall, microseconds UTC), by name.

    What one server does for all is tried seldom, so there the last word counts, however old it is.
    """
    is_told = or_(low_disks.c.heard_at >= heard_since, begins_with(low_disks.c.disk, ":"))
    statement = select(low_disks).where(is_told).order_by(low_disks.c.disk)
    return [LowDisk(**row._mapping) for row in connection.execute(statement)]
