"""Progress reads well on a terminal and in a file."""

import pytest

from loopwright.cli import show
from loopwright.cli.show import Progress


def test_in_a_file_progress_is_a_plain_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter(range(100))
    monkeypatch.setattr(show.time, "monotonic", lambda: float(next(seconds)))
    progress = Progress()
    for hour in range(40):
        progress.show(f"hour {hour}")
    progress.done("retrained")
    progress.done()
    assert capsys.readouterr().err == "hour 14\nhour 29\nretrained\n"
