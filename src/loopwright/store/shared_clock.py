"""The wall clock of servers on one PostgreSQL: the clock of the database, so that leases mean the same to all."""

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from loopwright.kernel.clock import SECOND_US, Clock, WallClock
from loopwright.kernel.errors import LoopwrightError
from loopwright.store.engine import Database
from loopwright.store.lease import now_us as database_now_us
from loopwright.store.statements import Statement

MEASURED_EVERY_US = 20 * SECOND_US
_ask = Statement(select(database_now_us))


class SharedClock:
    """The machine's clock, set right by how far it was from the database's when that was last asked.

    It never goes back: where it was ahead it stands still until it is not.

    Args:
        database: A PostgreSQL.
        own: The machine's clock.
    """

    def __init__(self, database: Database, own: Clock) -> None:
        self._database, self._own = database, own
        self._offset_us, self._asked_at, self._told = 0, -MEASURED_EVERY_US, 0
        self.measure()

    def now_us(self) -> int:
        """Return microseconds since the epoch, UTC."""
        self._told = max(self._told, self._own.now_us() + self._offset_us)
        return self._told

    def measure(self) -> None:
        """Ask the database, unless that was done a moment ago; where it does not answer, what was known stays."""
        before = self._own.now_us()
        if 0 <= before - self._asked_at < MEASURED_EVERY_US:
            return
        try:
            there = int(self._database.read(_ask.scalar))
        except (LoopwrightError, SQLAlchemyError):
            return
        self._asked_at = self._own.now_us()
        self._offset_us = there - (before + self._asked_at) // 2


def wall_of(database: Database) -> Clock:
    """Return the wall clock of a server on a database."""
    return WallClock() if database.is_sqlite else SharedClock(database, WallClock())
