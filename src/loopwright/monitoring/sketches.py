"""Sketches: counts of a column in bins that its reference froze. Adding them is exact, in any order and grouping.

Numbers: one bin a value where there are few, else 64 quantile bins, one below and one above them; each keeps count
and sum, because distances in units of the column need both. Texts: the 1,000 commonest levels and one bin for every
other. Missing values (null and NaN) are counted apart. Booleans are numbers.
"""

import zlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from loopwright.kernel.errors import Corrupt, InvalidInput

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import polars as pl

T = TypeVar("T")
Placed = tuple["npt.NDArray[np.int64]", "npt.NDArray[np.float64]"]
BINS = 64
LEVELS = 1000


class Sketch(msgspec.Struct, frozen=True):
    """Counts of one column.

    Numbers: ``edges`` are the ascending lower bounds of the bins, the last one just above the largest value of the
    reference; ``counts`` and ``sums`` (of finite values) have one place more: below the first edge. Texts:
    ``levels``, commonest first; ``counts`` has one place more, at the end: any other level.
    """

    edges: list[float] = []
    levels: list[str] = []
    counts: list[int] = []
    sums: list[float] = []
    nulls: int = 0

    @property
    def is_number(self) -> bool:
        """Say whether the bins are ordered."""
        return not self.levels

    @property
    def rows(self) -> int:
        """Rows counted, missing values among them."""
        return sum(self.counts) + self.nulls

    @property
    def missing(self) -> float:
        """Share of missing values, 0..1."""
        return self.nulls / self.rows if self.rows else 0.0


class Profile(msgspec.Struct, frozen=True):
    """Sketches of a frame by column."""

    rows: int
    sketches: dict[str, Sketch]


class Reference(msgspec.Struct, frozen=True):
    """What windows are compared with.

    ``usual`` is the largest distance by ``metric`` that stretches of ``over_us`` (0: of ``every_us``) of the reference
    itself reach; ``clock`` names columns that only tell the time, whose distance means nothing.
    """

    profile: Profile
    metric: str = ""
    every_us: int = 0
    over_us: int = 0
    usual: dict[str, float] = {}
    clock: list[str] = []


def freeze_sketch(column: "pl.Series") -> Sketch:
    """Return the sketch of a reference column with bins of its own."""
    return count(column, freeze_bins(column))


def freeze_bins(column: "pl.Series") -> Sketch:
    """Return bins for a reference column, nothing counted yet."""
    if not is_number(column):
        names = column.drop_nulls().cast(str).value_counts(name="rows")
        names = names.sort("rows", names.columns[0], descending=[True, False])
        # One level at least, for a sketch without any would read as one of numbers.
        return Sketch(levels=names.head(LEVELS).to_series(0).to_list() or [""])
    import numpy as np

    numbers = to_numbers(column)
    return Sketch(edges=_edges(numbers[np.isfinite(numbers)]).tolist())


def count(column: "pl.Series", like: Sketch) -> Sketch:
    """Return the sketch of a column in the bins of another sketch."""
    return from_places(*places(column, like), like)


def places(column: "pl.Series", like: Sketch) -> Placed:
    """Return for each row its bin, one past the last if missing, and its value as a summand (finite, else 0)."""
    import numpy as np

    if like.is_number:
        numbers = to_numbers(column)
        found = np.searchsorted(np.array(like.edges), numbers, side="right").astype(np.int64)
        found[np.isnan(numbers)] = len(like.edges) + 1
        return found, np.where(np.isfinite(numbers), numbers, 0.0)
    size = len(like.levels)
    bins: dict[str | None, int] = {level: place for place, level in enumerate(like.levels)}
    bins[None] = size + 1
    found = np.fromiter((bins.get(text, size) for text in column.cast(str).to_list()), np.int64, len(column))
    return found, np.zeros(len(found))


def from_places(found: "npt.NDArray[np.int64]", values: "npt.NDArray[np.float64]", like: Sketch) -> Sketch:
    """Return the sketch of rows whose bins are known."""
    import numpy as np

    size = len(like.edges if like.is_number else like.levels) + 1
    counts = np.bincount(found, minlength=size + 1)
    sums = np.bincount(found, weights=values, minlength=size + 1)[:size].tolist() if like.is_number else []
    return Sketch(like.edges, like.levels, counts[:size].tolist(), sums, int(counts[size]))


def build_profile(frame: "pl.DataFrame", like: Profile) -> Profile:
    """Return the profile of a frame in the bins of a reference; a column it lacks is missing in every row."""
    sketches = {}
    for name, sketch in like.sketches.items():
        if name in frame.columns:
            sketches[name] = count(frame.get_column(name), sketch)
        else:
            zeros = [0] * len(sketch.counts)
            sums = [0.0] * len(sketch.sums)
            sketches[name] = msgspec.structs.replace(sketch, counts=zeros, sums=sums, nulls=frame.height)
    return Profile(frame.height, sketches)


def merge(profiles: Iterable[Profile]) -> Profile:
    """Return the profile of all rows of several profiles.

    Raises:
        InvalidInput: They are none, or their bins come from different references.
    """
    first, *others = profiles
    sketches = dict(first.sketches)
    rows = first.rows
    for profile in others:
        rows += profile.rows
        if profile.sketches.keys() != sketches.keys():
            raise InvalidInput("these profiles have other columns", field="profile", rule="profiles of one reference")
        for name, sketch in profile.sketches.items():
            sketches[name] = _add(name, sketches[name], sketch)
    return Profile(rows, sketches)


def to_bytes(document: Any) -> bytes:
    """Return the stored form of a profile or reference: compressed MessagePack."""
    return zlib.compress(msgspec.msgpack.encode(document), 1)


def profile_from_bytes(body: bytes) -> Profile:
    """Return the profile of stored bytes.

    Raises:
        Corrupt: They hold none.
    """
    return _from_bytes(body, Profile)


def reference_from_bytes(body: bytes) -> Reference:
    """Return the reference of stored bytes.

    Raises:
        Corrupt: They hold none.
    """
    return _from_bytes(body, Reference)


def _from_bytes(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.msgpack.decode(zlib.decompress(body), type=kind)
    except (zlib.error, msgspec.DecodeError) as error:
        raise Corrupt("a stored profile cannot be read", value=str(error)) from None


def is_number(column: "pl.Series") -> bool:
    """Say whether a column has ordered bins: numbers, booleans, and columns without any value."""
    import polars as pl

    return column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)


def to_numbers(column: "pl.Series") -> "npt.NDArray[np.float64]":
    """Return a column as float64, missing and unreadable values as NaN."""
    import numpy as np
    import polars as pl

    return np.asarray(column.cast(pl.Float64, strict=False).to_numpy(), dtype=np.float64)


def _edges(finite: "npt.NDArray[np.float64]") -> "npt.NDArray[np.float64]":
    import numpy as np

    if not len(finite):
        return finite
    distinct = np.unique(finite)
    if len(distinct) > BINS:
        ordered = np.sort(finite)
        distinct = np.unique(ordered[(np.arange(BINS) * len(ordered)) // BINS])
    # What is larger than all the reference saw gets a bin of its own, as what is smaller does: both are drift at once.
    return np.append(distinct, np.nextafter(finite.max(), np.inf))


def _add(name: str, one: Sketch, other: Sketch) -> Sketch:
    if (one.edges, one.levels) != (other.edges, other.levels):
        raise InvalidInput(f"the bins of {name} differ", field=name, rule="profiles of one reference")
    return Sketch(
        one.edges,
        one.levels,
        [a + b for a, b in zip(one.counts, other.counts, strict=True)],
        [a + b for a, b in zip(one.sums, other.sums, strict=True)],
        one.nulls + other.nulls,
    )
