"""Words of other libraries in the words of our checks: conditions in SQL, patterns, shares and bounds. Pure."""

import math
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, Literal

import msgspec

from loopwright.data import declarations
from loopwright.data.contracts.translation import How, Taken, no_check

Scalar = bool | int | float | str
Number = int | float
_SPECIAL = frozenset(".^$*+?{}[]\\|()")
_LOCAL = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?")
_ANY = "(?s:.*)"
_LONGEST_PATTERN = 500
_FLAGS = re.compile(r"\(\?([is]+)\)")


class Bounds(msgspec.Struct, frozen=True):
    """Two bounds, either of which may lack; a strict one is left out itself."""

    low: Any = None
    high: Any = None
    is_low_strict: bool = False
    is_high_strict: bool = False

    @property
    def is_strict(self) -> bool:
        """Say whether one of the bounds is left out itself."""
        return (self.is_low_strict and self.low is not None) or (self.is_high_strict and self.high is not None)


def of_values(column: str, bounds: Bounds, how: How) -> Iterator[Taken]:
    """Yield the check that values lie between bounds.

    Raises:
        InvalidInput: Nothing is bounded, or a text is bounded strictly.
    """
    if not bounds.is_strict:
        (low, of_low), (high, of_high) = _moment(bounds.low), _moment(bounds.high)
        note = how.note or of_low or of_high
        yield Taken(declarations.between(column, low, high, **how.words), note)
        return
    if isinstance(bounds.low, str) or isinstance(bounds.high, str):
        raise no_check("moments and texts are bounded with their bounds: take the nearest one in lw.check.between")
    parts = []
    if bounds.low is not None:
        parts.append(f"{quoted(column)} {'>' if bounds.is_low_strict else '>='} {sql_value(bounds.low)}")
    if bounds.high is not None:
        parts.append(f"{quoted(column)} {'<' if bounds.is_high_strict else '<='} {sql_value(bounds.high)}")
    yield Taken(declarations.holds(" AND ".join(parts), **how.words), how.note)


def of_statistic(column: str, of: str, bounds: Bounds, how: How, q: float | None = None) -> Iterator[Taken]:
    """Yield the check that a number about all rows lies between bounds.

    Raises:
        InvalidInput: Nothing is bounded, or a bound is no number.
    """
    for bound in (bounds.low, bounds.high):
        if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int | float)):
            raise no_check("a statistic is bounded by numbers")
    if how.most_share:
        raise no_check("a number about all rows holds or not: it tolerates no share of rows")
    low = math.nextafter(bounds.low, math.inf) if bounds.is_low_strict and bounds.low is not None else bounds.low
    high = math.nextafter(bounds.high, -math.inf) if bounds.is_high_strict and bounds.high is not None else bounds.high
    yield Taken(declarations.statistic(column, of, low, high, q=q, severity=how.severity), how.note)


def of_rows(bounds: Bounds, how: How) -> Iterator[Taken]:
    """Yield the check of how many rows come together.

    Raises:
        InvalidInput: A bound is no number, or nothing can lie between them.
    """
    if any(not _is_count(bound) for bound in (bounds.low, bounds.high) if bound is not None):
        raise no_check("rows are counted by whole numbers")
    low = 0 if bounds.low is None else max(0, int(bounds.low) + bounds.is_low_strict)
    high = None if bounds.high is None else int(bounds.high) - bounds.is_high_strict
    yield Taken(declarations.row_count(low, high, severity=how.severity), how.note)


def quoted(column: str) -> str:
    """Return a column's name as a rule has it.

    Raises:
        InvalidInput: No rule can name it.
    """
    if '"' in column or not column:
        raise no_check("a rule cannot name a column that has a quote in its name")
    return f'"{column}"'


def sql_value(value: Scalar) -> str:
    """Return a value as a rule has it.

    Raises:
        InvalidInput: No rule can say it.
    """
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    if not math.isfinite(value) or abs(value) > 1e300:
        raise no_check("a rule cannot say infinity or what is no number")
    return repr(value)


def not_among(column: str, values: Sequence[Scalar], how: How, *, also_there: bool = False) -> Iterator[Taken]:
    """Yield the check that values are none of these; with ``also_there`` that there is one too.

    Raises:
        InvalidInput: There are none, or they do not fit into a rule.
    """
    if not values:
        raise no_check("no values are told")
    others = f"{quoted(column)} NOT IN ({', '.join(map(sql_value, values))})"
    rule = f"{quoted(column)} IS NOT NULL AND {others}" if also_there else others
    yield Taken(declarations.holds(rule, **how.words), how.note)


def matching(
    column: str, pattern: str, how: How, found: Literal["anywhere", "at the start", "whole"] = "anywhere"
) -> Iterator[Taken]:
    """Yield the check that texts match a pattern, which others look for anywhere or at the start.

    Raises:
        InvalidInput: It is no regular expression, or too long a one.
    """
    yield Taken(declarations.matches(column, whole_pattern(pattern, found), **how.words), how.note)


def whole_pattern(pattern: str, found: Literal["anywhere", "at the start", "whole"] = "anywhere") -> str:
    r"""Return a pattern that a text matches from beginning to end where another was found in it.

    Raises:
        InvalidInput: It is longer than patterns are.

    >>> whole_pattern(r"^[a-z]+\d$"), whole_pattern("b+"), whole_pattern("a", "at the start")
    ('[a-z]+\\d', '(?s:.*)(?:b+)(?s:.*)', '(?:a)(?s:.*)')
    """
    if found == "whole":
        return pattern
    if len(pattern) > _LONGEST_PATTERN:
        raise no_check(f"a pattern of more than {_LONGEST_PATTERN} letters")
    if flags := _FLAGS.match(pattern):
        return f"(?{flags[1]}:{whole_pattern(pattern[flags.end() :], found)})"
    if pattern.startswith("^(?:") and pattern.endswith(")$") and _closes_last(pattern[1:-1]):
        return pattern[4:-2]
    is_from_start = found == "at the start" or pattern.startswith("^")
    is_to_end = pattern.endswith("$") and not pattern.endswith("\\$")
    if "|" not in pattern and is_from_start and is_to_end:
        return pattern.removeprefix("^")[:-1]
    before = "" if found == "at the start" else _ANY
    return f"{before}(?:{pattern}){_ANY}"


def _closes_last(pattern: str) -> bool:
    """Say whether the bracket that a pattern begins with is closed by its last letter, whatever stands between."""
    depth, is_set, place = 0, False, 0
    while place < len(pattern) - 1:
        letter = pattern[place]
        if letter == "\\":
            place += 1
        elif is_set:
            is_set = letter != "]"
        elif letter == "[":
            is_set = True
        else:
            depth += (letter == "(") - (letter == ")")
            if depth == 0:
                return False
        place += 1
    return depth == 1 and not is_set and place == len(pattern) - 1


def verbatim(text: str) -> str:
    """Return the pattern of a text as it is."""
    return "".join(f"\\{letter}" if letter in _SPECIAL else letter for letter in text)


def starting(text: str) -> str:
    """Return the pattern of texts that begin with this one."""
    return verbatim(text) + _ANY


def ending(text: str) -> str:
    """Return the pattern of texts that end with this one."""
    return _ANY + verbatim(text)


def rest_of(share: float) -> float:
    """Return what a share leaves, as it is written: of 0.95 it is 0.05.

    >>> rest_of(0.95)
    0.05
    """
    return float(1 - Decimal(repr(float(share))))


def to_percent(share: float) -> float:
    """Return a share in percent, so that it comes back the same."""
    return float(Decimal(repr(float(share))).scaleb(2))


def from_percent(percent: float) -> float:
    """Return percent as a share.

    >>> from_percent(to_percent(0.07))
    0.07
    """
    return float(Decimal(repr(float(percent))).scaleb(-2))


def _moment(bound: Any) -> tuple[Any, str]:
    """Return a bound, a local moment as one of UTC, and what was done."""
    if isinstance(bound, str) and _LOCAL.fullmatch(bound):
        return bound.replace(" ", "T") + "Z", "the moment names no time zone: taken as UTC"
    return bound, ""


def _is_count(bound: object) -> bool:
    return isinstance(bound, int | float) and not isinstance(bound, bool) and float(bound).is_integer()
