"""Which refused calls are told: who tried what is part of the trail, and no flood of them fills a disk."""

import time
from collections.abc import Callable

from loopwright.wire.quiet import Quiet
from loopwright.wire.rates import Rates, TooMany

QUIET_S = 3600.0
"""How long the same caller may try the same thing in a project again before that is told once more."""
MOST_A_SECOND, BURST_S = 1.0, 60.0
"""Of all refused calls of those who are known, so many are told; and so many of those of strangers."""
MOST_REMEMBERED = 4096


class DenialFilter:
    """Says which refusals are news.

    Args:
        now_s: Monotonic seconds.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._rates = Rates(MOST_A_SECOND, BURST_S, now_s)
        self._quiet = Quiet(QUIET_S, MOST_REMEMBERED, now_s)

    def is_news(self, actor: str, verb: str, project: str) -> bool:
        """Say whether a refusal of somebody who is known is to be told, which counts it."""
        return self._is_news("known", (actor, verb, project))

    def is_news_of_stranger(self, client: str, verb: str) -> bool:
        """Say whether a refusal of a stranger is to be told, which counts it; what project they name is no news."""
        return self._is_news("strangers", ("", client, verb))

    def _is_news(self, kind: str, what: tuple[str, ...]) -> bool:
        if not self._quiet.is_due(what):
            return False
        try:
            self._rates.take(kind)
        except TooMany:
            return False
        self._quiet.keep(what)
        return True
