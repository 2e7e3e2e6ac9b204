"""Terminals that nobody's text steers; a module of its own, for every command begins with it and loads little."""

import sys
from typing import Any

from loopwright.kernel.plain import plain_line, plain_lines


class Terminal:
    """A terminal that is steered by nobody's names, reasons and logs: what would do that is shown instead.

    Args:
        stream: The terminal.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text."""
        return int(self._stream.write(plain_lines(text)))

    def write_over(self, text: str) -> None:
        """Write a line over the present one."""
        self._stream.write("\r" + plain_line(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def guard_terminals() -> None:
    """Let only text through to standard output and standard error, where they are terminals."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream.isatty() and not isinstance(stream, Terminal):
            setattr(sys, name, Terminal(stream))
