"""Parting: each project's rows of the one old store are in its own afterwards, and in no other's."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from loopwright.features.online import part_projects
from loopwright.features.online.places import SCHEMA, online_url


@pytest.fixture
def old(tmp_path: Path) -> Path:
    file = tmp_path / "online.sqlite"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(SCHEMA)
        rows = [(f"{project}/recent@1", f"e{number}", b"x") for project in ("a", "a-b", "b") for number in range(3)]
        connection.executemany("INSERT INTO online VALUES (?, ?, ?)", rows)
        connection.execute("INSERT INTO fills VALUES ('a/recent@1', 'd1'), ('c/recent@1', 'd2')")
        connection.commit()
    return file


def rows_of(state_dir: Path, project: str, table: str = "online") -> list[str]:
    with closing(sqlite3.connect(online_url(state_dir, project))) as connection:
        return [key for (key,) in connection.execute(f"SELECT view_key FROM {table}")]


def test_each_project_has_its_own_rows_afterwards(old: Path, tmp_path: Path) -> None:
    assert part_projects(tmp_path) == ["a", "a-b", "b", "c"]
    for project in ("a", "a-b", "b"):
        assert rows_of(tmp_path, project) == [f"{project}/recent@1"] * 3
    assert (rows_of(tmp_path, "c"), rows_of(tmp_path, "c", "fills")) == ([], ["c/recent@1"])
    assert rows_of(tmp_path, "a", "fills") == ["a/recent@1"]
    assert list(tmp_path.glob("online.sqlite*")) == []
    assert part_projects(tmp_path) == []


def test_what_was_parted_before_a_crash_stays(old: Path, tmp_path: Path) -> None:
    before = old.read_bytes()
    part_projects(tmp_path)
    with closing(sqlite3.connect(online_url(tmp_path, "a"))) as connection:
        connection.execute("DELETE FROM online")
        connection.commit()
    old.write_bytes(before)
    (tmp_path / "online" / "b" / "online.sqlite").replace(tmp_path / "online" / "b" / "online.draft")
    part_projects(tmp_path)
    assert (len(rows_of(tmp_path, "a")), len(rows_of(tmp_path, "b"))) == (0, 3)


def test_a_store_that_cannot_be_read_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "online.sqlite").write_bytes(b"no database" * 500)
    assert part_projects(tmp_path) == []
    assert (tmp_path / "online.unreadable").exists()
