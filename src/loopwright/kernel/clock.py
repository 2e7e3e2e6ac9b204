"""Time as an argument. Only this file reads the machine's clock.

Moments are int64 microseconds since 1970-01-01 UTC; durations are microseconds too and are written ``7d``, ``12h``,
``30m``, ``5s``.
"""

import re
import time
from datetime import UTC, datetime
from typing import Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from loopwright.kernel.errors import InvalidInput

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
_UNITS = {"us": 1, "ms": 1000, "s": SECOND_US, "m": MINUTE_US, "h": HOUR_US, "d": DAY_US, "w": 7 * DAY_US}
_DURATION = re.compile(r"([0-9]{1,18})(us|ms|s|m|h|d|w)")
_LONGEST_US = 1000 * 366 * DAY_US
_FIRST_US, _LAST_US = -62_135_596_800 * SECOND_US, 253_402_300_800 * SECOND_US - 1
"""The years 1 to 9999."""
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Not every system has one that goes on while the machine sleeps."""


class Clock(Protocol):
    """Source of the present moment."""

    def now_us(self) -> int:
        """Return microseconds since the epoch, UTC."""
        ...


class WallClock:
    """The machine's clock."""

    def now_us(self) -> int:
        """Return microseconds since the epoch, UTC."""
        return time.time_ns() // 1000


class SteadyClock:
    """Time since the machine started, its sleep included: no moment, but nobody sets it, so it tells how long ago."""

    def now_us(self) -> int:
        """Return microseconds since then."""
        return time.clock_gettime_ns(_STEADY) // 1000


class FixedClock:
    """A clock that stands still until it is moved: replay projects and tests."""

    def __init__(self, at_us: int) -> None:
        self.at_us = at_us

    def now_us(self) -> int:
        """Return the moment it was last moved to."""
        return self.at_us


def parse_duration(text: str | int, field: str = "duration") -> int:
    """Return microseconds for ``7d``, ``12h``, ``30m``, ``5s``, ``20ms``.

    Raises:
        InvalidInput: The text is no whole number with a unit, or longer than 1,000 years.

    >>> parse_duration("3h") == 3 * HOUR_US
    True
    """
    match = None if isinstance(text, int) else _DURATION.fullmatch(text.strip())
    if match is None and not isinstance(text, int):
        raise InvalidInput(
            "this is not a duration", field=field, value=text, rule="a whole number and us, ms, s, m, h, d or w"
        )
    duration_us = int(text) if match is None else int(match[1]) * _UNITS[match[2]]
    if not 0 <= duration_us <= _LONGEST_US:
        raise InvalidInput("this duration is out of range", field=field, value=text, rule="from 0 to 1,000 years")
    return duration_us


def format_duration(duration_us: int) -> str:
    """Return the shortest exact text, such as ``7d``.

    >>> format_duration(90 * MINUTE_US)
    '90m'
    """
    for unit in ("d", "h", "m", "s", "ms"):
        if duration_us % _UNITS[unit] == 0:
            return f"{duration_us // _UNITS[unit]}{unit}"
    return f"{duration_us}us"


def parse_moment(value: str | int | datetime, field: str = "at", *, zone: str | None = None) -> int:
    """Return microseconds UTC for ISO 8601 with a zone, a date, a datetime with a zone, or an int of microseconds.

    Args:
        value: The moment.
        field: How errors name it.
        zone: Time zone of what names none, days too, which then begin at its midnight; of a local time that comes
            twice, as clocks are put back, the first is meant.

    Raises:
        InvalidInput: The text cannot be read, names no time zone, was skipped as clocks were put forward, or lies
            outside the years 1 to 9999.

    >>> parse_moment("1970-01-02")
    86400000000
    """
    if isinstance(value, int):
        return _in_range(value, field)
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            raise InvalidInput(
                "this is not a moment", field=field, value=value, rule="ISO 8601, such as 2013-03-01T00:00:00Z"
            ) from None
        if len(value) == 10 and zone is None:
            moment = moment.replace(tzinfo=UTC)
    else:
        moment = value
    if moment.tzinfo is None and zone is not None:
        moment = _local(moment, zone, field)
    if moment.tzinfo is None:
        raise InvalidInput("this moment names no time zone", field=field, value=str(value), rule="add Z or +00:00")
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return _in_range((delta.days * 86_400 + delta.seconds) * SECOND_US + delta.microseconds, field)


def _local(moment: datetime, zone: str, field: str) -> datetime:
    local = moment.replace(tzinfo=ZoneInfo(zone))
    try:
        was = local.astimezone(UTC).astimezone(local.tzinfo)
    except OverflowError:  # at the ends of the calendar no clock was put forward
        return local
    if was.replace(tzinfo=None) != moment:
        rule = "a local time that was; as clocks are put forward an hour is skipped"
        raise InvalidInput(f"{zone} skipped this hour", field=field, value=str(moment), rule=rule)
    return local


def check_span(start_at: int, end_at: int) -> None:
    """Refuse a stretch of event time that holds nothing.

    Raises:
        InvalidInput: An end of it is no moment, or the second is not after the first.
    """
    if not _in_range(start_at, "start_at") < _in_range(end_at, "end_at"):
        raise InvalidInput("this stretch is empty", field="end_at", value=end_at, rule=f"after start_at, {start_at}")


def parse_span(start_at: int | str, end_at: int | str) -> tuple[int, int]:
    """Return first moment and end of a stretch of event time, microseconds UTC, however they were written.

    Raises:
        InvalidInput: One is no moment, or the second is not after the first.

    >>> parse_span("1970-01-01", 86_400_000_000)
    (0, 86400000000)
    """
    start_us, end_us = parse_moment(start_at, "start_at"), parse_moment(end_at, "end_at")
    check_span(start_us, end_us)
    return start_us, end_us


def _in_range(at_us: int, field: str) -> int:
    if not _FIRST_US <= at_us <= _LAST_US:
        rule = "microseconds since 1970; years 1 to 9999"
        raise InvalidInput("this moment is out of range", field=field, value=at_us, rule=rule)
    return at_us


def format_moment(at_us: int) -> str:
    """Return ISO 8601 in UTC, to the second where the rest is zero.

    >>> format_moment(0)
    '1970-01-01T00:00:00Z'
    """
    seconds, rest = divmod(at_us, SECOND_US)
    text = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()
    return f"{text}Z" if rest == 0 else f"{text}.{rest:06d}Z"


def check_zone(name: str, field: str = "zone") -> str:
    """Return the name of a time zone, such as ``America/New_York``.

    Raises:
        InvalidInput: There is no such zone.
    """
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        rule = "a name such as America/New_York"
        raise InvalidInput("there is no such time zone", field=field, value=name, rule=rule) from None
    return name
