"""What was told a short while ago is not told again."""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable


class Quiet:
    """Remembers what was told, and forgets the oldest of it first: then it is told once more, and never lost.

    Args:
        quiet_s: For how long nothing is told twice.
        most: Things remembered.
        now_s: Monotonic seconds.
    """

    def __init__(self, quiet_s: float, most: int, now_s: Callable[[], float] = time.monotonic) -> None:
        self._quiet_s, self._most, self._now_s = quiet_s, most, now_s
        self._told: OrderedDict[Hashable, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._told)

    def is_due(self, what: Hashable) -> bool:
        """Say whether it may be told, again or for the first time."""
        return self._now_s() - self._told.get(what, -self._quiet_s) >= self._quiet_s

    def keep(self, what: Hashable) -> None:
        """Remember that it is told now."""
        self._told[what] = self._now_s()
        self._told.move_to_end(what)
        if len(self._told) > self._most:
            self._told.popitem(last=False)
