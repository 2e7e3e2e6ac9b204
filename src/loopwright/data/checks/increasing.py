"""Check: values never fall from row to row."""

from typing import TYPE_CHECKING

from loopwright.data.checks.base import RowCheck

if TYPE_CHECKING:
    import polars as pl


class Increasing(RowCheck, frozen=True):
    """Values never fall in order of the dataset's time; with ``columns``, among the rows that are alike in them.

    With ``strictly`` they rise. The rows of one import are compared with each other.
    """

    columns: tuple[str, ...] = ()
    strictly: bool = False

    def failing(self, column: "pl.Expr", dtype: "pl.DataType | None") -> "pl.Expr":
        """Return True where the value is below the last one before it, or with ``strictly`` not above."""
        before = column.shift(1).forward_fill()
        before = before.over(*self.columns) if self.columns else before
        return column <= before if self.strictly else column < before

    def claim(self) -> str:
        """Return what should hold."""
        among = f" for each {', '.join(self.columns)}" if self.columns else ""
        return f"{'always rises' if self.strictly else 'never falls'}{among}"
