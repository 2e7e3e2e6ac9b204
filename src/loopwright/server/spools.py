"""Spools that nobody seals: rows that were acknowledged lie in the state folder, and no gateway works there."""

import socket
from pathlib import Path

from loopwright.kernel.clock import MINUTE_US, Clock
from loopwright.store import sql
from loopwright.store.backups import Waiting, waiting
from loopwright.store.engine import Connection, Database
from loopwright.store.types import SPOOL, LowDisk
from loopwright.wire.folders import is_held

UNTENDED_US = MINUTE_US
"""A gateway that is started again works on its folder well before."""


def untended(state_dir: Path) -> list[Waiting]:
    """Return the spools of a state folder in which rows wait and on which no gateway works."""
    return [one for one in waiting(state_dir) if one.files and not is_held(Path(one.folder) / "lock")]


class SpoolWatch:
    """Looks for spools that nobody seals, and tells the database of those that stay so.

    Args:
        state_dir: Where the spools are.
        database: What is told.
        wall: Wall time.
    """

    def __init__(self, state_dir: Path, database: Database, wall: Clock) -> None:
        self._state_dir, self._database, self._wall = state_dir.resolve(), database, wall
        self._host = socket.gethostname()
        self._since: dict[str, int] = {}
        self._told: dict[str, LowDisk] | None = None
        """By name, None before those are known that a server before this one told."""

    def look(self) -> None:
        """Look, and tell what has changed, or has to be told again for it lasts."""
        now_us = self._wall.now_us()
        found = {f"{self._host}:{SPOOL}{one.folder}": one for one in untended(self._state_dir)}
        told = self._known() if self._told is None else self._told
        self._since = {name: self._since.get(name, told[name].since if name in told else now_us) for name in found}
        lows = {
            name: LowDisk(name, one.sentence, self._since[name], now_us)
            for name, one in found.items()
            if now_us - self._since[name] >= UNTENDED_US
        }
        news = [low for low in lows.values() if _is_news(low, told.get(low.disk))]
        gone = told.keys() - lows.keys()

        def tell(connection: Connection) -> None:
            for low in news:
                sql.upsert_low_disk(connection, low)
            for name in gone:
                sql.delete_low_disk(connection, name)

        if news or gone:
            self._database.write(tell)
        self._told = {name: low for name, low in told.items() if name in lows} | {low.disk: low for low in news}

    def _known(self) -> dict[str, LowDisk]:
        own = f"{self._host}:{SPOOL}{self._state_dir}/"
        lows = self._database.read(lambda connection: sql.find_low_disks(connection, 0))
        return {low.disk: low for low in lows if low.disk.startswith(own)}


def _is_news(low: LowDisk, before: LowDisk | None) -> bool:
    return before is None or before.message != low.message or low.heard_at - before.heard_at >= MINUTE_US
