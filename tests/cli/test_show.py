"""Progress reads well on a terminal and in a file."""

import contextlib
import os
import subprocess
import sys

import pytest

from loopwright.cli import show
from loopwright.cli.show import Progress, say, say_lines
from loopwright.kernel.errors import InvalidInput


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


def test_in_a_file_too_a_name_begins_no_line_and_steers_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    name = "email\nimport os\r\x1b[2J\u2028rm"
    say(f"checks of {name}")
    say_lines("fit: \x1b[1A\nended\n", nl=False)
    assert capsys.readouterr().out == "checks of email\\nimport os\\r\\x1b[2J\\u2028rm\nfit: \\x1b[1A\nended\n"
    told = InvalidInput(f"no column {name}", next_step="see --help").explain()
    assert told == "error: no column email\n    import os\\r\\x1b[2J\\u2028rm\n  next: see --help\n"


SAYS = """
import sys
import click
from loopwright.cli.main import cli, main
from loopwright.cli.show import Progress, print_table

@cli.command("says")
def says():
    name = "late\\x1b]52;c;cm0gLXJm\\x07\\x1b[2J\\u202eevil\\x9b1A"
    click.echo(f"run {name}\\nends\\r#")
    print_table(("name", "state"), [(name + "\\nforged  done", "failed")])
    progress = Progress()
    progress.show("fit: \\x1b[1A\\nforged")
    progress.done("done \\x1b[0m")
    raise click.ClickException(name)

cli.get_command = lambda ctx, name: says
sys.argv = ["loopwright", "says"]
main()
"""


def test_a_terminal_is_steered_by_no_name_and_no_log() -> None:
    """Whoever names a run or prints in a step would else write what an approver reads, or into their clipboard."""
    ours, theirs = os.openpty()
    with subprocess.Popen([sys.executable, "-c", SAYS], stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        written = b""
        with contextlib.suppress(OSError):  # the other side is gone
            while piece := os.read(ours, 4096):
                written += piece
    os.close(ours)
    assert process.returncode == 1
    text = written.decode().replace("\r\n", "\n")
    name = r"late\x1b]52;c;cm0gLXJm\x07\x1b[2J\u202eevil\x9b1A"
    assert f"run {name}\nends\\r#\n" in text
    assert rf"{name}\nforged  done  failed" in text
    assert "\rfit: \\x1b[1A\\nforged\rdone \\x1b[0m" in text
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & {*text}
