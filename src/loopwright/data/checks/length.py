"""Check: texts are neither too short nor too long."""

from typing import TYPE_CHECKING

from loopwright.data.checks.base import RowCheck

if TYPE_CHECKING:
    import polars as pl


class Length(RowCheck, frozen=True):
    """Every text has ``low`` to ``high`` letters."""

    low: int = 0
    high: int | None = None

    def validate(self) -> None:
        """Refuse bounds the wrong way round."""
        if self.low < 0 or (self.high is not None and self.high < self.low) or (self.low, self.high) == (0, None):
            raise ValueError("0 <= low <= high, one of them at least")

    def failing(self, column: "pl.Expr", dtype: "pl.DataType | None") -> "pl.Expr":
        """Return True where the text is of another length."""
        letters = column.str.len_chars()
        return letters < self.low if self.high is None else ~letters.is_between(self.low, self.high)

    def claim(self) -> str:
        """Return what should hold."""
        if self.high is None:
            return f"at least {self.low} letters long"
        return f"{self.low} letters long" if self.low == self.high else f"{self.low} to {self.high} letters long"
