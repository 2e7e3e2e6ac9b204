"""Leases: at most one process does a thing, across every server of one PostgreSQL."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text

from loopwright.store.engine import Database


@contextmanager
def hold_lease(database: Database, name: str) -> Iterator[bool]:
    """Yield True while this process holds the advisory lock ``name``; False if another one does.

    The lock lives as long as its connection, so a killed process lets go of it.
    """
    key = zlib.crc32(name.encode())
    with database.engine.connect() as connection:
        is_held = bool(connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": key}).scalar())
        connection.commit()
        try:
            yield is_held
        finally:
            if is_held:
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": key})
                connection.commit()
