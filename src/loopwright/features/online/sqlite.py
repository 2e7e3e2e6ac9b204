"""The online store in one SQLite file: readers never wait, writers take turns."""

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loopwright.features.online import generations
from loopwright.features.online.arrivals import (
    ENTITIES_AT_ONCE,
    MOST_ROWS,
    Merging,
    count_entities,
    into_generations,
)
from loopwright.features.online.base import (
    FILLED,
    LONG,
    SLACK_US,
    Entities,
    Level,
    Lookup,
    Part,
    Patience,
    Pushed,
    Tried,
    lost_meanwhile,
)
from loopwright.features.online.file import StoreFile, name_in
from loopwright.features.online.state import Arrival, in_parts, look_up
from loopwright.features.online.upkeep import SqliteUpkeep
from loopwright.features.types import BoundView

_READ = """
SELECT wanted.key, entity, body FROM json_each(?) AS wanted
LEFT JOIN generations ON generations.view_key = wanted.key
CROSS JOIN json_each(wanted.value) AS names
CROSS JOIN online ON online.view_key = ifnull(held_as, wanted.key) AND entity = names.value
"""
"""Bodies by JSON of view keys and their entities; the joins are crossed so that they are looked up in this order."""
_HOLDS = """
SELECT value, CASE
  WHEN EXISTS (SELECT 1 FROM fills WHERE view_key = held AND fragment = '#filled') THEN 'filled'
  WHEN EXISTS (SELECT 1 FROM fills WHERE view_key = held) THEN 'begun'
  WHEN EXISTS (SELECT 1 FROM online WHERE view_key = held) THEN 'rows'
END FROM (
  SELECT value, ifnull(held_as, value) AS held FROM json_each(?) LEFT JOIN generations ON view_key = value
)
"""
_FILLED = """
SELECT fragment FROM fills WHERE view_key = ifnull((SELECT held_as FROM generations WHERE view_key = ?1), ?1)
"""
_WRITE = "INSERT INTO online VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET body = excluded.body"


class SqliteOnlineStore:
    """Recent rows of each (view, entity) in a SQLite file.

    Args:
        url: A path, or ``sqlite:///path``.
        slack_us: How far moments may lie behind an entity's newest row.
        most_rows: How many newest rows of an entity a column view answers from at most.
        patience: How long the file is waited for.
    """

    def __init__(
        self, url: str | Path, slack_us: int = SLACK_US, most_rows: int = MOST_ROWS, patience: Patience = LONG
    ) -> None:
        self._merging = Merging(slack_us, most_rows)
        self.path = Path(str(url).removeprefix("sqlite:///"))
        self._file = StoreFile(self.path, patience)
        self.upkeep = SqliteUpkeep(self._file, slack_us)

    def push(self, views: Sequence[BoundView], frame: pl.DataFrame, now_us: int | None = None) -> Pushed:
        """Merge rows of one dataset, after its transform, into every view of it."""
        return self.push_together([Part(views, frame)], now_us)

    def push_together(
        self, parts: Sequence[Part], now_us: int | None = None, before_commit: Callable[[], None] = lambda: None
    ) -> Pushed:
        """Merge several frames of one dataset, all or none; ``before_commit`` may still refuse."""
        arrivals = self._merging.arrived(parts, now_us)
        changed = 0
        if arrivals:
            with self._file.writing() as connection:
                changed = self._merge(connection, arrivals)
                before_commit()
        else:
            before_commit()
        return Pushed(max((part.frame.height for part in parts), default=0), changed)

    def fill(
        self,
        view: BoundView,
        frame: pl.DataFrame,
        fragments: Iterable[str],
        until_us: int,
        generation: str | None = None,
        name: str = "",
    ) -> Pushed:
        """Merge rows of a dataset version in bulk, without those after ``until_us``, and remember these fragments.

        Some entities at a time, so that pushes get their turn; broken off, the next fill merges the same rows again.
        """
        arrival, height = self._merging.filled_in(view, frame, until_us)
        if generation is not None:
            arrival = arrival._replace(view_key=generation)
        changed = sum(self._merge_meanwhile(part) for part in in_parts(arrival, ENTITIES_AT_ONCE))
        with self._file.writing() as connection:
            _check_name(connection, name)
            into = generations.taking(connection, arrival.view_key)
            marks = [(each, fragment) for fragment in fragments for each in into]
            connection.executemany("INSERT OR IGNORE INTO fills VALUES (?, ?)", marks)
        return Pushed(height, changed)

    def grow(self, view_key: str) -> str:
        """Begin to fill a view anew beside what answers meanwhile; what is pushed goes into both."""
        with self._file.writing() as connection:
            generation = generations.grow(connection, view_key)
        self.upkeep.forget_left_over([view_key])
        return generation

    def switch(self, generation: str) -> int:
        """Let what was filled beside answer from now on, at once, and drop what did, some at a time."""
        with self._file.writing() as connection:
            generations.switch(connection, generation)
        return self.upkeep.forget_left_over([generations.view_of(generation)])

    def filled(self, view_key: str) -> set[str]:
        """Return the digests of the fragments that a view was filled from."""
        with self._file.reading() as connection:
            return {fragment for (fragment,) in connection.execute(_FILLED, (view_key,))} - {FILLED}

    def finish(self, view_key: str, name: str = "") -> int:
        """Remember that a fill of a view has ended; return how many entities the view holds."""
        with self._file.writing() as connection:
            _check_name(connection, name)
            held = generations.kept(connection, view_key)[0]
            connection.execute("INSERT OR IGNORE INTO fills VALUES (?, ?)", (held, FILLED))
        with self._file.reading() as connection:
            return int(connection.execute("SELECT count(*) FROM online WHERE view_key = ?", (held,)).fetchone()[0])

    def held(self, view_keys: Iterable[str]) -> dict[str, Level]:
        """Return what there is of those views that hold rows or were filled."""
        asked = json.dumps(sorted(set(view_keys)))
        with self._file.reading() as connection:
            return {key: level for key, level in connection.execute(_HOLDS, (asked,)) if level is not None}

    def try_out(self, seen: Tried | None = None) -> Tried:
        """Write a little, and return by what this store is known: another name tells that it lost all it held."""
        return Tried(self._file.try_out())

    def lookup(
        self,
        views: Sequence[BoundView],
        entities: Entities,
        at_us: Sequence[int] | NDArray[np.int64],
        own: NDArray[np.int64] | None = None,
        *,
        is_dated: bool = False,
    ) -> Lookup:
        """Return the views' features at n moments, by the same rule that builds training sets."""
        wanted = {view.key: entities[view.view.entity] for view in views}
        with self._file.reading() as connection:
            bodies = self._read(connection, wanted)
        return look_up(views, entities, np.asarray(at_us, np.int64), bodies, own, is_dated=is_dated)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _merge_meanwhile(self, arrival: Arrival) -> int:
        """Merge what arrived while others may write; what they change meanwhile is merged again."""
        with self._file.reading() as connection:
            into = _into(connection, [arrival])
            before = self._stored(connection, into)
        changed = self._merging.changes(into, before)
        with self._file.writing() as connection:
            # Another generation has another key, so that its rows are not the same either.
            if self._stored(connection, _into(connection, [arrival])) != before:
                return self._merge(connection, [arrival])
            connection.executemany(_WRITE, changed)
        return count_entities(changed)

    def _merge(self, connection: sqlite3.Connection, arrivals: Sequence[Arrival]) -> int:
        into = _into(connection, arrivals)
        changed = self._merging.changes(into, self._stored(connection, into))
        connection.executemany(_WRITE, changed)
        return count_entities(changed)

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


def _check_name(connection: sqlite3.Connection, name: str) -> None:
    """Check that a store is known by a name, where there is one."""
    if name and name != name_in(connection):
        raise lost_meanwhile()


def _into(connection: sqlite3.Connection, arrivals: Sequence[Arrival]) -> list[Arrival]:
    return into_generations(arrivals, lambda key: generations.taking(connection, key))
