"""Counting rows: the bins of a column, and its profile in its own bins or those of another."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from loopwright.data.fingerprints import Hashes, hash_columns
from loopwright.data.profiles.columns import BINS, CATEGORIES, Bins, ColumnProfile, Kind, Profile
from loopwright.data.profiles.distinct import count_distinct
from loopwright.data.profiles.spread import count_spread
from loopwright.data.profiles.sums import exact_sums
from loopwright.kernel.errors import InvalidInput

Floats = npt.NDArray[np.float64]


def profile_frame(
    frame: pl.DataFrame, like: Profile | None = None, hashed: Mapping[str, Hashes] | None = None
) -> Profile:
    """Return the profile of a frame, different values among it.

    Args:
        frame: Any frame; lists and bytes are only counted.
        like: Takes histogram edges and categories from this profile, so that both can be merged or compared.
        hashed: The frame's ``fingerprints.hash_columns``, if known already.

    Raises:
        InvalidInput: A column of ``like`` has become another kind.
    """
    known = like.columns if like is not None else {}
    hashed = hashed if hashed is not None else hash_columns(frame)
    columns = {}
    for column in frame.get_columns():
        before = known.get(column.name)
        # A column without a value so far has no bins that mean anything.
        bins = before.bins if before is not None and before.count else None
        counted = profile_column(column, bins)
        hashes = hashed[column.name]
        present = hashes if not counted.nulls else hashes[column.is_not_null().to_numpy()]
        columns[column.name] = msgspec.structs.replace(counted, distinct=count_distinct(present))
    return Profile(frame.height, columns)


def profile_like(frame: pl.DataFrame, like: Profile) -> Profile:
    """Return the profile of a frame in exactly the bins of another, as they are; different values are not counted.

    A column is read as what it is in ``like``: as a number, what is none is missing. One that the frame lacks is
    missing in every row.
    """
    columns = {}
    for name, before in like.columns.items():
        if name in frame.columns:
            columns[name] = _profile_as(frame.get_column(name), before.bins)
        else:
            columns[name] = _empty(before.bins, frame.height)
    return Profile(frame.height, columns)


def profile_column(column: pl.Series, bins: Bins | None = None, categories: int = CATEGORIES) -> ColumnProfile:
    """Return the profile of a column in the bins that are given, or in its own; different values are not counted.

    Args:
        column: Any; lists and bytes are only counted.
        bins: How to tell its values apart; None for bins of its own.
        categories: How many values of a text are then counted each.

    Raises:
        InvalidInput: It is of another kind than the bins.
    """
    kind = kind_of(column.dtype)
    nulls = column.null_count()
    if bins is not None and bins.kind != kind:
        if nulls < len(column):
            raise InvalidInput(
                f"column {column.name} holds a {kind} and was profiled as a {bins.kind}",
                field=column.name,
                value=str(column.dtype),
                rule="a profile compares columns of one kind",
            )
        kind, bins = (kind, None) if column.dtype != pl.Null else (bins.kind, bins)
    if kind == "number":
        return _profile_numbers(column, bins)
    counted = ColumnProfile(kind, len(column), nulls, count=len(column) - nulls)
    if kind == "category":
        return _profile_categories(counted, column, categories if bins is None else bins.categories)
    if kind == "moment" and counted.count:
        moments = column.cast(pl.Datetime("us")) if column.dtype == pl.Date else column
        ticks = moments.cast(pl.Int64)
        spread = count_spread(ticks.drop_nulls().to_numpy())
        return msgspec.structs.replace(counted, low=_number(ticks.min()), high=_number(ticks.max()), spread=spread)
    return counted


def place_rows(column: pl.Series, bins: Bins) -> npt.NDArray[np.int64]:
    """Return for each row its place in ``ColumnProfile.counts``, int64 (rows,); one past the last if it is missing."""
    if bins.kind == "number":
        numbers = column.cast(pl.Float64).to_numpy()
        places = np.searchsorted(np.array(bins.edges), numbers, side="right").astype(np.int64)
        places[np.isnan(numbers)] = len(bins.edges) + 1
        return places
    size = len(bins.categories)
    texts = column.cast(pl.String)
    named = pl.zeros(len(texts), pl.Int64, eager=True)
    if size:
        named = texts.replace_strict(bins.categories, range(size), default=size, return_dtype=pl.Int64)
    return np.asarray(named.set(texts.is_null(), size + 1).to_numpy(), dtype=np.int64)


def kind_of(dtype: pl.DataType) -> Kind:
    """Return how values of a dtype are counted."""
    if dtype.is_numeric() or dtype == pl.Null:
        return "number"
    if isinstance(dtype, pl.Datetime | pl.Date):
        return "moment"
    if isinstance(dtype, pl.String | pl.Boolean | pl.Categorical | pl.Enum):
        return "category"
    return "other"


def _profile_as(column: pl.Series, bins: Bins) -> ColumnProfile:
    """Return the profile of a column that is read as another was; what is no number where one should be is null."""
    if bins.kind == "number":
        counted = profile_column(_cast(column, pl.Float64()), bins)
        return msgspec.structs.replace(counted, nulls=counted.nulls + counted.nans, nans=0)
    return profile_column(_cast(column, pl.String()) if bins.kind == "category" else column, bins)


def _cast(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    # A cast, like most of what a column can do, is a query of its own: dearer than sorting a small column.
    return column if column.dtype == dtype else column.cast(dtype, strict=False)


def _empty(bins: Bins, rows: int) -> ColumnProfile:
    counted = ColumnProfile(bins.kind, rows, rows, edges=bins.edges, categories=bins.categories)
    size = len(bins.edges) + 1
    if bins.kind == "number":
        return msgspec.structs.replace(counted, bin_counts=[0] * size, bin_sums=[0.0] * size)
    return msgspec.structs.replace(counted, category_counts=[0] * len(bins.categories))


class _Numbers(NamedTuple):
    """The values of a column of numbers: the finite ones, ascending, and how many are what else."""

    finite: Floats
    nans: int
    infinities: int
    negative_infinities: int


def _sort_numbers(column: pl.Series) -> _Numbers:
    """Sort a column once: its bins, their counts and their sums are then stretches of it."""
    ordered = np.sort(_cast(column, pl.Float64()).to_numpy())  # infinities at the ends, NaN and nulls behind them
    missing = int(np.isnan(ordered).sum())
    known = ordered[: len(ordered) - missing]
    low = int(np.searchsorted(known, -np.inf, side="right"))
    high = int(np.searchsorted(known, np.inf, side="left"))
    return _Numbers(known[low:high], missing - column.null_count(), low + len(known) - high, low)


def _profile_numbers(column: pl.Series, bins: Bins | None) -> ColumnProfile:
    numbers = _sort_numbers(column)
    finite = numbers.finite
    edges = _edges(finite) if bins is None else np.array(bins.edges)
    cuts = [*np.searchsorted(finite, edges, side="left").tolist(), len(finite)]
    layers = exact_sums(finite, cuts)
    return ColumnProfile(
        "number",
        rows=len(column),
        nulls=column.null_count(),
        nans=numbers.nans,
        infinities=numbers.infinities,
        negative_infinities=numbers.negative_infinities,
        count=len(finite) + numbers.infinities,
        low=float(finite[0]) if len(finite) else None,
        high=float(finite[-1]) if len(finite) else None,
        edges=edges.tolist(),
        bin_counts=np.diff(cuts, prepend=0).tolist(),
        bin_sums=layers[0],
        bin_rests=layers[1:],
    )


def _edges(finite: Floats) -> Floats:
    """Return ascending lower bounds of bins: one a value where there are few, else 64 quantiles; then the open end.

    What is larger than all that these rows hold gets a bin of its own, as what is smaller does: both are news.
    """
    if not len(finite):
        return finite
    starts = _starts(finite)
    lower = finite[starts]
    if len(starts) > BINS:
        lower = finite[(np.arange(BINS) * len(finite)) // BINS]
        lower = lower[_starts(lower)]
    return np.append(lower, math.nextafter(finite[-1], math.inf))


def _starts(ordered: Floats) -> npt.NDArray[np.int64]:
    """Return where each different value begins."""
    return np.concatenate([[0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1])


def _profile_categories(counted: ColumnProfile, column: pl.Series, categories: list[str] | int) -> ColumnProfile:
    """Count listed categories, or so many of the commonest; of equally common ones the first by name."""
    values = _cast(column, pl.String()).alias("value").value_counts(name="rows")
    if isinstance(categories, int):
        categories = (
            values.drop_nulls("value")
            .sort("rows", "value", descending=[True, False])["value"]
            .head(categories)
            .to_list()
        )
    counts = dict(values.iter_rows())
    listed = [counts.get(name, 0) for name in categories]
    other = counted.count - sum(listed)
    return msgspec.structs.replace(counted, categories=categories, category_counts=listed, other=other)


def _number(value: object) -> float | None:
    return None if value is None else float(value)  # type: ignore[arg-type]
