"""What pages show of columns and of single values: facts from profiles, and cells as texts."""

import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from loopwright.data import ColumnSchema
from loopwright.ui.kit import distributions, words

if TYPE_CHECKING:
    from loopwright.data import profiles

MOST_VALUES = 6
"""Commonest values of a text that are shown."""
LEAST_SHARE = 0.02
"""Where even the commonest value has less, values say nothing."""
_LONGEST_CELL = 60
_LONGEST_NUMBER = 12
_FIRST_YEAR, _LAST_YEAR = -62_135_596_800_000_000, 253_402_300_799_999_999
"""Microseconds of the years that are written with four digits."""
_LARGE, _SMALL = 1e9, 1e-3
_MOST_WHOLE = 32
"""Whole numbers next to each other that have a bar each."""


class ColumnLook(msgspec.Struct, frozen=True):
    """What a page shows of a column without reading a row: from the profile of all rows of a version.

    ``missing`` values are null or NaN. ``low``, ``high`` and ``mean`` are written with the unit of the column; ``bars``
    are counts in equal parts from low to high, ``top`` the commonest values with their shares of those that are there.
    Of a ``is_personal`` column nothing is told that says something of single values.
    """

    name: str
    dtype: str
    is_number: bool
    is_personal: bool = False
    rows: int | None = None
    missing: int | None = None
    distinct: int | None = None
    low: str = words.UNKNOWN
    high: str = words.UNKNOWN
    mean: str = words.UNKNOWN
    bars: list[float] = []
    top: list[tuple[str, float]] = []

    @property
    def missing_share(self) -> float | None:
        """Share of missing values, 0..1; None where it is not known, or there is no row."""
        return None if self.missing is None or not self.rows else self.missing / self.rows


class Cell(msgspec.Struct, frozen=True):
    """One value as it stands in a table: ``text`` is cut, ``whole`` is not and stands in the title where they differ.

    ``kind`` is ``text``, ``number``, ``nothing`` (no value), ``empty`` (a text without letters) or ``masked``. What
    ``is_right`` stands on the right, as numbers do.
    """

    text: str
    whole: str
    kind: str
    is_right: bool = False


def is_number(dtype: str) -> bool:
    """Say whether values of a dtype stand on the right.

    >>> is_number("UInt8"), is_number("Decimal(10, 2)"), is_number("List(Int64)")
    (True, True, False)
    """
    return dtype.startswith(("Int", "UInt", "Float", "Decimal"))


def look_at(
    schema: Sequence[ColumnSchema],
    profile: "profiles.Profile | None",
    personal: Collection[str],
    drawn: Collection[str] = (),
) -> dict[str, ColumnLook]:
    """Return what is shown of each column; of those that the profile does not know only the dtype.

    Args:
        schema: The columns.
        profile: Of all rows.
        personal: Columns of whose values nothing is told.
        drawn: Columns whose distribution is drawn: their bars and commonest values are told.
    """
    known = {} if profile is None else profile.columns
    looks = {}
    for one in schema:
        look = _look(one, known.get(one.name), is_personal=one.name in personal)
        looks[one.name] = _with_distribution(look, known[one.name]) if one.name in drawn and one.name in known else look
    return looks


def _look(column: ColumnSchema, counted: "profiles.ColumnProfile | None", *, is_personal: bool) -> ColumnLook:
    look = ColumnLook(column.name, column.dtype, is_number(column.dtype), is_personal)
    if counted is None:
        return look
    look = msgspec.structs.replace(look, rows=counted.rows, missing=counted.nulls + counted.nans)
    look = msgspec.structs.replace(look, distinct=counted.distinct_estimate if counted.distinct is not None else None)
    if is_personal or not counted.count:
        return look
    low, high, mean = (written(value, column.dtype) for value in (counted.low, counted.high, counted.mean))
    return msgspec.structs.replace(look, low=low, high=high, mean=mean)


def _with_distribution(look: ColumnLook, counted: "profiles.ColumnProfile") -> ColumnLook:
    if look.is_personal or not counted.count:
        return look
    low, high = counted.low, counted.high
    shares = sorted(_shares_of(counted).items(), key=lambda one: -one[1])[:MOST_VALUES]
    return msgspec.structs.replace(
        look,
        bars=[] if low is None or high is None else distributions.bars(counted, *_parts(low, high, look.dtype)),
        top=shares if _says(shares) else [],
    )


def _says(shares: Sequence[tuple[str, float]]) -> bool:
    return max((share for _, share in shares), default=0.0) >= LEAST_SHARE


def _parts(low: float, high: float, *dtypes: str) -> tuple[float, float, int]:
    """Return a range and into how many parts it is cut, such that as many whole numbers fall into each."""
    whole = high - low + 1
    if not all("Int" in dtype for dtype in dtypes) or whole > 2.0**53:
        return low, high, distributions.BARS
    wide = 1 if whole <= _MOST_WHOLE else math.ceil(whole / distributions.BARS)
    places = math.ceil(whole / wide)
    return low, low + wide * places, places


def written(value: float | None, dtype: str) -> str:
    """Return a bound or a mean of a column in words: of moments the moment, of days the day.

    >>> written(0.0, "Datetime(us)"), written(0.0, "Date"), written(2.5e12, "Int64"), written(-9.9, "Float64")
    ('1970-01-01 00:00', '1970-01-01', '2.5e+12', '−9.9')
    """
    if value is None:
        return words.UNKNOWN
    if dtype.startswith(("Datetime", "Date")):
        told = words.moment(int(value)) if _FIRST_YEAR < value < _LAST_YEAR else words.UNKNOWN
        return told[:10] if dtype == "Date" else told
    if abs(value) >= _LARGE or 0 < abs(value) < _SMALL:
        return f"{value:.4g}".replace("-", "−")
    text = words.number(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


def cell(value: Any, dtype: str = "", *, is_masked: bool = False) -> Cell:
    """Return how a value of rows or samples stands in a table.

    >>> cell("2013-03-01T11:00:00Z", "Datetime(us, UTC)").text, cell(None).kind, cell("").text
    ('2013-03-01 11:00:00', 'nothing', 'empty text')
    """
    is_right = is_number(dtype) or (isinstance(value, int | float) and not isinstance(value, bool))
    text, whole, kind = _told(value, dtype, is_masked=is_masked)
    return Cell(text, whole, kind, is_right)


def _told(value: Any, dtype: str, *, is_masked: bool) -> tuple[str, str, str]:
    """Return text, whole and kind of a cell."""
    if value is None:
        return words.UNKNOWN, "no value", "nothing"
    if is_masked:
        return str(value), "personal, not shown", "masked"
    if isinstance(value, bool):
        return str(value).lower(), "", "text"
    text = value if isinstance(value, str) else str(value)
    if isinstance(value, float) and len(text) > _LONGEST_NUMBER:
        return f"{value:.7g}", text, "number"
    if isinstance(value, int | float):
        return text, "", "number"
    if not text:
        return "empty text", "a text without letters", "empty"
    if dtype.startswith("Datetime"):
        return text.replace("T", " ").removesuffix("Z"), text, "text"
    shown = text if len(text) <= _LONGEST_CELL else f"{text[:_LONGEST_CELL]}…"
    return shown, "" if shown == text else text, "text"


class ColumnPair(msgspec.Struct, frozen=True):
    """A column before and after; ``changed_rows`` is None where that was not counted, ``before`` where it is new.

    ``bars_before`` and ``bars_after`` count values in equal parts of one range, ``range_low`` to ``range_high``;
    ``values`` are the shares of single values, None being all that are not counted each.
    """

    name: str
    changed_rows: int | None
    before: ColumnLook | None
    after: ColumnLook | None
    bars_before: list[float] = []
    bars_after: list[float] = []
    range_low: str = words.UNKNOWN
    range_high: str = words.UNKNOWN
    values: list[tuple[str | None, float | None, float | None]] = []


def pair(
    name: str,
    changed_rows: int | None,
    looks: tuple[ColumnLook | None, ColumnLook | None],
    counted: "tuple[profiles.ColumnProfile | None, profiles.ColumnProfile | None]",
) -> ColumnPair:
    """Return a column before and after, its values counted in the same parts of both; of a personal one in none."""
    made = ColumnPair(name, changed_rows, *looks)
    is_personal = any(look.is_personal for look in looks if look is not None)
    known = [one for one in counted if one is not None and one.count]
    if is_personal or not known or len({one.kind for one in known}) > 1:
        return made
    kind = known[0].kind
    if kind == "category":
        return msgspec.structs.replace(made, values=_value_shares(*counted))
    lows, highs = [one.low for one in known if one.low is not None], [one.high for one in known if one.high is not None]
    if not lows:
        return made
    low, high = min(lows), max(highs)
    dtypes = [look.dtype for look in looks if look is not None]
    parts = _parts(low, high, *dtypes)
    drawn = [[] if one is None or not one.count else distributions.bars(one, *parts) for one in counted]
    return msgspec.structs.replace(
        made,
        bars_before=drawn[0],
        bars_after=drawn[1],
        range_low=written(low, dtypes[0]),
        range_high=written(high, dtypes[0]),
    )


def _value_shares(
    before: "profiles.ColumnProfile | None", after: "profiles.ColumnProfile | None"
) -> list[tuple[str | None, float | None, float | None]]:
    """Return the values whose shares differ most, with both, and all others together; None where nobody counted."""
    was, now = _shares_of(before), _shares_of(after)
    # What a profile does not count by itself is not there, unless it counts others together.
    rests = [0.0 if one is None or not one.other else None for one in (before, after)]
    both = [(value, was.get(value, rests[0]), now.get(value, rests[1])) for value in dict.fromkeys([*was, *now])]
    if not _says([*was.items(), *now.items()]):
        return []
    first = sorted(both, key=lambda one: -abs((one[2] or 0.0) - (one[1] or 0.0)))[: MOST_VALUES - 1]
    others = [0.0 if one is None or not one.count else one.other / one.count for one in (before, after)]
    return [*first, (None, others[0], others[1])] if any(others) else [*first]


def _shares_of(counted: "profiles.ColumnProfile | None") -> dict[str, float]:
    if counted is None or not counted.count:
        return {}
    listed = zip(counted.categories, counted.category_counts, strict=False)
    return {value: count / counted.count for value, count in listed if count}
