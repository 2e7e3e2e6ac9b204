"""Backups from the command line: what is said can be typed as it stands."""

import shutil
from pathlib import Path

import pytest

from loopwright.cli.examining import examine
from loopwright.config import load_settings
from loopwright.governance import LOCAL_ACTOR, Dispatcher
from loopwright.kernel.errors import Conflict, Unavailable
from loopwright.server.process import open_database
from loopwright.store.engine import Database
from loopwright.store.migrate import upgrade
from loopwright.wire.folders import hold_folder
from tests.cli.conftest import loopwright


@pytest.fixture
def backups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Backups of an empty platform."""
    (tmp_path / "state").mkdir()
    monkeypatch.setenv("LOOPWRIGHT_STATE", str(tmp_path / "state"))
    database = Database(load_settings(None).database_url)
    upgrade(database)
    database.close()
    place = str(tmp_path / "backups")
    assert "were new to" in loopwright("backup", place)
    return place


def test_what_follows_a_restore_names_the_state_folder_where_another_was_asked_for(
    backups: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "a new place"
    said = loopwright("restore", backups, "--state", str(there))
    assert f"next: LOOPWRIGHT_STATE='{there}' loopwright verify, then LOOPWRIGHT_STATE='{there}' loopwright up" in said
    monkeypatch.setenv("LOOPWRIGHT_STATE", str(tmp_path / "here"))
    assert "next: loopwright verify, then loopwright up" in loopwright("restore", backups)


def test_what_a_restore_puts_into_spools_is_told_with_what_seals_it(backups: str, tmp_path: Path) -> None:
    """A gateway of another folder never sees it, and the log would lack rows that were acknowledged."""
    state = tmp_path / "state"
    for gateway, name in (("0", "000000000007.log"), ("0", "000000000009.log"), ("two", "000000000001.bad")):
        segment = state / f"gateway-{gateway}" / "spool" / "flights" / "labels" / "late" / name
        segment.parent.mkdir(parents=True, exist_ok=True)
        segment.write_bytes(b"rows")
        (state / f"gateway-{gateway}" / "writer.id").write_text(f"gw_{gateway}")
    loopwright("backup", backups)
    there = tmp_path / "there"
    said = loopwright("restore", backups, "--state", str(there))
    assert f"2 spool files wait in {there}/gateway-0: " in said
    assert f"loopwright up --role gateway --state {there} --gateway-name 0" in said
    assert f"1 set aside in {there}/gateway-two; first: LOOPWRIGHT_STATE={there} loopwright salvage" in said
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOOPWRIGHT_STATE", str(there))
        [told] = [one for one in examine(load_settings()) if one.what == "spool"]
    assert not told.is_fine
    assert "2 spool files wait" in told.found
    assert "--gateway-name 0" in told.next_step


@pytest.mark.parametrize(("lock", "who"), [("server.lock", "another server"), ("gateway-0/lock", "a gateway")])
def test_nothing_is_restored_where_a_process_works(backups: str, tmp_path: Path, lock: str, who: str) -> None:
    """It would have its database, or its spool, changed under it."""
    there = tmp_path / "there"
    works = hold_folder(there / lock, 0, lambda: Unavailable("taken"))
    with works, pytest.raises(Unavailable, match=who):
        loopwright("restore", backups, "--state", str(there))
    assert not (there / "loopwright.db").exists()
    assert "is restored" in loopwright("restore", backups, "--state", str(there))


def test_older_backups_are_let_go_of(backups: str) -> None:
    [first] = [line.split()[0] for line in loopwright("backup", backups, "--list").splitlines() if "bak_" in line]
    said = loopwright("backup", backups, "--keep", "1")
    assert f"older backups let go of: {first};" in said
    assert "0.0 MB freed" in said
    assert first not in loopwright("backup", backups, "--list")
    assert "everything holds" in loopwright("backup", backups, "--verify", "newest")


def test_a_half_restored_platform_is_neither_verified_nor_backed_up(backups: str, tmp_path: Path) -> None:
    """The restore ended where the checkpoints could not be written."""
    there = tmp_path / "there"
    there.mkdir()
    (there / "checkpoints").write_text("in the way")
    with pytest.raises(Unavailable):
        loopwright("restore", backups, "--state", str(there))
    (there / "checkpoints").unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOOPWRIGHT_STATE", str(there))
        for command in (["verify"], ["backup", backups], ["verify", "--put-back", "why"]):
            with pytest.raises(Conflict, match="half restored"):
                loopwright(*command)
        with pytest.raises(Conflict, match="half restored"):
            open_database(load_settings(None))
        loopwright("restore", backups)
        assert "everything holds" in loopwright("verify")


def test_a_platform_whose_log_cannot_be_signed_is_backed_up(backups: str, tmp_path: Path) -> None:
    """A full disk is one more reason for a backup."""
    database = Database(load_settings(None).database_url)
    named = {"name": "flights", "owner": "ana"}
    Dispatcher(database).call("projects.create", named, actor=LOCAL_ACTOR, project="_system")
    database.close()
    shutil.rmtree(tmp_path / "state" / "checkpoints", ignore_errors=True)
    (tmp_path / "state" / "checkpoints").write_text("in the way")
    assert "were new to" in loopwright("backup", backups)
    assert "everything holds" in loopwright("backup", backups, "--verify", "newest")
