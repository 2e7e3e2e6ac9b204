"""Frames at the door: moments, entities, feature dtypes, row ids and typed rows, the same for training and serving."""

import hashlib
import math
from collections.abc import Mapping, Sequence
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
_LONGEST_BYTES = 128
_WHOLE = {int, type(None)}
_NO_MOMENT = np.datetime64("NaT").astype(np.int64)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIXERS = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SHIFTS = np.uint64(30), np.uint64(27), np.uint64(31)


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
    # NumPy's moments have a null of their own, so this needs no query, which costs more than all else on few rows.
    at: Ints = series.cast(pl.Int64).cast(pl.Datetime("us")).to_numpy().view(np.int64)
    return np.where(at == _NO_MOMENT, NEVER, at) if series.null_count() else at


def without_nulls(series: pl.Series, value: Any) -> pl.Series:
    """Return a series with ``value`` in place of nulls; without nulls this costs nothing, unlike ``fill_null``."""
    return series.fill_null(value) if series.null_count() else series


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


def row_ids(frame: pl.DataFrame, key: Sequence[str]) -> pl.Series:
    """Return a frame's key as text, String (n,): the parts joined by ``|``; moments as microseconds."""
    parts = [without_nulls(_texts(frame[name]), "") for name in key]
    if len(parts) == 1:
        return parts[0].alias("row_id")
    escaped = [[text.replace("\\", "\\\\").replace("|", "\\|") for text in part.to_list()] for part in parts]
    return pl.Series("row_id", ["|".join(texts) for texts in zip(*escaped, strict=True)], pl.String)


def row_hashes(frame: pl.DataFrame, key: Sequence[str], values: Sequence[str] = ()) -> Ints:
    """Return a hash of each row's key and values, int64 (n,), not negative; the same everywhere and always."""
    texts = row_ids(frame, key).to_list()
    if values:
        parts = [["\x00" if text is None else text for text in _texts(frame[name]).to_list()] for name in values]
        texts = ["\x1f".join(row) for row in zip(texts, *parts, strict=True)]
    return hash_texts(texts)


def _texts(series: pl.Series) -> pl.Series:
    """Return values as text; moments as microseconds."""
    if isinstance(series.dtype, pl.Datetime):
        series = series.cast(pl.Datetime("us", series.dtype.time_zone)).cast(pl.Int64)
    return series.cast(pl.String)


def hash_texts(texts: Sequence[str]) -> Ints:
    """Return a 63-bit hash of each text, int64 (n,), by the finalizer of SplitMix64 over words of 8 bytes."""
    encoded = [text.encode() for text in texts]
    encoded = [
        body if len(body) <= _LONGEST_BYTES else hashlib.blake2b(body, digest_size=32).digest() for body in encoded
    ]
    lengths = np.fromiter(map(len, encoded), np.uint64, len(encoded))
    words = max(1, math.ceil(int(lengths.max(initial=0)) / 8))
    grid = np.array(encoded, dtype=f"S{8 * words}").view("<u8").reshape(len(encoded), words).T
    places = np.arange(words, dtype=np.uint64)[:, None]
    state = _mixed(lengths + _GOLDEN)
    # A row's hash must not depend on how long the others are: words past its end are left out.
    for word, is_inside in zip(_mixed(grid + places + np.uint64(1)), lengths > places * np.uint64(8), strict=True):
        state = np.where(is_inside, _mixed(state ^ word), state)
    hashes: Ints = (state >> np.uint64(1)).astype(np.int64)
    return hashes


def _mixed(words: Any) -> Any:
    words = (words ^ (words >> _SHIFTS[0])) * _MIXERS[0]
    words = (words ^ (words >> _SHIFTS[1])) * _MIXERS[1]
    return words ^ (words >> _SHIFTS[2])


def typed_frame(
    rows: Sequence[Mapping[str, Any]], dtypes: Mapping[str, str], *, zone: str | None = None, field: str = "rows"
) -> pl.DataFrame:
    """Return rows that came as JSON as a frame with the dataset's dtypes; columns without one are inferred.

    Args:
        rows: One mapping per row; a column that a row leaves out is null there.
        dtypes: Column -> Polars dtype as text, such as ``Int64`` or ``Datetime(us, UTC)``.
        zone: Time zone of moments that name none; without it they are refused.
        field: How errors name the rows, such as ``rows``.

    Raises:
        InvalidInput: A value does not fit its column; names ``rows[i].column``.
    """
    columns = []
    for name in dict.fromkeys(chain.from_iterable(rows)):
        values = [row.get(name) for row in rows]
        wanted = dtype_of(dtypes[name]) if name in dtypes else None
        columns.append(_typed(name, values, wanted, zone, field))
    return pl.DataFrame(columns)


@cache
def dtype_of(text: str) -> Any:
    """Return the Polars dtype that a schema names, such as ``Int64``; moments of any unit or zone become UTC."""
    if text.startswith("Datetime"):
        return MOMENT
    found = getattr(pl, text.partition("(")[0], pl.String)
    return pl.String if found in (pl.Categorical, pl.Enum) else found


def _typed(name: str, values: list[Any], wanted: Any, zone: str | None, field: str) -> pl.Series:
    if wanted == MOMENT:
        if not set(map(type, values)) <= _WHOLE:
            values = [_moment(value, zone, f"{field}[{place}].{name}") for place, value in enumerate(values)]
        return pl.Series(name, values, pl.Int64).cast(MOMENT)
    try:
        return pl.Series(name, values, wanted, strict=True)
    except (TypeError, OverflowError, ValueError, pl.exceptions.PolarsError):
        for place, value in enumerate(values):
            _check_value(value, wanted, f"{field}[{place}].{name}")
    return pl.Series(name, values, wanted, strict=False)


def _moment(value: Any, zone: str | None, field: str) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if not isinstance(value, str | datetime):
        raise InvalidInput("this is not a moment", field=field, value=value, rule="ISO 8601 with a zone")
    try:
        return parse_moment(value, field)
    except InvalidInput:
        if zone is None or not isinstance(value, str):
            raise
    naive = pl.Series([value]).str.to_datetime(time_unit="us", strict=False)
    found: int | None = naive.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").dt.epoch("us")[0]
    return found


def _check_value(value: Any, wanted: Any, field: str) -> None:
    try:
        pl.Series([value], dtype=wanted, strict=True)
    except (TypeError, OverflowError, ValueError, pl.exceptions.PolarsError):
        raise InvalidInput("this value does not fit its column", field=field, value=value, rule=str(wanted)) from None
