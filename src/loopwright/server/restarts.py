"""When a process that has died is started again: soon, and after ever longer pauses where it keeps dying."""

import time
from collections.abc import Callable, Iterable

import msgspec

from loopwright.kernel.backoff import backoff_s

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
SETTLED_S = 10.0
"""Whoever has run for so long is not said to keep dying."""


class _Life(msgspec.Struct):
    """One role's process: since when it runs, how often in a row it died young, when it is due, how it died."""

    began: float
    deaths: int = 0
    due: float | None = None
    how: str = ""


class Restarts:
    """Knows of each role when to start it again, and tells of each death.

    Args:
        tell: Hears one sentence a death.
        monotonic: The time, seconds.
    """

    def __init__(self, tell: Callable[[str], object], monotonic: Callable[[], float] = time.monotonic) -> None:
        self._tell, self._now = tell, monotonic
        self._lives: dict[str, _Life] = {}

    def began(self, role: str) -> None:
        """Note that a process was started."""
        life = self._lives.setdefault(role, _Life(0.0))
        life.began, life.due = self._now(), None

    def is_due(self, role: str, how: Callable[[], str]) -> bool:
        """Say whether a dead process is to be started now.

        Args:
            role: Whose process it is.
            how: Says how it died; asked once a death.
        """
        life = self._lives[role]
        if life.due is None:
            if self._now() - life.began >= SETTLED_S:
                life.deaths = 0
            self._died(role, how())
        return life.due is not None and self._now() >= life.due

    def failed(self, role: str, why: str) -> None:
        """Note that a process could not be started; it is tried again later."""
        self._died(role, f"cannot be started: {why}")

    def settle(self, running: Iterable[str]) -> bool:
        """Forget the deaths of those that have run for a while; say whether there were any."""
        lives = [self._lives[role] for role in running]
        settled = [life for life in lives if life.deaths and self._now() - life.began >= SETTLED_S]
        for life in settled:
            life.deaths, life.how = 0, ""
        return bool(settled)

    def dying(self) -> dict[str, str]:
        """Return how those died lastly that keep dying."""
        lives = self._lives.items()
        return {role: f"{life.deaths} times in a row it {life.how}" for role, life in lives if life.deaths > 1}

    def _died(self, role: str, how: str) -> None:
        life = self._lives[role]
        pause_s = backoff_s(life.deaths, FIRST_PAUSE_S, LONGEST_PAUSE_S)
        life.deaths, life.how, life.due = life.deaths + 1, how, self._now() + pause_s
        self._tell(f"the {role} {how}; it is started again in {pause_s:g} s (loopwright logs {role})")
