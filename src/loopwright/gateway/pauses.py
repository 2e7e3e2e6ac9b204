"""Leaving alone what hung or crashed: for a second, then twice as long each time, up to a minute."""

from collections.abc import Sequence
from typing import NamedTuple

from loopwright.kernel.errors import LoopwrightError

_FIRST_S, _LONGEST_S = 1.0, 60.0
_LASTING_S = 4.0
"""What is left alone for so long has failed three times in a row."""
_FORGIVEN_S = 300.0


class TookTooLong(LoopwrightError):
    """The request was not answered within the deployment's budget."""

    code = "took_too_long"
    http_status = 504


class ChildCrashed(LoopwrightError):
    """The process that loaded a release and answered its first row has ended.

    Args:
        how: In words.
        mark: The place of the variant that was at work, as one byte; None where none was.
        is_own_fault: True where it crashed or hung, False where it may work at another time.
    """

    code = "release_crashed"
    http_status = 500

    def __init__(self, how: str, mark: bytes | None, *, is_own_fault: bool) -> None:
        super().__init__(f"the process that loaded it {how}")
        self.place, self.is_own_fault = mark[0] if mark else None, is_own_fault


class Pause(NamedTuple):
    """How long a variant is left alone, and why."""

    why: str
    until: float
    length_s: float


class Pauses:
    """The variants of one release that are left alone; moments are those of the event loop, in seconds."""

    def __init__(self) -> None:
        self._pauses: dict[int, Pause] = {}

    def blame(self, place: int, why: str, now: float) -> None:
        """Leave a variant alone, longer than the last time unless that is five minutes ago."""
        before = self._pauses.get(place)
        length_s = _FIRST_S
        if before is not None and now < before.until + _FORGIVEN_S:
            length_s = min(2 * before.length_s, _LONGEST_S)
        self._pauses[place] = Pause(why, now + length_s, length_s)

    def down(self, now: float) -> dict[int, str]:
        """Return the places of those that are left alone now, each with why."""
        if not self._pauses:
            return {}
        return {place: pause.why for place, pause in self._pauses.items() if pause.until > now}

    def told(self, names: Sequence[str], now: float) -> str:
        """Return who is left alone and why, in words; empty where nobody is."""
        return "; ".join(
            f"{names[place]} is left alone for {pause.until - now:.0f} s: {pause.why}"
            for place, pause in self._pauses.items()
            if pause.until > now
        )

    def lasting(self, names: Sequence[str], now: float) -> str:
        """Return who fails again and again, and why, in words that stay the same; empty where nobody does."""
        return "; ".join(
            f"{names[place]} fails again and again: {pause.why}"
            for place, pause in list(self._pauses.items())
            if pause.length_s >= _LASTING_S and now < pause.until + _FORGIVEN_S
        )
