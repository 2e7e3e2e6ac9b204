"""The wall clock of servers on one PostgreSQL: the clock of the database, so that leases mean the same to all."""

import logging

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from loopwright.kernel.clock import MINUTE_US, SECOND_US, Clock, SteadyClock, WallClock
from loopwright.kernel.errors import LoopwrightError
from loopwright.store.engine import Database
from loopwright.store.lease import now_us as database_now_us
from loopwright.store.statements import Statement

log = logging.getLogger("loopwright.clock")

MEASURED_EVERY_US = 20 * SECOND_US
MOST_STILL_US = MINUTE_US
"""How long it stands still at most where it was ahead."""
_ask = Statement(select(database_now_us))


class SharedClock:
    """The database's clock as it was last asked, and how long ago that was by a clock that nobody sets.

    It does not go back: where it was ahead it stands still until it is not. Only where that would take more than a
    minute it does, for leases would not run out and no timer would fire meanwhile.

    Args:
        database: A PostgreSQL.
        own: The machine's clock, believed until the database has answered.
        steady: Tells how long ago something was.
    """

    def __init__(self, database: Database, own: Clock, steady: Clock | None = None) -> None:
        self._database, self._steady = database, steady or SteadyClock()
        self._offset_us = own.now_us() - self._steady.now_us()
        self._asked_at: int | None = None
        self._told = 0
        self.measure()

    def now_us(self) -> int:
        """Return microseconds since the epoch, UTC."""
        told, at = self._told, self._steady.now_us() + self._offset_us
        self._told = at = told if 0 < told - at <= MOST_STILL_US else at
        return at

    def measure(self) -> None:
        """Ask the database, unless that was done a moment ago; where it does not answer, what was known stays.

        It is set as little as the answer allows, which was right at some moment between question and answer: one that
        was long in coming says little.
        """
        before = self._steady.now_us()
        if self._asked_at is not None and before - self._asked_at < MEASURED_EVERY_US:
            return
        try:
            there = int(self._database.read(_ask.scalar))
        except (LoopwrightError, SQLAlchemyError):
            return
        self._asked_at = after = self._steady.now_us()
        was_us = self._offset_us
        self._offset_us = min(max(was_us, there - after), there - before)
        moved_us = self._offset_us - was_us
        if abs(moved_us) > MOST_STILL_US:
            log.warning("the time of this server moves by %+.0f s, to that of the database", moved_us / SECOND_US)


def wall_of(database: Database) -> Clock:
    """Return the wall clock of a server on a database.

    With SQLite it is the machine's own, which workers and gateways there read too: once set it is right for all.
    """
    return WallClock() if database.is_sqlite else SharedClock(database, WallClock())
