"""What the loops of a server cannot do: told in the database as long as it lasts, so that it is on every page.

A row and no memory of the process: it is there after a restart, whichever server is asked. What one server does for all
has one row, which the next that does it removes; what each does for itself has a row that names the machine, and tells
nothing any more when nobody has confirmed it for some minutes.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from loopwright.kernel.clock import MINUTE_US, Clock
from loopwright.kernel.errors import LoopwrightError
from loopwright.store import sql
from loopwright.store.engine import Database
from loopwright.store.types import LowDisk, loop_key

CONFIRMED_EVERY_US = MINUTE_US


class Loops:
    """Tells what fails in the loops of one server.

    Args:
        database: What is told.
        wall: Wall time.
    """

    def __init__(self, database: Database, wall: Clock) -> None:
        self._database, self._wall = database, wall
        self._told: dict[str, LowDisk] = {}
        self._looked_at: int | None = None

    @contextmanager
    def told(self, what: str, project: str = "", *, is_own: bool = False) -> Iterator[None]:
        """Run one turn of a loop: tell that it failed, or that it works again.

        Args:
            what: What the loop does, as a person reads it.
            project: The one for which it was done; empty for all.
            is_own: Every server does it for itself.
        """
        key = loop_key(what, project, socket.gethostname() if is_own else "")
        try:
            yield
        except Exception as error:
            self._database.note(error)
            self._fail(key, error)
            raise
        self._look()
        if key in self._told:
            self._database.write(lambda connection: sql.delete_low_disk(connection, key))
            self._told.pop(key, None)

    def _look(self) -> None:
        """Look now and then what other servers told, and those before this one: what works here takes that back too."""
        now_us = self._wall.now_us()
        if self._looked_at is None or now_us - self._looked_at >= CONFIRMED_EVERY_US:
            for low in self._database.read(lambda connection: sql.find_low_disks(connection, 0)):
                if low.loop:
                    self._told.setdefault(low.disk, low)
            self._looked_at = now_us

    def _fail(self, key: str, error: Exception) -> None:
        if self._database.failure:  # nothing can be written, and whoever asks hears that the server is not ready
            return
        # What is no error of ours was written for nobody to read, and may hold anything.
        message = error.message if isinstance(error, LoopwrightError) else f"{type(error).__name__}, see the log"
        now_us, told = self._wall.now_us(), self._told.get(key)
        if told is not None and told.message == message and now_us - told.heard_at < CONFIRMED_EVERY_US:
            return
        low = LowDisk(key, message, now_us if told is None else told.since, now_us)
        try:
            self._database.write(lambda connection: sql.upsert_low_disk(connection, low))
        except LoopwrightError as trouble:  # the loop's own error is the news
            self._database.note(trouble)
        else:
            self._told[key] = low
