"""Check: texts are days or moments of one spelling."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from loopwright.data.checks.base import RowCheck

if TYPE_CHECKING:
    import polars as pl

MOST_LETTERS = 100
_TIME = ("%H", "%I", "%T", "%R", "%X")


class Dated(RowCheck, frozen=True):
    """Every text is a day or moment as ``format`` writes it, in the letters of ``strptime``, such as ``%d.%m.%Y``."""

    format: str

    def validate(self) -> None:
        """Refuse what names no day."""
        if len(self.format) > MOST_LETTERS:
            raise ValueError(f"a format of at most {MOST_LETTERS} letters")
        first, second = (datetime(year, 2, 3, tzinfo=UTC).strftime(self.format) for year in (2001, 2002))
        if first == second:
            raise ValueError("a format that tells the year, such as %d.%m.%Y")

    def failing(self, column: "pl.Expr", dtype: "pl.DataType | None") -> "pl.Expr":
        """Return True where the text is none."""
        import polars as pl

        kind = pl.Datetime("us") if any(part in self.format for part in _TIME) else pl.Date()
        return column.str.strptime(kind, self.format, strict=False, exact=True).is_null() & column.is_not_null()

    def claim(self) -> str:
        """Return what should hold."""
        return f"written as {self.format}"
