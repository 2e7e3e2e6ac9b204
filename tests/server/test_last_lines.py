"""The last lines of a log of any size."""

from pathlib import Path

from loopwright.server.last_lines import MOST_BYTES, last_lines


def test_the_last_lines_that_hold_something_are_told(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("")
    assert last_lines(log, 3) == []
    log.write_text("one\ntwo\n\nthree\n\n")
    assert last_lines(log, 2) == ["two", "three"]
    assert last_lines(log, 9) == ["one", "two", "three"]


def test_of_a_long_log_only_its_end_is_read(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    with log.open("wb") as file:
        file.truncate(MOST_BYTES * 1000)
        file.seek(0, 2)
        file.write(b"\nlast but one\nlast\n")
    assert last_lines(log, 2) == ["last but one", "last"]
