"""Check: the newest moment is not too old."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from loopwright.data.checks.base import AggregateCheck
from loopwright.kernel.clock import DAY_US, format_duration, format_moment

if TYPE_CHECKING:
    import polars as pl


class Fresh(AggregateCheck, frozen=True):
    """The newest moment in a column lies at most ``within_us`` microseconds before now (the project's clock).

    One that lies more than a day ahead is no news but an error, and would hide for years that no other comes.
    """

    within_us: int

    def validate(self) -> None:
        """Refuse a negative span."""
        if self.within_us < 0:
            raise ValueError("within_us is 0 or more")

    def measure(self, column: "pl.Expr", dtype: "pl.DataType | None") -> "pl.Expr":
        """Return the newest moment as int64 microseconds."""
        if dtype is None or not str(dtype).startswith("Datetime"):
            raise ValueError(f"a column of moments, not {dtype}")
        return column.max().dt.timestamp("us")

    def judge(self, value: Any, now_us: int, past: Sequence[float]) -> tuple[bool, str]:
        """Return whether the newest moment passes."""
        if value is None:
            return False, "not evaluated: no moment is there"
        is_ahead = value - now_us > DAY_US
        finding = f"newest is {format_moment(value)}{', in the future' if is_ahead else ''}"
        return now_us - value <= self.within_us and not is_ahead, finding

    def claim(self) -> str:
        """Return what should hold."""
        return f"no older than {format_duration(self.within_us)}"
