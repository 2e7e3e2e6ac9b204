"""The last lines of a log of any size, and an end to its growth."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from loopwright.server import logs
from loopwright.server.logs import MOST_BYTES, begin_anew, last_lines, older_part
from tests.waiting import wait_until


def test_the_last_lines_that_hold_something_are_told(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("")
    assert last_lines(log, 3) == []
    log.write_text("one\ntwo\n\nthree\n\n")
    assert last_lines(log, 2) == ["two", "three"]
    assert last_lines(log, 9) == ["one", "two", "three"]
    assert last_lines(log, 9, begin=4) == ["two", "three"], "what others wrote before is not meant"
    assert last_lines(log, 9, begin=16) == []
    assert last_lines(log, 2, begin=17) == ["two", "three"], "it has begun anew since"


def test_of_a_long_log_only_its_end_is_read(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    with log.open("wb") as file:
        file.truncate(MOST_BYTES * 1000)
        file.seek(0, 2)
        file.write(b"\nlast but one\nlast\n")
    assert last_lines(log, 2) == ["last but one", "last"]


def test_a_long_log_begins_anew_under_a_process_that_goes_on_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "LONGEST_BYTES", 20)
    log = tmp_path / "server.log"
    program = "import sys\nfor line in sys.stdin: sys.stderr.write(line); sys.stderr.flush()"
    with log.open("ab") as out:
        writer = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stderr=out, text=True)
    assert writer.stdin is not None

    def write(line: str) -> None:
        writer.stdin.write(line)
        writer.stdin.flush()
        wait_until(lambda: log.read_text().endswith(line))

    with writer:
        write("twenty bytes so far\n")
        begin_anew(log)
        assert not older_part(log).exists()
        write("beyond\n")
        begin_anew(log)
        assert log.stat().st_size == 0
        write("what comes now\n")
        assert log.read_text() == "what comes now\n"
        assert older_part(log).read_text() == "twenty bytes so far\nbeyond\n"
        write("and goes on\n")
        begin_anew(log)
        assert older_part(log).read_text() == "what comes now\nand goes on\n", "one older part is kept"
        writer.stdin.close()


def test_a_log_stays_where_no_copy_of_it_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LONGEST_BYTES", 3)
    log = tmp_path / "server.log"
    begin_anew(log)
    log.write_text("a line\n")
    (tmp_path / "server.log.1").mkdir()  # as in the way as a full disk is
    begin_anew(log)
    assert log.read_text() == "a line\n"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["server.log", "server.log.1"]
    shutil.rmtree(older_part(log))
    begin_anew(log)
    assert log.read_text() == ""
