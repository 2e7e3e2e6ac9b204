"""Check: values are among given ones."""

from typing import TYPE_CHECKING

from loopwright.data.checks.base import RowCheck

if TYPE_CHECKING:
    import polars as pl

_SHOWN = 5


class IsIn(RowCheck, frozen=True):
    """Every value is one of ``values``."""

    values: list[bool | int | float | str]

    def validate(self) -> None:
        """Refuse an empty list and values of several kinds."""
        if not self.values:
            raise ValueError("at least one value")
        kinds = {bool if isinstance(v, bool) else str if isinstance(v, str) else float for v in self.values}
        if len(kinds) > 1:
            raise ValueError("values of one kind")

    def failing(self, column: "pl.Expr", dtype: "pl.DataType") -> "pl.Expr":
        """Return True where the value is another one."""
        has_fraction = any(isinstance(value, float) for value in self.values)
        return ~column.is_in([float(value) for value in self.values] if has_fraction else self.values)

    def claim(self) -> str:
        """Return what should hold."""
        shown = ", ".join(str(value) for value in self.values[:_SHOWN])
        return f"in {shown}{', …' if len(self.values) > _SHOWN else ''}"
