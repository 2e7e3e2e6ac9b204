"""What an online store in SQLite lets go of: views nobody reads, values nobody can ask for, room on the disk."""

import logging
import shutil
import sqlite3
from collections.abc import Sequence

from loopwright.features.online import generations
from loopwright.features.online.base import Forgotten
from loopwright.features.online.file import StoreFile, pragma
from loopwright.features.online.latest import newest_event_at
from loopwright.features.online.places import RETURNS_ROOM
from loopwright.features.types import BoundView, ColumnViewSpec
from loopwright.kernel.clock import DAY_US

LATE_REQUESTS_US = 7 * DAY_US
"""How much longer than its time to live and the slack a value is kept that nothing can answer with any more."""
_KEYS = """
WITH RECURSIVE held(key) AS (
  SELECT min(view_key) FROM online WHERE view_key >= :first AND view_key < :end
  UNION ALL
  SELECT (SELECT min(view_key) FROM online WHERE view_key > key AND view_key < :end) FROM held WHERE key NOTNULL
)
SELECT key FROM held WHERE key NOTNULL
UNION SELECT view_key FROM fills WHERE view_key >= :first AND view_key < :end
"""
"""Keys of one project, from one to the next: DISTINCT would read every body."""
_SOME_BODIES = "SELECT entity, body FROM online WHERE view_key = ? AND entity > ? ORDER BY entity LIMIT ?"
_FORGET_SOME = """
DELETE FROM online WHERE view_key = ? AND entity IN (SELECT entity FROM online WHERE view_key = ? LIMIT ?)
"""
_FORGET_BODY = "DELETE FROM online WHERE view_key = ? AND entity = ? AND body = ?"
_ENTITIES_AT_ONCE = 2_000
_PAGES_AT_ONCE = 500
MOST_REBUILT_BYTES = 256 << 20
"""A file of an older version with no more rows than this is rewritten once, so that it can shrink from then on.

Pushes wait for that: 264 MB took 4 to 6 seconds on two busy cores, and they wait for 30 at most.
"""

log = logging.getLogger("loopwright.features")


class SqliteUpkeep:
    """Drops rows of a store, some at a time, so that pushes get their turn.

    Args:
        file: The store's file.
        slack_us: How far moments may lie behind an entity's newest row.
    """

    def __init__(self, file: StoreFile, slack_us: int) -> None:
        self._file = file
        self._slack_us = slack_us

    def forget(self, view_key: str) -> int:
        """Drop every row of a view, some at a time, so that pushes get their turn; return how many entities it had."""
        # First what says that it was filled: broken off here, the next fill brings back what is gone.
        with self._file.writing() as connection:
            generations.forget(connection, view_key)
        return self._drop(view_key) + self.forget_left_over([view_key])

    def forget_left_over(self, view_keys: Sequence[str] | None = None) -> int:
        """Drop what neither answers nor is filled, of these views or of all; return how many entities it had."""
        with self._file.writing() as connection:
            generations.forget_marks(connection, view_keys)
        with self._file.reading() as connection:
            left_over = generations.left_over(connection, view_keys)
        return sum(self._drop(generation) for generation in left_over)

    def _drop(self, generation: str) -> int:
        dropped = 0
        while some := self._drop_some(generation):
            dropped += some
        return dropped

    def _drop_some(self, generation: str) -> int:
        with self._file.writing() as connection:
            return connection.execute(_FORGET_SOME, (generation, generation, _ENTITIES_AT_ONCE)).rowcount

    def view_keys(self, project: str) -> set[str]:
        """Return the keys of a project's views that hold rows or were filled."""
        bounds = {"first": f"{project}/", "end": f"{project}0"}  # the character after the slash
        with self._file.reading() as connection:
            return {generations.view_of(key) for (key,) in connection.execute(_KEYS, bounds)}

    def forget_expired(self, view: BoundView, now_us: int) -> Forgotten:
        """Drop entities of a column view whose every value is older than its time to live, with room for late requests.

        Some at a time; one that a push changes meanwhile stays.
        """
        spec = view.view
        if not isinstance(spec, ColumnViewSpec) or spec.ttl_us is None:
            return Forgotten(0, 0)
        before_us = now_us - spec.ttl_us - self._slack_us - LATE_REQUESTS_US
        after, entities, size_bytes = "", 0, 0
        with self._file.reading() as connection:
            generation = generations.kept(connection, view.key)[0]
        while some := self._some_bodies(generation, after):
            after = some[-1][0]
            old = [(generation, entity, body) for entity, body in some if newest_event_at(body) < before_us]
            gone = self._forget_bodies(old) if old else []
            entities, size_bytes = entities + len(gone), size_bytes + sum(gone)
        return Forgotten(entities, size_bytes)

    def _forget_bodies(self, old: Sequence[tuple[str, str, bytes]]) -> list[int]:
        """Drop bodies, by view key and entity, that are as they were read; return the sizes of those."""
        with self._file.writing() as connection:
            return [len(place[2]) for place in old if connection.execute(_FORGET_BODY, place).rowcount]

    def _some_bodies(self, view_key: str, after: str) -> list[tuple[str, bytes]]:
        with self._file.reading() as connection:
            return connection.execute(_SOME_BODIES, (view_key, after, _ENTITIES_AT_ONCE)).fetchall()

    def shrink(self) -> int:
        """Give the room of what was dropped back to the disk, some pages at a time; return how many bytes."""
        with self._file.opened() as connection:
            page_bytes, pages = pragma(connection, "page_size"), pragma(connection, "page_count")
            if pragma(connection, "auto_vacuum") == 0:
                self._rebuild(connection, (pages - pragma(connection, "freelist_count")) * page_bytes)
        while self._return_some():
            pass
        with self._file.opened() as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()  # the file is cut off with it
            return max(0, pages - pragma(connection, "page_count")) * page_bytes

    def _return_some(self) -> bool:
        """Give some pages back, in the time of one answer; say whether there are more to give."""
        with self._file.opened() as connection:
            before = pragma(connection, "freelist_count")
            connection.executescript(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})")  # ``execute`` takes one page
            # Where there are as many others drop faster, or the file cannot shrink: the next time.
            return 0 < pragma(connection, "freelist_count") < before

    def _rebuild(self, connection: sqlite3.Connection, kept_bytes: int) -> None:
        """Rewrite the file of an older version, which keeps what room it has, unless pushes would wait too long."""
        if kept_bytes > MOST_REBUILT_BYTES or shutil.disk_usage(self._file.path.parent).free < 3 * kept_bytes:
            log.warning("%s does not shrink: docs/how-to/free-space.md says how it is rewritten", self._file.path)
            return
        try:
            connection.execute(RETURNS_ROOM)
            connection.execute("VACUUM")
        except sqlite3.OperationalError as error:
            log.warning("%s could not be rewritten and does not shrink: %s", self._file.path, error)
