"""The structs of profiles, and what can be read off them; pure."""

import math
from typing import Literal

import msgspec

from loopwright.data.profiles.distinct import Distinct, estimate_distinct
from loopwright.data.profiles.spread import Spread

BINS = 64
"""Bins of a number with more different values than that."""
CATEGORIES = 100
"""Commonest values of a text that are counted each, where nothing else is asked for."""

Kind = Literal["number", "moment", "category", "other"]


class Bins(msgspec.Struct, frozen=True):
    """How the values of a column are told apart.

    ``edges`` of a number are the lower bounds of its bins, ascending; the last is just above the largest value of the
    rows that froze them, and what is below the first has a bin too. ``categories`` of a text are counted each, all
    others together.
    """

    kind: Kind
    edges: list[float] = []
    categories: list[str] = []


class ColumnProfile(msgspec.Struct, frozen=True):
    """Statistics of one column.

    ``count`` values are neither null nor NaN. ``low``, ``high``, bins and sums leave ``infinities`` out, of which
    ``negative_infinities`` are below all else. Of ``edges`` and ``categories``: see ``Bins``. ``bin_counts`` and
    ``bin_sums`` have one place more than there are edges: below the first. The sum of a bin is ``bin_sums`` and
    ``bin_rests`` together, without any rounding; each alone is the nearest float of what those before it leave.
    ``other`` counts values that are no category. Moments are int64 microseconds, in ``low`` and ``high``, and counted
    in ``spread``, which is None where a part of the rows was profiled before that was kept.
    ``distinct`` is None where different values were not counted.
    """

    kind: Kind
    rows: int
    nulls: int
    distinct: Distinct | None = None
    nans: int = 0
    infinities: int = 0
    negative_infinities: int = 0
    count: int = 0
    low: float | None = None
    high: float | None = None
    edges: list[float] = []
    bin_counts: list[int] = []
    bin_sums: list[float] = []
    bin_rests: list[list[float]] = []
    categories: list[str] = []
    category_counts: list[int] = []
    other: int = 0
    spread: Spread | None = None

    @property
    def bins(self) -> Bins:
        """How its values are told apart."""
        return Bins(self.kind, self.edges, self.categories)

    @property
    def is_number(self) -> bool:
        """Say whether its bins are ordered."""
        return self.kind == "number"

    @property
    def missing(self) -> float:
        """Share of missing values (null or NaN), 0..1."""
        return (self.nulls + self.nans) / self.rows if self.rows else 0.0

    @property
    def counts(self) -> list[int]:
        """Values a bin, in order: below, bins, above, infinities among them; or a category each, then all others."""
        if not self.is_number:
            return [*self.category_counts, self.other]
        counts = self.bin_counts or [0] * (len(self.edges) + 1)
        if not self.infinities:
            return counts
        positive = self.infinities - self.negative_infinities
        # One bin alone is both the lowest and the highest.
        outer = [counts[0] + self.negative_infinities, *counts[1:]]
        return [*outer[:-1], outer[-1] + positive]

    @property
    def sums(self) -> list[float]:
        """Sum of the finite values of each bin, correctly rounded; empty for texts."""
        return self.bin_sums

    @property
    def mean(self) -> float | None:
        """Mean of the finite values."""
        finite = self.count - self.infinities
        if finite <= 0 or not self.is_number:
            return None
        try:
            return math.fsum([*self.bin_sums, *(rest for rests in self.bin_rests for rest in rests)]) / finite
        except (OverflowError, ValueError):  # beyond the largest float
            return sum(self.bin_sums) / finite

    @property
    def distinct_estimate(self) -> int:
        """Number of different values: exact up to 1,000, then with a standard error of about 2 %; 0 if not counted."""
        return 0 if self.distinct is None else estimate_distinct(self.distinct)


class Profile(msgspec.Struct, frozen=True):
    """Statistics of a frame. A column that a part of the rows lacks counts as missing there."""

    rows: int
    columns: dict[str, ColumnProfile]
