"""Suggestions: which checks a dataset's rows would have passed, and which columns tell of persons. Pure.

What is suggested holds of the rows that are there, with room for more of the same: bounds lie half the range outside of
what was seen, and one row in a hundred may have a value that is new. What a bound cannot tell, such as labels that are
turned round, a comparison with the imports before may.
"""

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal

from loopwright.data import declarations
from loopwright.data.check_code import check_code
from loopwright.data.personal import find_personal, is_named_personal
from loopwright.data.profiles.columns import ColumnProfile, Profile
from loopwright.data.types import CheckSpec, DatasetSpec, DatasetVersion, Suggestion

_LEAST_ROWS = 100
"""With fewer rows nothing is suggested of their values."""
_MOST_VALUES = 30
"""Different values of a column that may be all there are."""
_ROWS_A_VALUE = 20
_MOST_DIGITS = 1e15
"""From here on a float without a fraction is written as one: its digits say nothing."""
_NEW_VALUES = 0.01
"""Share of the rows in which values that were not seen, and gaps, are let pass."""


def suggest(spec: DatasetSpec, version: DatasetVersion, profile: Profile) -> list[Suggestion]:
    """Return what a dataset's declaration lacks, judged by the rows of a version.

    Its lines are pasted into code: names and values stand in them as Python writes them, in reasons too.

    Args:
        spec: What is declared; its checks are not suggested again.
        version: The newest version.
        profile: Of all its rows.
    """
    whole = {column.name for column in version.schema if "Int" in column.dtype}
    moments = {known.column for known in spec.known_at.values()} | {spec.time}
    found: list[Suggestion] = []
    for name, column in profile.columns.items():
        found += [] if name in spec.personal else _personal(name, column)
    private = {*spec.personal, *(one.personal for one in found)}
    for name, column in profile.columns.items():
        if name not in (*spec.key, spec.time) and column.rows >= _LEAST_ROWS:
            found += _of_column(name, column, is_private=name in private, is_whole=name in whole, moments=moments)
    if profile.rows:
        found.append(_suggestion(declarations.usual_rows(), "as many rows come together as before"))
    declared = {(check.kind, check.column, str(check.args.get("of"))) for check in spec.checks}
    return [
        one
        for one in found
        if one.check is None or (one.check.kind, one.check.column, str(one.check.args.get("of"))) not in declared
    ]


def _personal(name: str, column: ColumnProfile) -> list[Suggestion]:
    kind = find_personal(column.categories)
    if kind is None and not (is_named_personal(name) and column.count):
        return []
    share = f"most of its commonest values are {kind}" if kind else "its name says so"
    return [Suggestion(f"personal=[{name!r}]", f"{name!r} may tell of persons: {share}", personal=name)]


def _of_column(
    name: str, column: ColumnProfile, *, is_private: bool, is_whole: bool, moments: set[str | None]
) -> list[Suggestion]:
    found = []
    missing = column.nulls + column.nans
    if not missing:
        found.append(_suggestion(declarations.not_null(name), f"none of {column.rows:,} values is missing"))
    elif name not in moments:
        few = column.missing <= _NEW_VALUES / 2
        rare = declarations.not_null(name, most_share=_NEW_VALUES)
        check = rare if few else declarations.usual(name, "missing", severity="warn")
        found.append(_suggestion(check, f"{missing:,} of {column.rows:,} values are missing"))
    if is_private or not column.count or name in moments:
        return found
    different = column.distinct_estimate
    if column.kind == "category":
        found += _of_values(name, column, different)
    # Numbers that are all different count something up, and its bounds are moved by every import.
    elif column.is_number and column.low is not None and not (is_whole and different > 0.9 * column.count):
        found += _of_numbers(name, column, is_whole=is_whole)
    return found


def _of_values(name: str, column: ColumnProfile, different: int) -> list[Suggestion]:
    is_closed = not column.other and different <= _MOST_VALUES and column.count >= _ROWS_A_VALUE * different
    if not is_closed:
        return []
    if {*column.categories} <= {"true", "false"}:
        share = dict(zip(column.categories, column.category_counts, strict=True)).get("true", 0) / column.count
        return [_suggestion(declarations.usual(name, "mean"), f"{share:.1%} of them are true")]
    why = f"{column.count:,} rows have {different} different values"
    return [_suggestion(declarations.is_in(name, sorted(column.categories), most_share=_NEW_VALUES), why)]


def _of_numbers(name: str, column: ColumnProfile, *, is_whole: bool) -> list[Suggestion]:
    assert column.low is not None
    assert column.high is not None
    room = (column.high - column.low) / 2 or abs(column.high) / 2 or 1.0
    low, high = _rounded(column.low - room, ROUND_FLOOR), _rounded(column.high + room, ROUND_CEILING)
    low = 0.0 if column.low >= 0 > low else low
    is_plain = low.is_integer() and high.is_integer() and max(-low, high) < _MOST_DIGITS
    bounds = (int(low), int(high)) if is_whole or is_plain else (low, high)
    seen = f"{column.low:g} to {column.high:g} were seen"
    outside = column.infinities + column.nans  # which lie between no bounds
    is_bounded = all(map(math.isfinite, bounds)) and outside <= _NEW_VALUES / 2 * column.count
    found = [_suggestion(declarations.between(name, *bounds, most_share=_NEW_VALUES), seen)] if is_bounded else []
    mean = column.mean
    if mean is not None and math.isfinite(mean):
        why = f"the mean of all is {mean:.4g}"
        found.append(_suggestion(declarations.usual(name, "mean", severity="warn"), why))
    return found


def _rounded(number: float, towards: str) -> float:
    """Return a number of two digits that lies outside of another."""
    if not math.isfinite(number):
        return number
    # Powers of ten as floats end before floats do: 10.0 ** -324 is 0.
    return float(Context(prec=2, rounding=towards).create_decimal(Decimal(number)))


def _suggestion(check: CheckSpec, why: str) -> Suggestion:
    return Suggestion(check_code(check), why, check)
