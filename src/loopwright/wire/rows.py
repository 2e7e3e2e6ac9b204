"""Rows on their way: frames and dicts as JSON can carry them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from math import isinf
from typing import TYPE_CHECKING, Any, Protocol

from loopwright.kernel.clock import parse_moment
from loopwright.kernel.errors import InvalidInput

if TYPE_CHECKING:
    import polars as pl


_MISSING_OF_PANDAS = ("NaTType", "NAType")
"""What pandas has in place of values, told by its name: importing pandas takes longer than all else here."""


class Framelike(Protocol):
    """A Polars or pandas frame."""

    @property
    def columns(self) -> Any:
        """Names of the columns."""
        ...


Rows = Iterable[Mapping[str, Any]] | Framelike


def to_rows(rows: Rows) -> list[dict[str, Any]]:
    """Return rows as dicts that JSON can carry: moments become microseconds UTC, NaN, NaT and NA become null.

    Raises:
        InvalidInput: A number is infinite, or a moment names no time zone; names ``rows[i].column``.
    """
    if hasattr(rows, "to_dicts"):
        return _polars_rows(rows)
    if hasattr(rows, "to_dict"):
        rows = rows.to_dict("records")
    assert isinstance(rows, Iterable)
    return [_plain_row(row, index) for index, row in enumerate(rows)]


def _plain_row(row: Mapping[str, Any], index: int) -> dict[str, Any]:
    try:
        return {name: _plain(value) for name, value in row.items()}
    except InvalidInput:  # names are made for who is refused: making one takes longer than converting a value
        return {name: _plain(value, f"rows[{index}].{name}") for name, value in row.items()}


def _polars_rows(frame: Any) -> list[dict[str, Any]]:
    """Return the rows of a Polars frame, converted a column at a time."""
    names = frame.columns
    columns = [_plain_column(series) for series in frame.get_columns()]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _plain_column(series: "pl.Series") -> list[Any]:
    import polars as pl

    dtype = series.dtype
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        return series.cast(pl.Datetime("us", dtype.time_zone)).cast(pl.Int64).to_list()
    if dtype.is_integer() or dtype in (pl.String, pl.Boolean):
        return series.to_list()
    if dtype.is_float() and not series.is_infinite().any():
        return series.fill_nan(None).to_list()
    return [_plain(value, f"rows[{index}].{series.name}") for index, value in enumerate(series.to_list())]


def _plain(value: Any, field: str = "") -> Any:
    if isinstance(value, float):
        return None if value != value else _finite(value, field)
    if type(value).__name__ in _MISSING_OF_PANDAS:
        return None
    if isinstance(value, datetime):
        return parse_moment(value, field)
    if isinstance(value, Decimal):
        return _finite(float(value), field)
    if hasattr(value, "item") and not isinstance(value, Sequence):
        return _plain(value.item(), field)
    return value


def _finite(value: float, field: str) -> float:
    if isinf(value):  # JSON has no word for it; the encoder's would be null, which is another value
        raise InvalidInput("this number is infinite", field=field, value=str(value), rule="a finite number, or null")
    return value
