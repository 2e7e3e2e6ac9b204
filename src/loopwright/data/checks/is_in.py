"""Check: values are among given ones."""

from typing import TYPE_CHECKING

from loopwright.data.checks.base import RowCheck

if TYPE_CHECKING:
    import polars as pl

MOST_VALUES = 10_000
_SHOWN = 5


class IsIn(RowCheck, frozen=True):
    """Every value is one of ``values``."""

    values: list[bool | int | float | str]

    def validate(self) -> None:
        """Refuse an empty list, one that is too long, and values of several kinds."""
        if not 1 <= len(self.values) <= MOST_VALUES:
            raise ValueError(f"1 to {MOST_VALUES} values; of more make a dataset and check with refers_to")
        kinds = {bool if isinstance(v, bool) else str if isinstance(v, str) else float for v in self.values}
        if len(kinds) > 1:
            raise ValueError("values of one kind")

    def failing(self, column: "pl.Expr", dtype: "pl.DataType") -> "pl.Expr":
        """Return True where the value is another one."""
        import polars as pl

        is_number = not isinstance(self.values[0], bool | str)
        if is_number and (dtype.is_float() or dtype.is_integer()):
            wide = pl.Int128 if dtype.is_integer() else pl.Float64
            return ~column.is_in(pl.Series(self._as_numbers(dtype), dtype=wide).implode())
        return ~column.is_in(self.values)

    def _as_numbers(self, dtype: "pl.DataType") -> list[int] | list[float]:
        """Return the numbers that a column can hold: as floats, neighbours above 2**53 would be the same one."""
        numbers = [value for value in self.values if not isinstance(value, str)]
        numbers = [number for number in numbers if isinstance(number, float) or abs(number) <= 2**64]
        if dtype.is_float():
            return [float(number) for number in numbers if float(number) == number or number != number]
        return [int(number) for number in numbers if abs(number) <= 2**64 and number % 1 == 0]

    def claim(self) -> str:
        """Return what should hold."""
        shown = ", ".join(str(value) for value in self.values[:_SHOWN])
        return f"in {shown}{', …' if len(self.values) > _SHOWN else ''}"
