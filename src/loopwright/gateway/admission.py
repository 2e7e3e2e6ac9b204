"""Admission: how much may wait in one place. What is beyond that is turned away at once, told when to return."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from loopwright.kernel.errors import TooBusy

MOST_WAITING = 256
"""How many requests of one deployment may be under way, unless it says otherwise (``limits.waiting``)."""
MOST_WAITING_BYTES = 64 << 20
"""How much their bodies may take together (``limits.waiting_bytes``)."""
_SMOOTHING = 0.1


class Admission:
    """Counts what is under way in one place.

    Args:
        name: Of the place.
        budget_s: How long a request may take.
        most: How many requests may be under way.
        most_bytes: How much their bodies may take together.
    """

    def __init__(
        self, name: str, budget_s: float, most: int = MOST_WAITING, most_bytes: int = MOST_WAITING_BYTES
    ) -> None:
        self._name, self._budget_s, self._most, self._most_bytes = name, budget_s, most, most_bytes
        self.waiting = self._bytes = 0
        self._interval_s = 0.0
        self._ended_at = 0.0

    @contextmanager
    def admitted(self, size_bytes: int) -> Iterator[None]:
        """Let a request in, for as long as it is under way.

        Raises:
            TooBusy: Too much waits already, or what waits would keep this one longer than a request may take.
        """
        wait_s = self.waiting * self._interval_s
        if self.waiting >= self._most or self._bytes + size_bytes > self._most_bytes or wait_s > self._budget_s:
            raise TooBusy(
                f"{self._name} has more to do than it can",
                value=self._name,
                rule=f"at most {self._most} requests under way, and an answer within {self._budget_s:g} s",
                next_step="send it again after the seconds of Retry-After, or send rows together in one request",
                details={"retry_after_s": max(1, math.ceil(min(wait_s, self._budget_s)))},
            )
        begun_at = time.monotonic()
        self.waiting += 1
        self._bytes += size_bytes
        try:
            yield
        finally:
            self._note_end(begun_at)
            self.waiting -= 1
            self._bytes -= size_bytes

    def _note_end(self, begun_at: float) -> None:
        """Learn how far apart ends are while something waits: what a place in the queue costs."""
        now = time.monotonic()
        interval_s = now - max(begun_at, self._ended_at)
        self._ended_at = now
        self._interval_s += _SMOOTHING * (interval_s - self._interval_s)
