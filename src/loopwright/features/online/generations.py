"""Generations of a view: its rows answer from one while the next is filled beside it and then takes its place at once.

What is pushed or filled in goes into both, so the next one lacks nothing. Whose view has one generation holds its rows
under the view's own key; the others are told apart by what stands after it.
"""

import secrets
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Literal

from loopwright.kernel.errors import Unavailable

_MARK = "~"
_KEPT = "SELECT held_as, grows_as FROM generations WHERE view_key = ?"
_GROW = """
INSERT INTO generations VALUES (:key, :key, :next) ON CONFLICT DO UPDATE SET grows_as = excluded.grows_as
"""
_SWITCH = """
UPDATE generations SET held_as = grows_as, grows_as = NULL WHERE view_key = ? AND grows_as = ?
"""
_NEXT_KEY = {
    "online": "SELECT min(view_key) FROM online WHERE view_key > ?",
    "fills": "SELECT min(view_key) FROM fills WHERE view_key > ?",
}


def next_of(view_key: str) -> str:
    """Return a key for the next generation of a view, that no other has."""
    return f"{view_key}{_MARK}{secrets.token_hex(4)}"


def view_of(generation: str) -> str:
    """Return the key of the view that a generation is of."""
    return generation.partition(_MARK)[0]


def kept(connection: sqlite3.Connection, view_key: str) -> list[str]:
    """Return the generations that a view has: the one that answers and, where there is one, the next."""
    found = connection.execute(_KEPT, (view_key,)).fetchone()
    return [view_key] if found is None else [each for each in found if each]


def taking(connection: sqlite3.Connection, key: str) -> list[str]:
    """Return where rows go: of a view, into its generations; of a generation that is filled, into that alone.

    Raises:
        Unavailable: Another one was begun in place of this generation.
    """
    view_key = view_of(key)
    generations = kept(connection, view_key)
    if key == view_key:
        return generations
    if key not in generations[1:]:
        raise overtaken(key)
    return [key]


def grow(connection: sqlite3.Connection, view_key: str) -> str:
    """Begin the next generation of a view, in place of one that was begun and not finished; return it."""
    generation = next_of(view_key)
    connection.execute(_GROW, {"key": view_key, "next": generation})
    return generation


def switch(connection: sqlite3.Connection, generation: str) -> None:
    """Let the next generation answer from now on; one that does already goes on.

    Raises:
        Unavailable: It is no longer the next one.
    """
    if kept(connection, view_of(generation))[0] == generation:
        return
    if connection.execute(_SWITCH, (view_of(generation), generation)).rowcount == 0:
        raise overtaken(generation)


def forget(connection: sqlite3.Connection, view_key: str) -> None:
    """Forget the generations of a view and what each was filled from; their rows are left over."""
    _forget_marks(connection, (view_key, *kept(connection, view_key)))
    connection.execute("DELETE FROM generations WHERE view_key = ?", (view_key,))


def forget_marks(connection: sqlite3.Connection, view_keys: Sequence[str] | None = None) -> None:
    """Forget what generations were filled from that no longer answer, nor are the next, of these views or of all."""
    _forget_marks(connection, left_over(connection, view_keys, "fills"))


def _forget_marks(connection: sqlite3.Connection, generations: Iterable[str]) -> None:
    connection.executemany("DELETE FROM fills WHERE view_key = ?", [(each,) for each in generations])


def left_over(
    connection: sqlite3.Connection,
    view_keys: Sequence[str] | None = None,
    table: Literal["online", "fills"] = "online",
) -> list[str]:
    """Return generations that stand in a table and no longer answer, nor are the next, of these views or of all."""
    found, key = [], ""
    while (key := connection.execute(_NEXT_KEY[table], (key,)).fetchone()[0]) is not None:
        view_key = view_of(key)
        if (view_keys is None or view_key in view_keys) and key not in kept(connection, view_key):
            found.append(key)
    return found


def overtaken(generation: str) -> Unavailable:
    """Return the error of a fill in whose place another was begun."""
    return Unavailable("another fill of this view from its beginning began meanwhile", value=view_of(generation))
