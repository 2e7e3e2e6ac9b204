"""Columns at the door of features: moments, entities, feature dtypes, typed rows; the same for training and serving.

Pushes and requests come with a few rows each, so what costs as much for one row as for a hundred is avoided here: a
query of Polars (``fill_null``, ``is_not_null``) takes longer than all the arithmetic on a small batch.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cache
from itertools import chain
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loopwright.features.pointintime import NEVER, Ints
from loopwright.kernel.clock import parse_moment
from loopwright.kernel.errors import InvalidInput

MOMENT = pl.Datetime("us", "UTC")
_WHOLE = {int, type(None)}
_PLAIN: dict[Any, set[type]] = {
    pl.Int64: {int, type(None)},
    pl.Float64: {float, type(None)},
    pl.String: {str, type(None)},
    pl.Boolean: {bool, type(None)},
}
"""What needs no look at each value: JSON has it as the column does."""
_KINDS: dict[type, str] = {str: "text", bool: "boolean", int: "number", float: "number"}
"""What kinds of values JSON tells apart."""
_EXACT = 2**53
_LEAST_US, _MOST_US = 10**14, 1 << 61
"""Microseconds below the first lie in the years around 1970: whoever sends such a number counts in another unit."""
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_NO_MOMENT = np.datetime64("NaT", "us").astype(np.int64)


def moments(series: pl.Series, field: str) -> Ints:
    """Return microseconds UTC, int64 (n,); ``NEVER`` where null. Whole numbers are taken as microseconds.

    Raises:
        InvalidInput: The column holds no moments, or moments without a time zone.
    """
    dtype = series.dtype
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is None:
        rule = "moments name their zone; they are kept in UTC"
        raise InvalidInput("these moments name no time zone", field=field, rule=rule, next_step="say the source's zone")
    if isinstance(dtype, pl.Datetime) or dtype == pl.Date:
        series = series.cast(pl.Datetime("us"))
    elif not dtype.is_integer() and dtype != pl.Null:
        raise InvalidInput("these are no moments", field=field, value=str(dtype), rule="Datetime(us, UTC)")
    # NumPy's moments have a null of their own, so finding the gaps needs no query.
    at: Ints = series.cast(pl.Int64).cast(pl.Datetime("us")).to_numpy().view(np.int64)
    return np.where(at == _NO_MOMENT, NEVER, at) if series.null_count() else at


def is_present(series: pl.Series) -> NDArray[np.bool_]:
    """Return where a series is not null, bool (n,); where there are no nulls this costs nothing."""
    if not series.null_count():
        return np.ones(len(series), bool)
    # Compared with itself, a value is true and null is null; unlike ``is_not_null`` this is no query.
    is_null: NDArray[np.bool_] = np.isnan((series == series).cast(pl.Float64).to_numpy())
    return ~is_null


def entities(series: pl.Series, field: str) -> pl.Series:
    """Return entity values as text, null where there is none.

    Raises:
        InvalidInput: They are neither text nor whole numbers.
    """
    if series.dtype.is_integer() or series.dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null, pl.Boolean):
        return series.cast(pl.String)
    raise InvalidInput("this cannot be an entity", field=field, value=str(series.dtype), rule="text or whole numbers")


def as_feature(series: pl.Series, field: str) -> pl.Series:
    """Return a column as a feature: Float64 (booleans as 0 and 1, NaN as null) or String.

    Raises:
        InvalidInput: The column is neither numbers nor text.
    """
    dtype = series.dtype
    if dtype.is_numeric() or dtype in (pl.Boolean, pl.Null):
        numbers = series.cast(pl.Float64)
        has_nan = dtype.is_float() and int(np.isnan(numbers.to_numpy()).sum()) > numbers.null_count()
        return numbers.fill_nan(None) if has_nan else numbers
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return series.cast(pl.String)
    rule = "a number, a boolean or text"
    raise InvalidInput(
        "this cannot be a feature", field=field, value=str(dtype), rule=rule, next_step="take a part of it"
    )


def typed_frame(
    rows: Sequence[Mapping[str, Any]],
    dtypes: Mapping[str, str],
    *,
    zone: str | None = None,
    field: str = "rows",
    is_raw: bool = False,
) -> pl.DataFrame:
    """Return rows that came as JSON as a frame with the dataset's dtypes; columns without one are inferred.

    Args:
        rows: One mapping per row; a column that a row leaves out is null there.
        dtypes: Column -> Polars dtype as text, such as ``Int64`` or ``Datetime(us, UTC)``.
        zone: Time zone of moments that name none; without it they are refused.
        field: How errors name the rows, such as ``rows``.
        is_raw: True where a transform still makes the dtypes: a column that came as another kind stays as it came.

    Raises:
        InvalidInput: A value does not fit its column; names ``rows[i].column``.
    """
    columns = []
    for name in dict.fromkeys(chain.from_iterable(rows)):
        values = [row.get(name) for row in rows]
        wanted = dtype_of(dtypes[name]) if name in dtypes else None
        if is_raw and _came_as_other(values, wanted):
            wanted = None
        columns.append(_typed(name, values, wanted, zone, field))
    return pl.DataFrame(columns)


def is_other_kind(dtype: Any, wanted: Any) -> bool:
    """Say whether a column holds text where numbers or booleans are wanted, or the other way round."""
    kinds = _kind_of(dtype), _kind_of(wanted)
    return "" not in kinds and kinds[0] != kinds[1]


def _came_as_other(values: list[Any], wanted: Any) -> bool:
    kinds = {_KINDS.get(kind, "") for kind in set(map(type, values)) - {type(None)}}
    return len(kinds) == 1 and _kind_of(wanted) != "" and not kinds <= {"", _kind_of(wanted)}


def _kind_of(dtype: Any) -> str:
    if dtype is None:
        return ""
    if dtype == pl.String:
        return "text"
    return "boolean" if dtype == pl.Boolean else "number" if dtype.is_numeric() else ""


@cache
def dtype_of(text: str) -> Any:
    """Return the Polars dtype that a schema names, such as ``Int64``; moments of any unit or zone become UTC."""
    if text.startswith("Datetime"):
        return MOMENT
    dtype = getattr(pl, text.partition("(")[0], pl.String)
    return pl.String if dtype in (pl.Categorical, pl.Enum) else dtype


def _typed(name: str, values: list[Any], wanted: Any, zone: str | None, field: str) -> pl.Series:
    kinds = set(map(type, values))
    if wanted == MOMENT:
        if not kinds <= _WHOLE or not all(value is None or _LEAST_US <= abs(value) < _MOST_US for value in values):
            values = [_moment(value, zone, f"{field}[{index}].{name}") for index, value in enumerate(values)]
        return pl.Series(name, values, pl.Int64).cast(MOMENT)
    if not kinds <= _PLAIN.get(wanted, set()):
        values = [_value(value, wanted, f"{field}[{index}].{name}") for index, value in enumerate(values)]
    try:
        return pl.Series(name, values, wanted, strict=True)
    except (TypeError, OverflowError, ValueError, pl.exceptions.PolarsError):
        for index, value in enumerate(values):
            _check_value(value, wanted, f"{field}[{index}].{name}")
    if wanted is None:
        _check_alike(values, name, field)
    return pl.Series(name, values, wanted, strict=False)


def _check_alike(values: list[Any], name: str, field: str) -> None:
    """Refuse a column whose values are of several kinds: they would become text, or booleans numbers."""
    kinds = [float if type(value) is int else type(value) for value in values]
    first = next((kind for kind in kinds if kind is not type(None)), None)
    for index, kind in enumerate(kinds):
        if kind not in (first, type(None)):
            rule = "one kind a column: numbers, booleans or text"
            where = f"{field}[{index}].{name}"
            raise InvalidInput(
                "other rows hold another kind of value here", field=where, value=values[index], rule=rule
            )


def _value(value: Any, wanted: Any, field: str) -> Any:
    """Return a value of JSON for a column, a whole number as the integer or float that the column holds.

    Raises:
        InvalidInput: It is of another kind, or would be rounded.
    """
    if isinstance(value, list | dict) and not (wanted is not None and wanted.is_nested()):
        raise InvalidInput("a value is one thing", field=field, value=value, rule="a number, a boolean, text or null")
    is_number = wanted is not None and wanted.is_numeric()
    if is_number and isinstance(value, bool):
        raise InvalidInput("a boolean is no number", field=field, value=value, rule=str(wanted))
    if is_number and wanted.is_integer() and isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    if is_number and wanted.is_float() and isinstance(value, int) and abs(value) > _EXACT:
        rule = "whole numbers up to 2^53, beyond which this column has gaps"
        raise InvalidInput("this number would be rounded", field=field, value=value, rule=rule)
    if wanted is None and isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise InvalidInput("this number is too large", field=field, value=value, rule="whole numbers of 64 bits")
    return value


def _moment(value: Any, zone: str | None, field: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        if not _LEAST_US <= abs(value) < _MOST_US:
            raise InvalidInput(
                "this number is no microseconds since 1970",
                field=field,
                value=value,
                rule="ISO 8601 with a zone, or microseconds UTC",
                next_step="multiply seconds by 1,000,000 and milliseconds by 1,000",
            )
        return value
    if not isinstance(value, str | datetime):
        raise InvalidInput("this is not a moment", field=field, value=value, rule="ISO 8601 with a zone")
    if zone is None and isinstance(value, str) and _DAY.fullmatch(value):
        raise InvalidInput("this is a day and no moment", field=field, value=value, rule="ISO 8601 with a zone")
    return parse_moment(value, field, zone=zone)


def read_moments(column: pl.Series, zone: str | None) -> pl.Series:
    """Return moments that came as text, null where one cannot be read.

    Args:
        column: Of text.
        zone: Time zone of moments that name none; without it they cannot be read.
    """

    def read(text: str | None) -> int | None:
        with suppress(InvalidInput):
            return _moment(text, zone, column.name)
        return None

    return pl.Series(column.name, map(read, column), pl.Int64).cast(MOMENT)


def _check_value(value: Any, wanted: Any, field: str) -> None:
    try:
        pl.Series([value], dtype=wanted, strict=True)
    except (TypeError, OverflowError, ValueError, pl.exceptions.PolarsError):
        raise InvalidInput("this value does not fit its column", field=field, value=value, rule=str(wanted)) from None
