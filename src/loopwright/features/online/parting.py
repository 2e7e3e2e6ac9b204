"""Parting the one online store of older versions, which held the rows of every project, into one for each."""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

from loopwright.features.online.places import FILE, RETURNS_ROOM, SCHEMA, online_url
from loopwright.kernel.errors import Unavailable
from loopwright.wire.folders import hold_folder

_WAIT_S = 600.0

log = logging.getLogger("loopwright.features")


def part_projects(state_dir: Path) -> list[str]:
    """Part the one store of older versions into one for each project; return which, none where that was done before.

    The store is derived: a file that cannot be read is set aside, and views are filled again.

    Raises:
        Unavailable: Another process has been at it for ten minutes, or the folder cannot be written.
    """
    old = state_dir / FILE
    if not old.exists():
        return []
    with hold_folder(state_dir / "online.parting", _WAIT_S, lambda: _busy(state_dir)):
        if not old.exists():
            return []
        try:
            projects = _part(old, state_dir)
        except sqlite3.DatabaseError as error:
            log.error("the online store %s cannot be read and is set aside; fill the views again: %s", old, error)
            old.replace(old.with_suffix(".unreadable"))
            projects = []
        for leftover in (old, *(old.with_name(f"{FILE}-{end}") for end in ("wal", "shm"))):
            leftover.unlink(missing_ok=True)
        return projects


def _part(old: Path, state_dir: Path) -> list[str]:
    with closing(sqlite3.connect(old, isolation_level=None)) as connection:
        keys = "SELECT view_key FROM online UNION SELECT view_key FROM fills"
        cursor = connection.execute(f"SELECT DISTINCT substr(view_key, 1, instr(view_key, '/') - 1) FROM ({keys})")
        projects = sorted(project for (project,) in cursor.fetchall() if project)
        for project in projects:
            target = Path(online_url(state_dir, project))
            if not target.exists():  # else a life before was killed on its way, after this one
                _copy(connection, project, target, old.with_suffix(".draft"))
    return projects


def _copy(connection: sqlite3.Connection, project: str, target: Path, draft: Path) -> None:
    draft.unlink(missing_ok=True)
    with closing(sqlite3.connect(draft)) as made:
        made.execute(RETURNS_ROOM)
        made.executescript(SCHEMA)
    connection.execute("ATTACH ? AS part", (str(draft),))
    try:
        connection.execute("BEGIN")
        for table in ("online", "fills"):  # 0 comes after /
            rows = f"SELECT * FROM main.{table} WHERE view_key > ? || '/' AND view_key < ? || '0'"
            connection.execute(f"INSERT INTO part.{table} {rows}", (project, project))
        connection.execute("COMMIT")
    finally:
        connection.execute("DETACH part")
    draft.replace(target)


def _busy(state_dir: Path) -> Unavailable:
    return Unavailable("another process parts the online store", value=str(state_dir), next_step="start again later")
