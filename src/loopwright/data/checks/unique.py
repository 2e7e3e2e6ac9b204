"""Check: no value occurs twice among the rows imported together."""

from typing import TYPE_CHECKING

from loopwright.data.checks.base import RowCheck

if TYPE_CHECKING:
    import polars as pl


class Unique(RowCheck, frozen=True):
    """No value occurs twice; with ``columns``, no combination with them. Rows without a value do not count.

    The rows of one import are compared with each other; the dataset's key is compared with older rows by the import.
    """

    columns: tuple[str, ...] = ()

    def failing(self, column: "pl.Expr", dtype: "pl.DataType") -> "pl.Expr":
        """Return True for every row of a repeated value."""
        import polars as pl

        together = pl.struct(column.alias(""), *self.columns) if self.columns else column
        return together.is_duplicated() & column.is_not_null()

    def claim(self) -> str:
        """Return what should hold."""
        return f"unique together with {', '.join(self.columns)}" if self.columns else "unique"
