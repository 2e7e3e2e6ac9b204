"""A file that others write as they like does nothing to whoever opens it: no endless work, no way out of its folder."""

import os
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from loopwright.features.online.base import Patience
from loopwright.features.online.file import StoreFile
from loopwright.features.online.sqlite import SqliteOnlineStore
from loopwright.kernel.errors import Unavailable
from loopwright.wire.walls import landlock_version

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
BRIEF = Patience(0.1, 0.2)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store's file, in the folder of a project."""
    made = tmp_path / "p" / "online.sqlite"
    SqliteOnlineStore(made).close()
    return made


def change(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)


@pytest.mark.parametrize(
    "script",
    [
        f"CREATE TRIGGER t AFTER UPDATE ON identity BEGIN INSERT INTO fills SELECT 'a', ({ENDLESS}); END",
        f"DROP TABLE identity; CREATE VIEW identity AS SELECT 1 AS one, ({ENDLESS}) AS name, 1 AS tried",
        "CREATE VIRTUAL TABLE t USING fts5(x)",
        "DROP TABLE identity; CREATE TABLE identity (one PRIMARY KEY, name CHECK (name LIKE '%a%a%b'), tried)",
        "CREATE INDEX i ON online (hex(zeroblob(length(body))))",
        "CREATE TABLE more (x)",
    ],
)
@pytest.mark.parametrize("when", ["before", "while it is open"])
def test_a_file_that_holds_more_than_a_stores_tables_is_refused(path: Path, script: str, when: str) -> None:
    opened = SqliteOnlineStore(path) if when != "before" else None
    change(path, script)
    with pytest.raises(Unavailable, match="not opened as an online store: it holds the") as told:
        (opened or SqliteOnlineStore(path)).try_out()
    assert "start_materialize" in str(told.value.next_step)
    if opened:
        with pytest.raises(Unavailable, match="it holds the"):
            opened.held(["p/view@1"])
        opened.close()


def test_what_takes_too_long_is_broken_off(path: Path) -> None:
    file = StoreFile(path, BRIEF)
    for begun in (file.reading, file.writing):
        with pytest.raises(Unavailable, match="interrupted"), begun() as connection:
            connection.execute(ENDLESS)
    assert file.try_out() != ""
    file.close()


def test_a_file_that_others_keep_is_not_waited_for_longer_than_was_said(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode=DELETE")
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Unavailable, match="locked"):
            StoreFile(path, BRIEF)


@pytest.mark.parametrize("end", ["", "-wal", "-shm", "-journal"])
@pytest.mark.parametrize("kind", ["link", "link to nothing", "same file", "pipe", "folder"])
def test_what_is_no_plain_file_is_not_opened(path: Path, kind: str, end: str) -> None:
    outside, place = path.parent.parent / "outside", Path(f"{path}{end}")
    place.unlink(missing_ok=True)
    make: dict[str, Callable[[], None]] = {
        "link": lambda: (change(outside, "CREATE TABLE kept (x)"), place.symlink_to(outside))[1],
        "link to nothing": lambda: place.symlink_to(outside),
        "same file": lambda: (outside.write_bytes(b""), place.hardlink_to(outside))[1],
        "pipe": lambda: os.mkfifo(place),
        "folder": lambda: place.mkdir(),
    }
    make[kind]()
    before = outside.read_bytes() if outside.exists() else None
    with pytest.raises(Unavailable, match="no plain file of this user"):
        SqliteOnlineStore(path)
    assert (outside.read_bytes() if outside.exists() else None) == before


@pytest.mark.parametrize("kind", ["there", "not there"])
def test_a_link_that_comes_between_look_and_opening_leads_to_nothing(
    path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = path.parent.parent / "outside"
    path.unlink()
    if kind == "there":
        change(outside, "PRAGMA journal_mode=WAL; CREATE TABLE kept (x)")
    path.symlink_to(outside)
    before = outside.read_bytes() if outside.exists() else None
    monkeypatch.setattr(StoreFile, "_check_files", lambda _: None)
    with pytest.raises(Unavailable):
        SqliteOnlineStore(path)
    assert (outside.read_bytes() if outside.exists() else None) == before


@pytest.mark.skipif(not landlock_version(), reason="this kernel has no Landlock")
def test_a_journal_that_names_a_file_elsewhere_removes_it_not(path: Path) -> None:
    """Where a journal is played back, SQLite removes the file that it names as the one of several databases."""
    outside = path.parent.parent / "outside"
    outside.write_bytes(b"kept")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        page_bytes = connection.execute("PRAGMA page_size").fetchone()[0]
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
    name = str(outside).encode()
    head = bytes.fromhex("d9d505f920a163d7") + struct.pack(">5I", 0, 7, pages, 512, page_bytes)
    tail = struct.pack(">I", 0x40000000 // page_bytes + 1) + name
    tail += struct.pack(">2I", len(name), sum(struct.unpack(f"{len(name)}b", name)) & 0xFFFFFFFF) + head[:8]
    path.with_name(f"{path.name}-journal").write_bytes(head.ljust(512, b"\0") + tail)
    with suppress(Unavailable):
        SqliteOnlineStore(path).close()
    assert outside.read_bytes() == b"kept"
