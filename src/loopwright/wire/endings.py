"""How a process ended, in words, and the error of one that ended over what it was given."""

import signal
from typing import Any

from loopwright.kernel.errors import InvalidInput


class ReaderEnded(InvalidInput):
    """A process that read something for a job is gone: it crashed, or took too long or too much memory.

    Args:
        how: What became of it, such as ``ended by SIGKILL``.
        said: What it printed last; rows may be quoted there, so it is told nobody.
    """

    def __init__(self, message: str, *, how: str, said: str = "", **parts: Any) -> None:
        super().__init__(message, **parts)
        self.how, self.said = how, said


def how_ended(code: int) -> str:
    """Return what an exit code says: a status, or less than zero the signal, of which not all have names.

    >>> how_ended(2), how_ended(-9), how_ended(-35)
    ('ended with status 2', 'ended by SIGKILL', 'ended by signal 35')
    """
    if code >= 0:
        return f"ended with status {code}"
    try:
        return f"ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"ended by signal {-code}"
