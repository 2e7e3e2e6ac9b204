"""Why a feature was served otherwise than the datasets say: what had to be so for the served values to be right.

Each suspicion is tried: the features are computed again as if values had become known earlier or later, or as if the
requests had come at another moment, and the one under which the served values come out is the cause. Values may be late
by another time in each row, as where they are told at the end of the day.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from loopwright.features.types import FeaturePlan
from loopwright.kernel.clock import DAY_US, HOUR_US, MINUTE_US, SECOND_US, format_duration

Cause = Literal["missing", "early", "late", "clock", "rounding", "default", "function", "unknown"]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]
Found = tuple[Cause, float, int]
"""Cause, share that it explains, and by how much."""
Compute = Callable[[int, int], Mapping[str, pl.Series]]
"""Computes features as if values had become known so many microseconds later, and requests had come so much later."""
ComputeRow = Callable[[int, int], Mapping[str, pl.Series]]
"""Computes features of the request of a number, as if what became known after a moment had not been told it yet."""

LADDER_US = (
    *(seconds * SECOND_US for seconds in (1, 10)),
    *(minutes * MINUTE_US for minutes in (1, 5, 15, 30)),
    *(hours * HOUR_US for hours in (1, 2, 3, 6, 12)),
    *(days * DAY_US for days in (1, 2, 7)),
)
"""By how much each suspicion is tried, smallest first."""
FINE_US = (*(hours * HOUR_US for hours in range(1, 24)), *(half * 12 * HOUR_US for half in range(2, 15)))
"""By how much, where values are late or early by another time in each row."""
PERIODS_US = (HOUR_US, DAY_US)
"""After how long values may be told together."""
_MOST_ALONE = 12
"""Rows that are computed one by one."""
ENOUGH = 0.8
"""Share of the unequal values that a cause has to explain."""
_LEAST_ALIKE = 3
_ROUNDED = 1e-6


class FeatureSkew(msgspec.Struct, frozen=True):
    """What is wrong with one feature.

    ``unequal`` rows have another value than was served; of ``explained`` (0..1) of those that were looked at the cause
    gives the very value that was served, ``by_us`` being how much earlier, later or off the clock.
    """

    column: str
    unequal: int
    cause: Cause
    explained: float
    by_us: int = 0

    def tell(self) -> str:
        """Return the finding as a sentence."""
        by = format_duration(abs(self.by_us)) if self.by_us else ""
        told = {
            "missing": "nothing was served where there is a value: the online store did not hold it",
            "early": f"it knew values up to {by} before they are declared to be known",
            "late": f"it did not know yet what had become known up to {by} before",
            "clock": f"it is the value of the moment {by} {'after' if self.by_us > 0 else 'before'} the request",
            "rounding": "it differs in the last digits alone: it was kept as another type",
            "default": "it is the same value in all of them",
            "function": "the function of the request answers otherwise now",
            "unknown": "nothing that was tried explains it",
        }[self.cause]
        return f"{self.column}: {self.unequal} values; {told}"


def explain(
    plan: FeaturePlan,
    served: Mapping[str, pl.Series],
    computed: Mapping[str, pl.Series],
    differs: Callable[[pl.Series, pl.Series], Flags],
    counts: Mapping[str, int],
    compute: Compute,
    compute_row: ComputeRow,
    at_us: Ints,
) -> list[FeatureSkew]:
    """Return the cause of each feature's differences, most of them first.

    Args:
        plan: What they were served by.
        served: Feature -> what was served, n rows in which at least one feature is unequal.
        computed: The same as the datasets say.
        differs: Says of two columns in which rows they are not equal.
        counts: Feature -> rows that are unequal, of all that were compared.
        compute: Computes these rows again.
        compute_row: Computes one of them again, knowing less.
        at_us: int64 (n,), the moment of each, microseconds UTC.
    """
    wrong = {name: differs(served[name], computed[name]) for name in counts}
    plain = {name: _plain_cause(served[name], computed[name], wrong[name]) for name in counts}
    found = {name: cause for name, cause in plain.items() if cause is not None}
    requested = {column for request in plan.requests for column in request.outputs}
    for name in requested & counts.keys() - found.keys():
        found[name] = "function", 1.0, 0
    left = [name for name in counts if name not in found]
    found |= _moved_cause(served, differs, {name: wrong[name] for name in left}, compute) if left else {}
    left = [name for name in left if found[name][0] == "unknown"]
    if left:
        found |= _cut_off(served, differs, {name: wrong[name] for name in left}, compute_row, at_us)
    causes = [FeatureSkew(name, counts[name], *found.get(name, ("unknown", 0.0, 0))) for name in counts]
    return sorted(causes, key=lambda skew: (-skew.unequal, skew.column))


def _plain_cause(served: pl.Series, computed: pl.Series, wrong: Flags) -> Found | None:
    """Return a cause that the values themselves show."""
    ours, theirs = served.filter(pl.Series(wrong)), computed.filter(pl.Series(wrong))
    missing = float((_missing(ours) & ~_missing(theirs)).to_numpy().mean())
    if missing >= ENOUGH:
        return "missing", missing, 0
    if ours.dtype.is_numeric() and theirs.dtype.is_numeric():
        was, should_be = (column.cast(pl.Float64).to_numpy() for column in (ours, theirs))
        close = float(np.isclose(was, should_be, rtol=_ROUNDED, atol=0).mean())
        if close >= ENOUGH:
            return "rounding", close, 0
    most = ours.drop_nulls().value_counts(sort=True).head(1)
    alike = int(most["count"][0]) if len(most) else 0
    if alike >= max(_LEAST_ALIKE, ENOUGH * len(ours)) and theirs.n_unique() >= _LEAST_ALIKE:
        return "default", alike / len(ours), 0
    return None


class _Tried:
    """How well a suspicion explains one feature: by one shift for all rows, or by any up to some for each row."""

    def __init__(self) -> None:
        self.together: Found = "unknown", 0.0, 0
        self.each: dict[Cause, tuple[Flags, int]] = {}

    def add(self, cause: Cause, by_us: int, is_right: Flags) -> None:
        """Take note of the rows of which a shift gives the value that was served."""
        explained = float(is_right.mean())
        if explained >= ENOUGH and explained > self.together[1]:
            self.together = cause, explained, by_us
        before, reach_us = self.each.get(cause, (np.zeros_like(is_right), by_us))
        is_new = bool((is_right & ~before).any()) and before.mean() < ENOUGH
        self.each[cause] = before | is_right, max(by_us, reach_us) if is_new else reach_us

    @property
    def found(self) -> Found:
        """The best suspicion. Shifts of each row's own fit by chance too, so the other direction must do worse."""
        if self.together[1]:
            return self.together
        shares = {cause: float(rows.mean()) for cause, (rows, _) in self.each.items() if cause != "clock"}
        (cause, share), *others = sorted(shares.items(), key=lambda item: -item[1]) or [("unknown", 0.0)]
        if share < ENOUGH or any(share - other < 1 - ENOUGH for _, other in others):
            return "unknown", 0.0, 0
        return cause, share, self.each[cause][1]


def _moved_cause(
    served: Mapping[str, pl.Series],
    differs: Callable[[pl.Series, pl.Series], Flags],
    wrong: Mapping[str, Flags],
    compute: Compute,
) -> dict[str, Found]:
    """Return the smallest shift of what was known, or of the clock, that makes the served values right."""
    tried = {name: _Tried() for name in wrong}
    for cause, by_us, later_us, moved_us in _suspicions():
        again = compute(later_us, moved_us)
        for name, unequal in wrong.items():
            tried[name].add(cause, by_us, ~differs(served[name], again[name])[unequal])
        if all(one.together[1] == 1.0 for one in tried.values()):
            break
    left = {name: unequal for name, unequal in wrong.items() if not tried[name].together[1]}
    for cause, by_us, later_us in _suspicions_of_rows() if left else ():
        again = compute(later_us, 0)
        for name, unequal in left.items():
            tried[name].add(cause, by_us, ~differs(served[name], again[name])[unequal])
    return {name: one.found for name, one in tried.items()}


def _cut_off(
    served: Mapping[str, pl.Series],
    differs: Callable[[pl.Series, pl.Series], Flags],
    wrong: Mapping[str, Flags],
    compute_row: ComputeRow,
    at_us: Ints,
) -> dict[str, Found]:
    """Return until when requests knew what had become known, where that is as long before most of them.

    What has been known for long stays as it is, which a shift of everything changes where windows count by known time.
    """
    rows = {name: spread(np.flatnonzero(unequal), _MOST_ALONE).tolist() for name, unequal in wrong.items()}
    found: dict[str, Found] = {}
    for by_us, until_us in _cuts(at_us):
        left = {name: some for name, some in rows.items() if name not in found}
        asked = sorted({row for some in left.values() for row in some})
        again = {row: compute_row(row, int(until_us[row])) for row in asked}
        for name, some in left.items():
            is_right = [not differs(served[name][[row]], again[row][name]).any() for row in some]
            if np.mean(is_right) >= ENOUGH:
                found[name] = "late", float(np.mean(is_right)), by_us
    return found


def _cuts(at_us: Ints) -> Iterator[tuple[int, Ints]]:
    """Yield how late values may be, and until when each request knew them then."""
    for by_us in LADDER_US:
        yield by_us, at_us - by_us
    for by_us in PERIODS_US:  # values that are told together
        yield by_us, at_us - at_us % by_us


def _suspicions() -> Iterator[tuple[Cause, int, int, int]]:
    """Yield cause and shift, and how much later values are known and requests come then."""
    for by_us in LADDER_US:
        yield "early", by_us, -by_us, 0
        yield "late", by_us, by_us, 0
    for by_us in LADDER_US:
        yield "clock", by_us, 0, by_us
        yield "clock", -by_us, 0, -by_us


def _suspicions_of_rows() -> Iterator[tuple[Cause, int, int]]:
    for by_us in FINE_US:
        yield "early", by_us, -by_us
        yield "late", by_us, by_us


def spread(places: Ints, most: int) -> Ints:
    """Return at most so many of some places, as far from each other as can be."""
    return places[np.linspace(0, len(places) - 1, min(len(places), most)).astype(np.int64)]


def _missing(column: pl.Series) -> pl.Series:
    return column.is_null() | column.is_nan() if column.dtype.is_float() else column.is_null()


def tell_skew(skews: Sequence[FeatureSkew]) -> str:
    """Return all findings in one sentence, the largest three in full."""
    more = f"; and {len(skews) - 3} more features" if len(skews) > 3 else ""
    return "; ".join(skew.tell() for skew in skews[:3]) + more
