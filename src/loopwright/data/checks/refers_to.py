"""Check: every value is one of another dataset's."""

from typing import TYPE_CHECKING, Any

from loopwright.data.checks.base import RowCheck

if TYPE_CHECKING:
    import polars as pl


class RefersTo(RowCheck, frozen=True):
    """Every value is one that ``other_column`` of the newest version of ``dataset`` has."""

    dataset: str
    other_column: str

    def among(self, values: "pl.Series") -> RowCheck:
        """Return the check with the values that are there."""
        return _Among(values, self.claim())

    def failing(self, column: "pl.Expr", dtype: "pl.DataType | None") -> "pl.Expr":
        """Never called: what is there has to be read first."""
        raise ValueError("the values of the other dataset")

    def claim(self) -> str:
        """Return what should hold."""
        return f"one of {self.dataset}.{self.other_column}"


class _Among(RowCheck, frozen=True):
    values: Any
    told: str

    def failing(self, column: "pl.Expr", dtype: "pl.DataType | None") -> "pl.Expr":
        if dtype is not None and dtype.is_nested() != self.values.dtype.is_nested():
            raise ValueError("a list is none of single values, nor one of them a list")
        return ~column.is_in(self.values.implode())

    def claim(self) -> str:
        return self.told
