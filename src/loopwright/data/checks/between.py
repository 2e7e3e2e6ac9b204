"""Check: values lie between two bounds."""

import functools
import math
import operator
from typing import TYPE_CHECKING, Any

from loopwright.data.checks.base import RowCheck
from loopwright.kernel.clock import parse_moment

if TYPE_CHECKING:
    import polars as pl

_WIDEST, _LARGEST = 2**100, 1.7e308
"""Beyond all whole numbers of a column; the largest bound of floats, for a longer whole number is no float."""
Bound = int | float | str | None


class Between(RowCheck, frozen=True):
    """Values lie between ``low`` and ``high``, both included; either may be left out. NaN lies nowhere."""

    low: Bound = None
    high: Bound = None

    def validate(self) -> None:
        """Refuse bounds that are missing, of two kinds, not numbers, or the wrong way round."""
        given = [bound for bound in (self.low, self.high) if bound is not None]
        if not given:
            raise ValueError("low, high or both")
        if any(bound != bound for bound in given):
            raise ValueError("bounds are numbers, not NaN")
        if len({isinstance(bound, str) for bound in given}) > 1:
            raise ValueError("two numbers or two texts")
        if len(given) == 2 and given[0] > given[1]:  # type: ignore[operator]
            raise ValueError("low is at most high")

    def failing(self, column: "pl.Expr", dtype: "pl.DataType") -> "pl.Expr":
        """Return True where the value is outside."""
        low: Any = self.low
        high: Any = self.high
        if dtype.is_temporal():
            column = column.dt.cast_time_unit("us").to_physical() if str(dtype) != "Date" else _midnight(column)
            low, high = (None if bound is None else parse_moment(bound, "between") for bound in (low, high))
        elif dtype.is_integer() or dtype.is_float():
            low, high = (_bound(bound, is_low=is_low, dtype=dtype) for bound, is_low in ((low, True), (high, False)))
        outside = [column.is_nan()] if dtype.is_float() else []
        outside += [column < low] if low is not None else []
        outside += [column > high] if high is not None else []
        return functools.reduce(operator.or_, outside)

    def claim(self) -> str:
        """Return what should hold."""
        if self.low is None:
            return f"at most {self.high}"
        return f"at least {self.low}" if self.high is None else f"between {self.low} and {self.high}"


def _bound(bound: Bound, *, is_low: bool, dtype: "pl.DataType") -> "Bound | pl.Expr":
    """Return a bound as a number of a column's kind that parts its values exactly so.

    Compared with a float, whole numbers would become floats, of which neighbours above 2**53 are the same one.
    """
    import polars as pl

    if bound is None or isinstance(bound, str):
        return bound
    if dtype.is_integer():
        within = max(-_WIDEST, min(bound, _WIDEST))
        return pl.lit(math.ceil(within) if is_low else math.floor(within), dtype=pl.Int128)
    near = bound if isinstance(bound, float) else float(max(-_LARGEST, min(bound, _LARGEST)))
    if near < bound if is_low else near > bound:
        return math.nextafter(near, math.inf if is_low else -math.inf)
    return near


def _midnight(column: "pl.Expr") -> "pl.Expr":
    return column.cast(int) * 86_400_000_000
