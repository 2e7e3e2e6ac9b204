"""Check: no value is missing, whatever the library writes where there is none."""

from typing import TYPE_CHECKING, ClassVar

from loopwright.data.checks.base import RowCheck

if TYPE_CHECKING:
    import polars as pl


class NotNull(RowCheck, frozen=True):
    """A column has no missing values."""

    counts_nulls: ClassVar[bool] = True

    def failing(self, column: "pl.Expr", dtype: "pl.DataType") -> "pl.Expr":
        """Return True where the value is missing, as it will be in a feature: null or NaN."""
        return column.is_null() | column.is_nan() if dtype.is_float() else column.is_null()

    def claim(self) -> str:
        """Return what should hold."""
        return "is not null"
