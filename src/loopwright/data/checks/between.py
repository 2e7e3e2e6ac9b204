"""Check: values lie between two bounds."""

import functools
import operator
from typing import TYPE_CHECKING

from loopwright.data.checks.base import RowCheck
from loopwright.kernel.clock import parse_moment

if TYPE_CHECKING:
    import polars as pl

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
        low, high = self.low, self.high
        if dtype.is_temporal():
            column = column.dt.cast_time_unit("us").to_physical() if str(dtype) != "Date" else _midnight(column)
            low, high = (None if bound is None else parse_moment(bound, "between") for bound in (low, high))  # type: ignore[arg-type]
        outside = [column.is_nan()] if dtype.is_float() else []
        outside += [column < low] if low is not None else []
        outside += [column > high] if high is not None else []
        return functools.reduce(operator.or_, outside)

    def claim(self) -> str:
        """Return what should hold."""
        if self.low is None:
            return f"at most {self.high}"
        return f"at least {self.low}" if self.high is None else f"between {self.low} and {self.high}"


def _midnight(column: "pl.Expr") -> "pl.Expr":
    return column.cast(int) * 86_400_000_000
