"""Values of JSON as the log keeps them: numbers that lose nothing, moments that can be meant, texts that can be stored.

JSON has one kind of number and no moments, so much that is not meant can be read as something. What is taken here is
taken exactly; the rest is refused with the place where it stands.
"""

import re
from math import inf, isfinite
from typing import Any, NamedTuple

from loopwright.kernel.clock import DAY_US, format_moment, parse_moment
from loopwright.kernel.errors import InvalidInput

LONGEST_ID = 200
_EXACT = 2**53
"""Whole numbers up to here are float64 without loss."""
_LEAST_US = 10**14
"""Microseconds below this lie in the years around 1970: whoever sends such a number has counted in another unit."""
_RULE = "ISO 8601 with a zone, or microseconds UTC"
_DATE = re.compile(r"\d{4}-?\d{2}-?\d{2}|\d{4}-?W\d{2}(-?\d)?")


class Window(NamedTuple):
    """Between which moments an event can lie, microseconds UTC."""

    first_us: int
    last_us: int


EVER = Window(parse_moment("1900-01-01T00:00:00Z"), parse_moment("2200-01-01T00:00:00Z"))
"""Where a replayed project may be."""


def window_at(now_us: int, *, is_replay: bool) -> Window:
    """Return when an event can have happened that is told now; a caller's clock may be a day ahead."""
    return EVER if is_replay else Window(EVER.first_us, now_us + DAY_US)


def read_moment(value: Any, field: str, window: Window = EVER) -> int:
    """Return microseconds UTC of a whole number of them, or of ISO 8601 text with date, time and zone.

    Raises:
        InvalidInput: It is neither, counted in another unit, or lies outside of the window.
    """
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise InvalidInput("this is not a moment", field=field, value=value, rule=_RULE)
    if isinstance(value, int) and abs(value) < _LEAST_US:
        raise InvalidInput(
            "this number is no microseconds since 1970",
            field=field,
            value=value,
            rule=_RULE,
            next_step="multiply seconds by 1,000,000 and milliseconds by 1,000",
        )
    if isinstance(value, str) and _DATE.fullmatch(value):
        raise InvalidInput("this is a day and no moment", field=field, value=value, rule=_RULE, next_step="add T00:00Z")
    try:
        at_us = parse_moment(value, field)
    except OverflowError:
        at_us = 1 << 63
    if not window.first_us <= at_us <= window.last_us:
        rule = f"from {format_moment(window.first_us)} to {format_moment(window.last_us)}"
        raise InvalidInput("this moment is out of range", field=field, value=value, rule=rule)
    return at_us


def read_number(value: Any, field: str) -> float:
    """Return a number as float64, exactly.

    Raises:
        InvalidInput: It is no number, not finite, or a whole number that float64 does not have.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = inf
        if isfinite(number) and (isinstance(value, float) or abs(value) <= _EXACT or number == value):
            return number
        if isfinite(number):
            rule = "whole numbers up to 2^53, beyond which float64 has gaps"
            raise InvalidInput("this number would be rounded", field=field, value=value, rule=rule)
    raise InvalidInput("this is not a number", field=field, value=value, rule="a finite number")


def read_id(value: Any, field: str) -> str:
    """Return an id: text, or a whole number as text.

    Raises:
        InvalidInput: It is neither, empty, too long, or holds a letter that no database stores.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_ID or "\0" in value:
        rule = f"text of 1 to {LONGEST_ID} letters, none of them NUL"
        raise InvalidInput("this is not an id", field=field, value=value, rule=rule)
    return value


def read_key(value: Any, field: str) -> str | None:
    """Return a caller's own key of a row as text, None where there is none.

    Raises:
        InvalidInput: It is a list or an object.
    """
    if isinstance(value, list | dict):
        raise InvalidInput("this is not a key", field=field, value=value, rule="text or a number")
    return None if value is None else str(value)
