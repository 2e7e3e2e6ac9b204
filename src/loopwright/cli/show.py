"""What every command prints with: tables, JSON, progress."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click

from loopwright.cli.terminals import Terminal
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.plain import plain_line, plain_lines

F = TypeVar("F", bound=Callable[..., Any])

_LINE_EVERY_S = 15.0
"""How often progress is told where no terminal shows it."""


def json_option(function: F) -> F:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")(function)


def project_option(function: F) -> F:
    """Add ``--project``."""
    option = click.option(
        "--project",
        "-p",
        envvar="LOOPWRIGHT_PROJECT",
        help="The project; default the only one.",
        callback=_check_project,
    )
    return option(function)


def _check_project(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    if value is not None and "=" in value:
        next_step = f"for a param of a pipeline: --param {value}"
        raise InvalidInput("-p names the project", field="--project", value=value, next_step=next_step)
    return value


def say(text: str = "", *, err: bool = False) -> None:
    """Print one line, whatever stands in the names and reasons that it tells of; the only way a command prints one.

    A terminal is guarded beside (``guard_terminals``), but knows no line break of ours from one in a name; and what is
    printed into a file, or pasted from it, is guarded by nothing else.
    """
    click.echo(plain_line(text), err=err)


def say_lines(text: str, *, nl: bool = True) -> None:
    """Print a text of several lines, such as a log."""
    click.echo(plain_lines(text), nl=nl)


def print_json(document: Any) -> None:
    """Print a struct or document as indented JSON."""
    click.echo(json.dumps(to_builtins(document), indent=2, default=str))


def print_table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print columns, text left and numbers right; an unknown value is a dash."""
    texts = [[_text(value) for value in row] for row in rows]
    widths = [max(len(line[index]) for line in [list(head), *texts]) for index in range(len(head))]
    is_number = [all(_is_number(line[index]) for line in texts) and bool(texts) for index in range(len(head))]
    for line in [list(head), *texts]:
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, is_number, strict=True)
        ]
        say("  ".join(cells).rstrip())


def _text(value: Any) -> str:
    if value is None or value == "":
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else plain_line(str(value))


def _is_number(text: str) -> bool:
    return text == "–" or text.replace(".", "", 1).lstrip("-").isdigit()


class Progress:
    """One line that is written over on a terminal, and now and then a new line elsewhere."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._width = 0
        self._told_at = time.monotonic()

    def show(self, text: str) -> None:
        """Replace the line."""
        if self._is_terminal:
            self._write_over(text)
            self._width = len(text)
            sys.stderr.flush()
        elif (now := time.monotonic()) - self._told_at >= _LINE_EVERY_S:
            self._told_at = now
            sys.stderr.write(plain_line(text) + "\n")
            sys.stderr.flush()

    def done(self, text: str = "") -> None:
        """End the line."""
        if self._is_terminal:
            self._write_over(text)
            if text:
                sys.stderr.write("\n")
            else:
                self._write_over("")
        elif text:
            sys.stderr.write(plain_line(text) + "\n")
        self._width = 0
        sys.stderr.flush()

    def _write_over(self, text: str) -> None:
        line = text.ljust(self._width) if text else " " * self._width
        sys.stderr.write_over(line) if isinstance(sys.stderr, Terminal) else sys.stderr.write("\r" + line)
