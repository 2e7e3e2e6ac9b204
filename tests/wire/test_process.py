"""What the platform's processes have alike: a log that only they write."""

import io
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from loopwright.wire.process import PlainFormatter


def test_a_line_of_the_log_is_one_whatever_it_tells() -> None:
    told = io.StringIO()
    handler = logging.StreamHandler(told)
    handler.setFormatter(PlainFormatter("%(levelname)s %(message)s"))
    log = logging.Logger("tests")
    log.addHandler(handler)
    log.warning("drift on %s", "late\n2026-01-01 CRITICAL forged\x1b[2J")
    try:
        raise ValueError("no\x1b[2J rows")
    except ValueError:
        log.exception("failed")
    first, second, *trace = told.getvalue().splitlines()
    assert first == r"WARNING drift on late\n2026-01-01 CRITICAL forged\x1b[2J"
    assert second == "ERROR failed"
    assert trace[0].startswith("Traceback")
    assert trace[-1] == r"ValueError: no\x1b[2J rows"


@pytest.mark.slow
@pytest.mark.parametrize("role", ["server", "worker", "gateway"])
def test_a_state_folder_that_takes_nothing_ends_a_process_with_a_sentence(tmp_path: Path, role: str) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "tmp").write_text("a file in the way")
    ended = subprocess.run(
        [sys.executable, "-m", f"loopwright.{role}"],
        env={**os.environ, "LOOPWRIGHT_STATE": str(tmp_path / "state")},
        capture_output=True,
        text=True,
        check=False,
    )
    [told] = ended.stderr.splitlines()
    assert ended.returncode == 2
    assert told.startswith("this folder cannot be used")
    assert str(tmp_path / "state" / "tmp") in told
