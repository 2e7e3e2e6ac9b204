"""Check: one number about a column lies between two bounds."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from loopwright.data.checks.base import AggregateCheck

if TYPE_CHECKING:
    import polars as pl

Statistic_ = Literal["mean", "median", "std", "min", "max", "sum", "quantile", "distinct", "missing"]


def measure(of: str, column: "pl.Expr", dtype: "pl.DataType | None", q: float | None = None) -> "pl.Expr":
    """Return a statistic of a column; missing values count in ``missing`` alone.

    Raises:
        ValueError: It is none of a column of this dtype.
    """
    is_float = dtype is not None and dtype.is_float()
    if of == "missing":
        return (column.is_null() | column.is_nan() if is_float else column.is_null()).mean()
    column = column.fill_nan(None) if is_float else column
    if of == "distinct":
        return column.drop_nulls().n_unique()
    if dtype is None or not (dtype.is_numeric() or str(dtype) == "Boolean"):
        raise ValueError(f"a column of numbers, not {dtype}")
    column = column.cast(float)
    return column.quantile(q or 0.0, "linear") if of == "quantile" else getattr(column, of)()


def name_statistic(of: str, q: float | None) -> str:
    """Return what a statistic is called before "of the column"."""
    names = {
        "quantile": f"{q} quantile",
        "distinct": "number of different values",
        "missing": "share of missing values",
    }
    return names.get(of, of)


def show_number(value: float) -> str:
    """Return a measured number with as many digits as say something."""
    return f"{value:.6g}"


class Statistic(AggregateCheck, frozen=True):
    """A statistic of the rows imported together lies between ``low`` and ``high``; either may be left out.

    ``of`` is mean, median, std, min, max, sum, quantile (at ``q``, 0..1), distinct (how many different values) or
    missing (a share, 0..1).
    """

    of: Statistic_
    low: float | None = None
    high: float | None = None
    q: float | None = None

    def validate(self) -> None:
        """Refuse bounds that are missing or the wrong way round, and a quantile without its place."""
        if self.low is None and self.high is None:
            raise ValueError("low, high or both")
        if self.low is not None and self.high is not None and not self.low <= self.high:
            raise ValueError("low is at most high")
        if any(bound != bound for bound in (self.low, self.high, self.q) if bound is not None):
            raise ValueError("bounds are numbers, not NaN")
        if (self.of == "quantile") != (self.q is not None) or (self.q is not None and not 0 <= self.q <= 1):
            raise ValueError("q of a quantile, 0 to 1")

    def measure(self, column: "pl.Expr", dtype: "pl.DataType | None") -> "pl.Expr":
        """Return the statistic."""
        return measure(self.of, column, dtype, self.q)

    def judge(self, value: Any, now_us: int, past: Sequence[float]) -> tuple[bool, str]:
        """Return whether it lies between the bounds."""
        if value is None:
            return False, "not evaluated, there are no values"
        is_inside = (self.low is None or value >= self.low) and (self.high is None or value <= self.high)
        return is_inside, f"it is {show_number(value)}"

    def claim(self) -> str:
        """Return what should hold, to follow the column's name."""
        low, high = (None if bound is None else show_number(bound) for bound in (self.low, self.high))
        between = f"between {low} and {high}" if low and high else f"at least {low}" if low else f"at most {high}"
        return f"{name_statistic(self.of, self.q)} {between}"
