"""Checks: one number about the rows of an import is as it was in the imports before."""

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from loopwright.data.checks.base import AggregateCheck
from loopwright.data.checks.statistic import Statistic_, measure, name_statistic, show_number
from loopwright.data.types import CheckSpec

if TYPE_CHECKING:
    import polars as pl

PAST = 28
"""Most imports that a number is compared with."""
LEAST = 7
"""Fewest imports before that say what is usual, where nothing else is asked for."""
FALSE_ALARMS = 0.001
"""Share of imports of which a check says that they are not as usual although they are, where nothing else is asked."""
_MAD = 1.4826
"""Times the median absolute deviation is the standard deviation of a normal distribution."""
_OUTLIER = 10.0
"""Median absolute deviations beyond which an import before says nothing of what is usual."""
_FLOOR = 0.01
"""Share of the mean that is no deviation at all, so that a number which never moved may move a little."""


def judge_by_past(
    value: float | None, past: Sequence[float], least: int, false_alarms: float, floor: float
) -> tuple[bool, str]:
    """Return whether a number lies where the next one is to be expected: Student's prediction interval.

    Imports that are far from the others, by median absolute deviations, are left out before.

    Args:
        value: What was measured.
        past: The same of the imports before.
        least: Fewest of them that say anything.
        false_alarms: How often a number that is as usual lies outside, if those before vary as a normal distribution
            does and do not hang together.
        floor: What is no deviation, whatever the past says.

    Source:
        Hahn, Meeker: Statistical Intervals (1991), 4.7; Iglewicz, Hoaglin: How to Detect and Handle Outliers (1993).
    """
    if len(past) < least:
        return True, f"not evaluated: {len(past)} of {least} imports before it are there"
    if value is None or not math.isfinite(value):
        return False, "there are no values"
    median = statistics.median(past)
    spread = _MAD * statistics.median([abs(one - median) for one in past])
    kept = [one for one in past if not spread or abs(one - median) <= _OUTLIER * spread]
    mean, deviation = statistics.fmean(kept), statistics.stdev(kept)
    width = student_quantile(false_alarms, len(kept) - 1) * deviation * math.sqrt(1 + 1 / len(kept))
    width += floor + _FLOOR * abs(mean)
    expected = f"{show_number(mean - width)} to {show_number(mean + width)}"
    told = f"it is {show_number(value)}, where {expected} is usual after the last {len(past)} imports"
    return abs(value - mean) <= width, told


def student_quantile(outside: float, degrees: int) -> float:
    """Return what a value of Student's distribution exceeds, in size, with probability ``outside``, 0..1.

    Source:
        Hill: Algorithm 396, Student's t-quantiles, Communications of the ACM 13 (1970); six digits from 3 degrees on.
    """
    a = 1 / (degrees - 0.5)
    b = 48 / a**2
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * math.sqrt(a * math.pi / 2) * degrees
    y = (d * outside) ** (2 / degrees)
    if y > 0.05 + a:
        x = statistics.NormalDist().inv_cdf(outside / 2)
        y = x * x
        if degrees < 5:
            c += 0.3 * (degrees - 4.5) * (x + 0.6)
        c += (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b
        y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
        y = math.expm1(a * y * y)
    else:
        tail = 1 / (((degrees + 6) / (degrees * y) - 0.089 * d - 0.822) * (degrees + 2) * 3) + 0.5 / (degrees + 4)
        y = (tail * y - 1) * (degrees + 1) / (degrees + 2) + 1 / y
    return math.sqrt(degrees * y)


def measured_as(spec: CheckSpec) -> tuple[object, ...]:
    """Return what tells whether two declarations measure the same number, whatever they make of it."""
    args = {name: value for name, value in spec.args.items() if name not in ("least", "false_alarms")}
    return spec.kind, spec.column, spec.where, args


class _Usual(AggregateCheck, frozen=True, kw_only=True):
    least: int = LEAST
    false_alarms: float = FALSE_ALARMS

    def validate(self) -> None:
        """Refuse limits that let everything pass or nothing."""
        if not 3 <= self.least <= PAST or not 0 < self.false_alarms < 1:
            raise ValueError(f"least is 3 to {PAST}, false_alarms a share between 0 and 1")


class Usual(_Usual, frozen=True, kw_only=True):
    """A statistic of the rows imported together is as it was in the last 28 imports of the same kind.

    Before ``least`` of them it passes. ``of`` and ``q`` are those of ``statistic``; see ``judge_by_past``.
    """

    of: Statistic_
    q: float | None = None

    def validate(self) -> None:
        """Refuse limits and a quantile that make no sense."""
        super().validate()
        if (self.of == "quantile") != (self.q is not None) or (self.q is not None and not 0 <= self.q <= 1):
            raise ValueError("q of a quantile, 0 to 1")

    def measure(self, column: "pl.Expr", dtype: "pl.DataType | None") -> "pl.Expr":
        """Return the statistic."""
        return measure(self.of, column, dtype, self.q)

    def judge(self, value: Any, now_us: int, past: Sequence[float]) -> tuple[bool, str]:
        """Return whether it is usual."""
        return judge_by_past(value, past, self.least, self.false_alarms, 0.001 if self.of == "missing" else 0.0)

    def claim(self) -> str:
        """Return what should hold, to follow the column's name."""
        return f"{name_statistic(self.of, self.q)} as usual"


class UsualRows(_Usual, frozen=True, kw_only=True):
    """About as many rows are imported together as in the last 28 imports of the same kind."""

    needs_column: ClassVar[bool] = False
    needs_rows: ClassVar[bool] = False

    def measure(self, column: "pl.Expr", dtype: "pl.DataType | None") -> "pl.Expr":
        """Return the number of rows."""
        return column

    def judge(self, value: Any, now_us: int, past: Sequence[float]) -> tuple[bool, str]:
        """Return whether it is usual."""
        floor = math.sqrt(statistics.median(past)) if past else 0.0  # as counts vary that nothing but chance moves
        return judge_by_past(value, past, self.least, self.false_alarms, floor)

    def claim(self) -> str:
        """Return what should hold."""
        return "number of rows as usual"
