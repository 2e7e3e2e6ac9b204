"""Profiles: statistics of a frame that merge, so that an append costs its own rows only.

Numbers: count, sum, sum of squares, smallest, largest, and a histogram whose edges the first profile freezes (64
quantile bins, one below and one above; each keeps count and sum). Texts and booleans: counts of the 100 commonest
values of the first profile, and of all others. Distinct values: exact up to 1,000, then HyperLogLog with 4,096
registers (Flajolet et al. 2007). Profiles of one histogram merge in any order and grouping.
"""

import math
import zlib
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from loopwright.data.fingerprints import Hashes, find_present, hash_columns
from loopwright.kernel.errors import Corrupt, InvalidInput

BINS = 64
CATEGORIES = 100
EXACT_DISTINCT = 1000
_PRECISION = 12
_REGISTERS = 1 << _PRECISION
_RANK_BITS = 64 - _PRECISION

Kind = Literal["number", "moment", "category", "other"]
Floats = npt.NDArray[np.float64]


class Sketch(msgspec.Struct, frozen=True):
    """Distinct values: their sorted 64-bit hashes while there are few, then registers (uint8 of length 4,096)."""

    hashes: bytes = b""
    registers: bytes = b""


class ColumnProfile(msgspec.Struct, frozen=True):
    """Statistics of one column.

    ``count`` values are neither null nor NaN; sums, ``low``, ``high`` and bins leave infinities out. ``edges`` are the
    lower bounds of the bins, ascending; ``bin_counts`` and ``bin_sums`` have one place more: below the first edge. The
    last edge is just above the largest value of the first profile. Moments are int64 microseconds, in ``low`` and
    ``high`` alone.
    """

    kind: Kind
    rows: int
    nulls: int
    distinct: Sketch
    nans: int = 0
    infinities: int = 0
    count: int = 0
    total: float = 0.0
    total_squares: float = 0.0
    low: float | None = None
    high: float | None = None
    edges: list[float] = []
    bin_counts: list[int] = []
    bin_sums: list[float] = []
    categories: list[str] = []
    category_counts: list[int] = []
    other: int = 0

    @property
    def mean(self) -> float | None:
        """Mean of the finite values."""
        finite = self.count - self.infinities
        return self.total / finite if finite > 0 and self.kind == "number" else None

    @property
    def distinct_estimate(self) -> int:
        """Number of different values: exact up to 1,000, then within about 2 %."""
        return estimate_distinct(self.distinct)


class Profile(msgspec.Struct, frozen=True):
    """Statistics of a frame. A column that a part of the rows lacks counts as missing there."""

    rows: int
    columns: dict[str, ColumnProfile]


def profile_frame(
    frame: pl.DataFrame, like: Profile | None = None, hashed: Mapping[str, Hashes] | None = None
) -> Profile:
    """Return the profile of a frame.

    Args:
        frame: Any frame; lists and bytes are only counted.
        like: Takes histogram edges and categories from this profile, so that both can be merged or compared.
        hashed: The frame's ``fingerprints.hash_columns``, if known already.

    Raises:
        InvalidInput: A column of ``like`` has become another kind.
    """
    known = like.columns if like is not None else {}
    hashed = hashed if hashed is not None else hash_columns(frame)
    present = find_present(frame)
    columns = {
        column.name: _profile_column(column, present.get(column.name), known.get(column.name), hashed[column.name])
        for column in frame.get_columns()
    }
    return Profile(frame.height, columns)


def merge(left: Profile, right: Profile) -> Profile:
    """Return the profile of the rows of both.

    Raises:
        InvalidInput: A column has other edges or categories in each; profile one like the other.
    """
    columns = {}
    for name in dict.fromkeys([*left.columns, *right.columns]):
        one = left.columns.get(name) or _absent(right.columns[name].kind, left.rows)
        other = right.columns.get(name) or _absent(left.columns[name].kind, right.rows)
        columns[name] = _merge_column(name, one, other)
    return Profile(left.rows + right.rows, columns)


def to_bytes(profile: Profile) -> bytes:
    """Return the stored form: compressed MessagePack."""
    return zlib.compress(msgspec.msgpack.encode(profile), 1)


def from_bytes(body: bytes) -> Profile:
    """Return the profile of stored bytes.

    Raises:
        Corrupt: They hold no profile.
    """
    try:
        return msgspec.msgpack.decode(zlib.decompress(body), type=Profile)
    except (zlib.error, msgspec.DecodeError) as error:
        raise Corrupt("a stored profile cannot be read", value=str(error)) from None


def estimate_distinct(sketch: Sketch) -> int:
    """Return how many different values a sketch has seen."""
    if not sketch.registers:
        return len(sketch.hashes) // 8
    registers = np.frombuffer(sketch.registers, dtype=np.uint8)
    estimate = 0.7213 / (1 + 1.079 / _REGISTERS) * _REGISTERS**2 / float(np.exp2(-registers.astype(np.float64)).sum())
    empty = int((registers == 0).sum())
    if estimate <= 2.5 * _REGISTERS and empty:
        estimate = _REGISTERS * float(np.log(_REGISTERS / empty))
    return round(estimate)


def _profile_column(
    column: pl.Series, is_present: pl.Series | None, like: ColumnProfile | None, hashes: Hashes
) -> ColumnProfile:
    kind = _kind(column.dtype)
    if like is not None and not like.count:
        like = None
    if like is not None and like.kind != kind and column.null_count() < len(column):
        raise InvalidInput(
            f"column {column.name} holds a {kind} and was profiled as a {like.kind}",
            field=column.name,
            value=str(column.dtype),
            rule="a profile compares columns of one kind",
        )
    valid = column if is_present is None else column.filter(is_present)
    distinct = _few_or_registers(np.unique(hashes if is_present is None else hashes[is_present.to_numpy()]))
    if kind == "number" and column.dtype != pl.Null:
        return _profile_numbers(column, valid.cast(pl.Float64), like, distinct)
    filled = ColumnProfile(kind, len(column), column.null_count(), distinct, count=len(valid))
    if kind == "moment" and len(valid):
        ticks = (valid.cast(pl.Datetime("us")) if valid.dtype == pl.Date else valid).cast(pl.Int64)
        return msgspec.structs.replace(filled, low=_number(ticks.min()), high=_number(ticks.max()))
    return _count_categories(filled, valid, like) if kind == "category" else filled


def _profile_numbers(
    column: pl.Series, valid: pl.Series, like: ColumnProfile | None, distinct: Sketch
) -> ColumnProfile:
    numbers = valid.to_numpy()
    numbers = numbers[~np.isnan(numbers)]
    finite = numbers[np.isfinite(numbers)]
    edges = np.array(like.edges) if like is not None and like.edges else _edges(finite)
    places = np.searchsorted(edges, finite, side="right")
    size = len(edges) + 1
    with np.errstate(over="ignore"):
        total, total_squares = float(finite.sum()), float(np.square(finite).sum())
        sums = np.bincount(places, weights=finite, minlength=size)
    return ColumnProfile(
        "number",
        rows=len(column),
        nulls=column.null_count(),
        distinct=distinct,
        nans=len(valid) - len(numbers),
        infinities=len(numbers) - len(finite),
        count=len(numbers),
        total=total,
        total_squares=total_squares,
        low=float(finite.min()) if len(finite) else None,
        high=float(finite.max()) if len(finite) else None,
        edges=edges.tolist(),
        bin_counts=np.bincount(places, minlength=size).tolist() if len(edges) else [],
        bin_sums=sums.tolist() if len(edges) else [],
    )


def _edges(finite: Floats) -> Floats:
    """Return ascending lower bounds of bins: one a value where there are few, else 64 quantiles; then the open end."""
    if not len(finite):
        return finite
    ordered = np.sort(finite)
    starts = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    if len(starts) < BINS:
        lower = ordered[np.concatenate([[0], starts])]
    else:
        lower = np.unique(ordered[(np.arange(BINS) * len(ordered)) // BINS])
    return np.append(lower, math.nextafter(ordered[-1], math.inf))


def _count_categories(filled: ColumnProfile, valid: pl.Series, like: ColumnProfile | None) -> ColumnProfile:
    counted = valid.cast(pl.String).alias("value").value_counts(name="rows")
    if like is not None and like.categories:
        categories = like.categories
    else:
        categories = counted.sort("rows", "value", descending=[True, False])["value"].head(CATEGORIES).to_list()
    counts = dict(counted.iter_rows())
    listed = [counts.get(name, 0) for name in categories]
    return msgspec.structs.replace(
        filled, categories=categories, category_counts=listed, other=len(valid) - sum(listed)
    )


def _kind(dtype: pl.DataType) -> Kind:
    if dtype.is_numeric() or dtype == pl.Null:
        return "number"
    if isinstance(dtype, pl.Datetime | pl.Date):
        return "moment"
    if isinstance(dtype, pl.String | pl.Boolean | pl.Categorical | pl.Enum):
        return "category"
    return "other"


def _absent(kind: Kind, rows: int) -> ColumnProfile:
    return ColumnProfile(kind, rows, rows, Sketch())


def _merge_column(name: str, one: ColumnProfile, other: ColumnProfile) -> ColumnProfile:
    # A side without values has no bins of its own and takes those of the other.
    base = max(one, other, key=lambda side: (bool(side.edges or side.categories), side.count > 0, side.kind))
    for side in (one, other):
        has_bins = bool(side.edges or side.categories)
        is_same_kind = side.kind == base.kind or not side.count
        if not is_same_kind or (has_bins and (side.edges, side.categories) != (base.edges, base.categories)):
            rule = "both profiles of one kind, with the same edges and categories"
            raise InvalidInput(f"the profiles of column {name} cannot be merged", field=name, rule=rule)
    return ColumnProfile(
        base.kind,
        rows=one.rows + other.rows,
        nulls=one.nulls + other.nulls,
        distinct=_merge_sketches(one.distinct, other.distinct),
        nans=one.nans + other.nans,
        infinities=one.infinities + other.infinities,
        count=one.count + other.count,
        total=one.total + other.total,
        total_squares=one.total_squares + other.total_squares,
        low=min((side.low for side in (one, other) if side.low is not None), default=None),
        high=max((side.high for side in (one, other) if side.high is not None), default=None),
        edges=base.edges,
        bin_counts=_add(one.bin_counts, other.bin_counts),
        bin_sums=_add(one.bin_sums, other.bin_sums),
        categories=base.categories,
        category_counts=_add(one.category_counts, other.category_counts),
        other=one.other + other.other,
    )


def _add(one: list[Any], other: list[Any]) -> list[Any]:
    return [a + b for a, b in zip(one, other, strict=True)] if one and other else one or other


def _few_or_registers(hashes: Hashes) -> Sketch:
    if len(hashes) <= EXACT_DISTINCT:
        return Sketch(hashes=hashes.astype("<u8").tobytes())
    return Sketch(registers=_registers(hashes).tobytes())


def _registers(hashes: Hashes) -> npt.NDArray[np.uint8]:
    """Return, for each value of the first 12 bits, the longest run of zeros (plus one) that the other 52 begin with."""
    places = (hashes >> np.uint64(_RANK_BITS)).astype(np.int64)
    rest = (hashes & np.uint64((1 << _RANK_BITS) - 1)).astype(np.float64)
    ranks = (_RANK_BITS + 1 - np.frexp(rest)[1]).astype(np.uint8)
    registers = np.zeros(_REGISTERS, dtype=np.uint8)
    np.maximum.at(registers, places, ranks)
    return registers


def _merge_sketches(one: Sketch, other: Sketch) -> Sketch:
    if not one.registers and not other.registers:
        pair = [np.frombuffer(side.hashes, dtype="<u8") for side in (one, other)]
        return _few_or_registers(np.unique(np.concatenate(pair)))
    pairs = [
        np.frombuffer(side.registers, dtype=np.uint8)
        if side.registers
        else _registers(np.frombuffer(side.hashes, dtype="<u8"))
        for side in (one, other)
    ]
    return Sketch(registers=np.maximum(*pairs).tobytes())


def _number(value: object) -> float | None:
    return None if value is None else float(value)  # type: ignore[arg-type]
