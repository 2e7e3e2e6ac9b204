"""The online store in one SQLite file: readers never wait, writers take turns."""

import json
import logging
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loopwright.data import known
from loopwright.features.online.base import SLACK_US, Entities, Forgotten, Lookup, Part, Pushed
from loopwright.features.online.latest import LatestArrival, newest_event_at
from loopwright.features.online.places import RETURNS_ROOM, SCHEMA
from loopwright.features.online.state import Arrival, in_parts, look_up, merge
from loopwright.features.online.windows import WindowArrival
from loopwright.features.plans import used_columns
from loopwright.features.pointintime import NEVER
from loopwright.features.rows import DatasetRows, aggregate_rows, latest_rows
from loopwright.features.types import AggregateViewSpec, BoundView, ColumnViewSpec
from loopwright.kernel.clock import DAY_US, format_moment
from loopwright.kernel.errors import InvalidInput, StorageFull, Unavailable

MOST_ROWS = 2048
"""How many newest rows of an entity a column view answers from at most, where rows are denser than the slack."""
LATE_REQUESTS_US = 7 * DAY_US
"""How much longer than its time to live and the slack a value is kept that nothing can answer with any more."""
_READ = """
SELECT view_key, entity, body FROM json_each(?) AS wanted CROSS JOIN json_each(wanted.value) AS names
CROSS JOIN online ON view_key = wanted.key AND entity = names.value
"""
"""Bodies by JSON of view keys and their entities; the joins are crossed so that they are looked up in this order."""
_HOLDS = """
SELECT value FROM json_each(?)
WHERE EXISTS (SELECT 1 FROM online WHERE view_key = value) OR EXISTS (SELECT 1 FROM fills WHERE view_key = value)
"""
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
_WAL_BYTES = 32 << 20
_WRITE = "INSERT INTO online VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET body = excluded.body"

log = logging.getLogger("loopwright.features")


class SqliteOnlineStore:
    """Recent rows of each (view, entity) in a SQLite file.

    Args:
        url: A path, or ``sqlite:///path``.
        slack_us: How far moments may lie behind an entity's newest row.
        most_rows: How many newest rows of an entity a column view answers from at most.
    """

    def __init__(self, url: str | Path, slack_us: int = SLACK_US, most_rows: int = MOST_ROWS) -> None:
        self.path = Path(str(url).removeprefix("sqlite:///"))
        self.slack_us = slack_us
        self.most_rows = most_rows
        self._of_thread = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._translated():
            self._connection()

    def push(self, views: Sequence[BoundView], frame: pl.DataFrame, now_us: int | None = None) -> Pushed:
        """Merge rows of one dataset, after its transform, into every view of it."""
        return self.push_together([Part(views, frame)], now_us)

    def push_together(
        self, parts: Sequence[Part], now_us: int | None = None, before_commit: Callable[[], None] = lambda: None
    ) -> Pushed:
        """Merge several frames of one dataset, all or none; ``before_commit`` may still refuse."""
        arrivals: dict[str, Arrival] = {}
        for views, frame in parts:
            if not views or frame.is_empty():
                continue
            rows = DatasetRows(views[0].dataset, frame)
            if now_us is not None:
                _refuse_future(rows, now_us)
            arrivals |= {view.key: self._arrival(view, rows) for view in views}
        changed = 0
        if arrivals:
            with self._writing() as connection:
                changed = self._merge(connection, list(arrivals.values()))
                before_commit()
        else:
            before_commit()
        return Pushed(max((part.frame.height for part in parts), default=0), changed)

    def fill(self, view: BoundView, frame: pl.DataFrame, fragments: Iterable[str], until_us: int) -> Pushed:
        """Merge rows of a dataset version in bulk, without those after ``until_us``, and remember these fragments.

        Some entities at a time, so that pushes get their turn; broken off, the next fill merges the same rows again.
        """
        rows = DatasetRows(view.dataset, frame)
        is_early = rows.event_at <= until_us
        if not is_early.all():
            rows = DatasetRows(view.dataset, frame.filter(pl.Series(is_early)))
        arrival = self._arrival(view, rows)
        changed = sum(self._merge_beside(part) for part in in_parts(arrival, _ENTITIES_AT_ONCE))
        with self._writing() as connection:
            marks = [(view.key, fragment) for fragment in fragments]
            connection.executemany("INSERT OR IGNORE INTO fills VALUES (?, ?)", marks)
        return Pushed(rows.frame.height, changed)

    def filled(self, view_key: str) -> set[str]:
        """Return the digests of the fragments that a view was filled from."""
        with self._translated():
            rows = self._connection().execute("SELECT fragment FROM fills WHERE view_key = ?", (view_key,))
            return {fragment for (fragment,) in rows}

    def empty(self, view_keys: Iterable[str]) -> set[str]:
        """Return those views that hold no rows and were never filled."""
        asked = set(view_keys)
        with self._translated():
            return asked - {key for (key,) in self._connection().execute(_HOLDS, (json.dumps(sorted(asked)),))}

    def forget(self, view_key: str) -> int:
        """Drop every row of a view, some at a time, so that pushes get their turn; return how many entities it had."""
        # First what says that it was filled: broken off here, the next fill brings back what is gone.
        with self._writing() as connection:
            connection.execute("DELETE FROM fills WHERE view_key = ?", (view_key,))
        dropped = 0
        while some := self._forget_some(view_key):
            dropped += some
        return dropped

    def _forget_some(self, view_key: str) -> int:
        with self._writing() as connection:
            return connection.execute(_FORGET_SOME, (view_key, view_key, _ENTITIES_AT_ONCE)).rowcount

    def view_keys(self, project: str) -> set[str]:
        """Return the keys of a project's views that hold rows or were filled."""
        with self._translated():
            bounds = {"first": f"{project}/", "end": f"{project}0"}  # the character after the slash
            return {key for (key,) in self._connection().execute(_KEYS, bounds)}

    def forget_expired(self, view: BoundView, now_us: int) -> Forgotten:
        """Drop entities of a column view whose every value is older than its time to live, with room for late requests.

        Some at a time; one that a push changes meanwhile stays.
        """
        spec = view.view
        if not isinstance(spec, ColumnViewSpec) or spec.ttl_us is None:
            return Forgotten(0, 0)
        before_us = now_us - spec.ttl_us - self.slack_us - LATE_REQUESTS_US
        after, entities, size_bytes = "", 0, 0
        while some := self._some_bodies(view.key, after):
            after = some[-1][0]
            old = [(view.key, entity, body) for entity, body in some if newest_event_at(body) < before_us]
            gone = self._forget_bodies(old) if old else []
            entities, size_bytes = entities + len(gone), size_bytes + sum(gone)
        return Forgotten(entities, size_bytes)

    def _forget_bodies(self, old: Sequence[tuple[str, str, bytes]]) -> list[int]:
        """Drop bodies, by view key and entity, that are as they were read; return the sizes of those."""
        with self._writing() as connection:
            return [len(place[2]) for place in old if connection.execute(_FORGET_BODY, place).rowcount]

    def _some_bodies(self, view_key: str, after: str) -> list[tuple[str, bytes]]:
        with self._translated():
            return self._connection().execute(_SOME_BODIES, (view_key, after, _ENTITIES_AT_ONCE)).fetchall()

    def shrink(self) -> int:
        """Give the room of what was dropped back to the disk, some pages at a time; return how many bytes."""
        with self._translated():
            connection = self._connection()
            page_bytes, pages = _pragma(connection, "page_size"), _pragma(connection, "page_count")
            if _pragma(connection, "auto_vacuum") == 0:
                self._rebuild(connection, (pages - _pragma(connection, "freelist_count")) * page_bytes)
            free = _pragma(connection, "freelist_count")
            while free:
                connection.executescript(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})")  # ``execute`` takes one page
                before, free = free, _pragma(connection, "freelist_count")
                if free >= before:  # others drop faster, or the file cannot shrink: the next time
                    break
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()  # the file is cut off with it
            return max(0, pages - _pragma(connection, "page_count")) * page_bytes

    def _rebuild(self, connection: sqlite3.Connection, kept_bytes: int) -> None:
        """Rewrite the file of an older version, which keeps what room it has, unless pushes would wait too long."""
        if kept_bytes > MOST_REBUILT_BYTES or shutil.disk_usage(self.path.parent).free < 3 * kept_bytes:
            log.warning("%s does not shrink: docs/how-to/free-space.md says how it is rewritten", self.path)
            return
        try:
            connection.execute(RETURNS_ROOM)
            connection.execute("VACUUM")
        except sqlite3.OperationalError as error:
            log.warning("%s could not be rewritten and does not shrink: %s", self.path, error)

    def lookup(
        self,
        views: Sequence[BoundView],
        entities: Entities,
        at_us: Sequence[int] | NDArray[np.int64],
        own: NDArray[np.int64] | None = None,
    ) -> Lookup:
        """Return the views' features at n moments, by the same rule that builds training sets."""
        wanted = {view.key: entities[view.view.entity] for view in views}
        with self._translated():
            bodies = self._read(self._connection(), wanted)
        return look_up(views, entities, np.asarray(at_us, np.int64), bodies, own)

    def close(self) -> None:
        """Let go of the file."""
        for connection in self._opened:
            connection.close()
        self._opened.clear()
        self._of_thread = threading.local()

    def _arrival(self, view: BoundView, rows: DatasetRows) -> Arrival:
        if isinstance(view.view, ColumnViewSpec):
            return LatestArrival(view.key, latest_rows(view.view, rows), self.slack_us)
        return WindowArrival(view.key, aggregate_rows(view.view, rows), _window_us(view, view.view) + self.slack_us)

    def _merge_beside(self, arrival: Arrival) -> int:
        """Merge what arrived while others may write; what they change meanwhile is merged again."""
        with self._translated():
            before = self._stored(self._connection(), [arrival])
        changed = self._changes([arrival], before)
        with self._writing() as connection:
            if self._stored(connection, [arrival]) != before:
                return self._merge(connection, [arrival])
            connection.executemany(_WRITE, changed)
        return len(changed)

    def _merge(self, connection: sqlite3.Connection, arrivals: Sequence[Arrival]) -> int:
        changed = self._changes(arrivals, self._stored(connection, arrivals))
        connection.executemany(_WRITE, changed)
        return len(changed)

    def _changes(
        self, arrivals: Sequence[Arrival], before: Mapping[str, Mapping[str, bytes]]
    ) -> list[tuple[str, str, bytes]]:
        """Return what changes by what arrived: view key, entity and new body."""
        return [
            (view_key, entity, body)
            for view_key, bodies in merge(arrivals, before, self.most_rows).items()
            for entity, body in bodies.items()
            if before[view_key].get(entity) != body
        ]

    def _stored(self, connection: sqlite3.Connection, arrivals: Sequence[Arrival]) -> dict[str, dict[str, bytes]]:
        return self._read(connection, {arrival.view_key: arrival.rows.entity.to_list() for arrival in arrivals})

    @staticmethod
    def _read(
        connection: sqlite3.Connection, entities: Mapping[str, Iterable[str | None]]
    ) -> dict[str, dict[str, bytes]]:
        """Return the bodies of entities of several views, by view key and entity."""
        bodies: dict[str, dict[str, bytes]] = {view_key: {} for view_key in entities}
        wanted = json.dumps({view_key: list(dict.fromkeys(names)) for view_key, names in entities.items()})
        for view_key, entity, body in connection.execute(_READ, (wanted,)).fetchall():
            bodies[view_key][entity] = body
        return bodies

    def _connection(self) -> sqlite3.Connection:
        """Return this thread's connection; a new one where another file has come into the place of the one before."""
        connection: sqlite3.Connection | None = getattr(self._of_thread, "connection", None)
        if connection is not None and self._of_thread.file == self._file():
            return connection
        connection = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(connection)
        except sqlite3.Error:  # no store, or one that cannot be written
            connection.close()
            raise
        self._of_thread.connection, self._of_thread.file = connection, self._file()
        self._opened.append(connection)
        return connection

    @staticmethod
    def _prepare(connection: sqlite3.Connection) -> None:
        # A power cut may take the last rows under NORMAL; everything here can be filled again.
        if _pragma(connection, "page_count") == 0:  # ahead of all others, which make the file
            connection.execute(RETURNS_ROOM)
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=30000", "wal_autocheckpoint=8000"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute(f"PRAGMA journal_size_limit={_WAL_BYTES}")
        connection.executescript(SCHEMA)

    def _file(self) -> tuple[int, int]:
        """Return what tells the file apart from another of its name."""
        try:
            status = self.path.stat()
        except OSError:
            return (0, 0)
        return (status.st_dev, status.st_ino)

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._translated():
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if "full" in str(error):
                raise StorageFull("the disk is full; nothing was written", value=str(self.path)) from None
            step = "run loopwright doctor; the file may be deleted and filled again by features.start_materialize"
            message = f"the online store did not answer: {error}"
            raise Unavailable(message, value=str(self.path), next_step=step) from None


def _window_us(view: BoundView, spec: AggregateViewSpec) -> int:
    """Return how long a row of an aggregate view may count after it arrived, at most."""
    longest = max(spec.windows_us)
    if spec.counts == "event":
        return longest
    return longest + max(known.known_moment(view.dataset, column).after_us for column in used_columns(spec))


def _refuse_future(rows: DatasetRows, now_us: int) -> None:
    is_future = (rows.event_at > now_us + DAY_US) & (rows.event_at != NEVER)
    if is_future.any():
        first = int(np.argmax(is_future))
        raise InvalidInput(
            "this row lies in the future",
            field=f"rows[{first}].{rows.dataset.time}",
            value=format_moment(int(rows.event_at[first])),
            rule=f"at most a day after {format_moment(now_us)}",
        )


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
