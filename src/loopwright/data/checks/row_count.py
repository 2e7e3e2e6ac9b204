"""Check: how many rows come together."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from loopwright.data.checks.base import AggregateCheck

if TYPE_CHECKING:
    import polars as pl


class RowCount(AggregateCheck, frozen=True):
    """Between ``low`` and ``high`` rows are imported together."""

    needs_column: ClassVar[bool] = False
    needs_rows: ClassVar[bool] = False

    low: int = 0
    high: int | None = None

    def validate(self) -> None:
        """Refuse bounds the wrong way round."""
        if self.low < 0 or (self.high is not None and self.high < self.low):
            raise ValueError("0 <= low <= high")

    def measure(self, column: "pl.Expr", dtype: "pl.DataType | None") -> "pl.Expr":
        """Return the number of rows."""
        return column

    def judge(self, value: Any, now_us: int, past: Sequence[float]) -> tuple[bool, str]:
        """Return whether the number of rows passes."""
        return self.low <= value and (self.high is None or value <= self.high), f"{value} rows"

    def claim(self) -> str:
        """Return what should hold."""
        return f"at least {self.low} rows" if self.high is None else f"between {self.low} and {self.high} rows"
