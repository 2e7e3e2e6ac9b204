"""How many requests one caller may send: a bucket that fills with time, and empties by one with each request."""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache

from loopwright.kernel.errors import LoopwrightError

MOST_BUCKETS = 4096
"""How many callers are counted at once; the one that was quiet for longest is forgotten first, and is full again."""


class TooMany(LoopwrightError):
    """This caller sends more requests than one may."""

    code = "too_many_requests"
    http_status = 429


class Rates:
    """Counts requests by who sends them, in bounded memory.

    Args:
        per_s: Requests a second that may go on for ever; 0 for no limit.
        burst_s: For how many seconds' worth a token that was quiet may send at once.
        now_s: Monotonic seconds.
        who: Who sends, in words.
    """

    def __init__(
        self,
        per_s: float,
        burst_s: float = 5.0,
        now_s: Callable[[], float] = time.monotonic,
        who: str = "this token",
    ) -> None:
        self._per_s, self._most, self._now_s, self._who = per_s, per_s * burst_s, now_s, who
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __contains__(self, sender: str) -> bool:
        return sender in self._buckets

    def take(self, sender: str) -> None:
        """Count one request.

        Raises:
            TooMany: The bucket is empty; the error says when there is a request in it again.
        """
        if not self._per_s:
            return
        left = self._left(sender)
        self._buckets.pop(sender, None)
        self._buckets[sender] = left - (left >= 1), self._now_s()
        if len(self._buckets) > MOST_BUCKETS:
            self._buckets.popitem(last=False)
        self._refuse_less_than_one(left)

    def check(self, sender: str) -> None:
        """Count nothing, and raise what ``take`` would."""
        if self._per_s:
            self._refuse_less_than_one(self._left(sender))

    def _left(self, sender: str) -> float:
        now_s = self._now_s()
        left, at_s = self._buckets.get(sender, (self._most, now_s))
        return min(self._most, left + (now_s - at_s) * self._per_s)

    def _refuse_less_than_one(self, left: float) -> None:
        if left < 1:
            raise TooMany(
                f"{self._who} sends too many requests",
                rule=f"{self._per_s:g} a second, {self._most:g} at once",
                next_step="send several rows in one request; LOOPWRIGHT_RATE of server and gateway sets the limit",
                details={"retry_after_s": max(1, round((1 - left) / self._per_s))},
            )


class CallerRates:
    """Counts the requests of each token by itself, and those of strangers by the address that they come from.

    A stranger is whoever sends a secret that opens nothing: sending another one each time is no way past the limit.

    Args:
        per_s: Requests a second of one token, and of the strangers at one address; 0 for no limit.
    """

    def __init__(self, per_s: float) -> None:
        self._tokens = Rates(per_s)
        self._strangers = Rates(per_s, who="whoever has no valid token at this address")

    def count(self, token: str) -> None:
        """Count a request of a token that opens something; raises ``TooMany``."""
        self._tokens.take(token)

    def count_stranger(self, client: str) -> None:
        """Count a request of a stranger at an address; raises ``TooMany``."""
        self._strangers.take(neighbourhood(client))

    def check_unknown(self, token: str, client: str) -> None:
        """Refuse a token before it is looked up, where strangers at its address have asked for too many already.

        One that opened something lately is looked up whatever its neighbours do.

        Raises:
            TooMany: It is refused.
        """
        if token not in self._tokens:
            self._strangers.check(neighbourhood(client))


@lru_cache(1024)
def neighbourhood(client: str) -> str:
    """Return what an address is counted under: of IPv6, where everybody has many of them, the network."""
    try:
        address = ipaddress.ip_address(client.partition("%")[0])
    except ValueError:
        return client
    return client if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))
