"""Workers of one state folder have a folder each, and know whose they took over."""

import tempfile
from pathlib import Path

import pytest

from loopwright.worker.instance import hold_instance


def test_each_worker_has_a_folder_and_learns_who_died_in_it(tmp_path: Path) -> None:
    with hold_instance(tmp_path) as first, hold_instance(tmp_path) as second:
        assert [first.folder.name, second.folder.name] == ["worker", "worker-2"]
        assert first.succeed("wrk_a") == ""
        assert second.succeed("wrk_b") == ""
    with hold_instance(tmp_path) as successor:
        assert successor.folder == first.folder
        assert successor.succeed("wrk_c") == "wrk_a"
        assert successor.succeed("wrk_c") == "wrk_c"


def test_what_a_killed_worker_had_for_a_moment_goes_as_the_next_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows lie there as they are checked, with columns that name people."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    with hold_instance(tmp_path) as instance:
        instance.take_temporary()
        killed = Path(tempfile.mkdtemp())
        (killed / "rows.arrow").write_bytes(b"rows")
    with hold_instance(tmp_path) as successor:
        successor.take_temporary()
        assert not killed.exists()
        with tempfile.TemporaryDirectory() as folder:
            assert Path(folder).parent == killed.parent
    assert killed.parent.stat().st_mode & 0o777 == 0o700
