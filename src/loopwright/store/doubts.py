"""What keeps rows from being written now: for whoever would conclude from rows that are missing that nobody lives."""

import threading
import time

import msgspec

from loopwright.kernel.clock import WallClock
from loopwright.kernel.errors import LoopwrightError

LOCKED_OUT_S = 20.0
"""A lock that was waited for in vain counts for so long: who needs what it holds tries again well before."""


class Doubt(msgspec.Struct, frozen=True):
    """Why rows may be missing that somebody meant to write.

    Args:
        why: What lies in the way.
        next_step: What a person does about it.
        since: Wall time, microseconds UTC.
        is_of_all: Nothing can be written; else only what another session holds.
    """

    why: str
    next_step: str
    since: int
    is_of_all: bool


class Doubts:
    """Remembers what lies in the way of writes. Threads share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failure: Doubt | None = None
        self._locked_out: Doubt | None = None
        self._locked_out_until = 0.0

    def failed(self, told: Exception) -> None:
        """Note that nothing can be written."""
        with self._lock:
            self._failure = _doubt(told, self._failure, is_of_all=True)

    def ended(self) -> None:
        """Note that it can again."""
        with self._lock:
            self._failure = None

    def locked_out(self, told: Exception) -> None:
        """Note that a lock was waited for in vain."""
        with self._lock:
            now = time.monotonic()
            before = self._locked_out if now < self._locked_out_until else None
            self._locked_out, self._locked_out_until = _doubt(told, before, is_of_all=False), now + LOCKED_OUT_S

    @property
    def now(self) -> Doubt | None:
        """What lies in the way now, None where nothing is known to."""
        if self._failure is not None:
            return self._failure
        return self._locked_out if time.monotonic() < self._locked_out_until else None


def _doubt(told: Exception, before: Doubt | None, *, is_of_all: bool) -> Doubt:
    since = WallClock().now_us() if before is None else before.since
    if isinstance(told, LoopwrightError):
        return Doubt(told.message, told.next_step or "", since, is_of_all)
    return Doubt(type(told).__name__, "", since, is_of_all)  # its words were written for nobody to read
