"""Backups from the command line: what is said can be typed as it stands."""

from pathlib import Path

import pytest

from loopwright.config import load_settings
from loopwright.store.engine import Database
from loopwright.store.migrate import upgrade
from tests.cli.conftest import loopwright


def test_what_follows_a_restore_names_the_state_folder_where_another_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "state").mkdir()
    monkeypatch.setenv("LOOPWRIGHT_STATE", str(tmp_path / "state"))
    database = Database(load_settings(None).database_url)
    upgrade(database)
    database.close()
    assert "were new to" in loopwright("backup", str(tmp_path / "backups"))
    there = tmp_path / "a new place"
    said = loopwright("restore", str(tmp_path / "backups"), "--state", str(there))
    assert f"next: LOOPWRIGHT_STATE='{there}' loopwright verify, then LOOPWRIGHT_STATE='{there}' loopwright up" in said
    monkeypatch.setenv("LOOPWRIGHT_STATE", str(tmp_path / "here"))
    assert "next: loopwright verify, then loopwright up" in loopwright("restore", str(tmp_path / "backups"))
