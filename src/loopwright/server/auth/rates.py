"""How many requests one token may send: a bucket that fills with time, and empties by one with each request."""

import time
from collections import OrderedDict
from collections.abc import Callable

from loopwright.kernel.errors import LoopwrightError

MOST_BUCKETS = 4096
"""How many tokens are counted at once; the one that was quiet for longest is forgotten first, and is full again."""


class TooMany(LoopwrightError):
    """This token sends more requests than one may."""

    code = "too_many_requests"
    http_status = 429


class Rates:
    """Counts requests by who sends them, in bounded memory.

    Args:
        per_s: Requests a second that may go on for ever; 0 for no limit.
        burst_s: For how many seconds' worth a token that was quiet may send at once.
        now_s: Monotonic seconds.
    """

    def __init__(self, per_s: float, burst_s: float = 5.0, now_s: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._most, self._now_s = per_s, per_s * burst_s, now_s
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, sender: str) -> None:
        """Count one request.

        Raises:
            TooMany: The bucket is empty; the error says when there is a request in it again.
        """
        if not self._per_s:
            return
        now_s = self._now_s()
        left, at_s = self._buckets.pop(sender, (self._most, now_s))
        left = min(self._most, left + (now_s - at_s) * self._per_s)
        is_empty = left < 1
        self._buckets[sender] = left - (not is_empty), now_s
        if len(self._buckets) > MOST_BUCKETS:
            self._buckets.popitem(last=False)
        if is_empty:
            raise TooMany(
                "this token sends too many requests",
                rule=f"{self._per_s:g} a second, {self._most:g} at once",
                next_step="send several rows in one request; LOOPWRIGHT_RATE of the server sets the limit",
                details={"retry_after_s": max(1, round((1 - left) / self._per_s))},
            )
