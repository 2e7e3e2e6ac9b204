"""Rows on their way: frames and dicts as JSON can carry them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from loopwright.kernel.clock import parse_moment

if TYPE_CHECKING:
    import polars as pl


class Framelike(Protocol):
    """A Polars or pandas frame."""

    @property
    def columns(self) -> Any:
        """Names of the columns."""
        ...


Rows = Iterable[Mapping[str, Any]] | Framelike


def to_rows(rows: Rows) -> list[dict[str, Any]]:
    """Return rows as dicts that JSON can carry: moments become microseconds UTC, NaN becomes null."""
    if hasattr(rows, "to_dicts"):
        return _polars_rows(rows)
    if hasattr(rows, "to_dict"):
        rows = rows.to_dict("records")
    assert isinstance(rows, Iterable)
    return [{name: _plain(value) for name, value in row.items()} for row in rows]


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
    values = series.to_list()
    if dtype.is_float():
        return [None if value != value else value for value in values]
    return [_plain(value) for value in values] if isinstance(dtype, pl.Datetime) else values


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return None if value != value else value
    if isinstance(value, datetime):
        return parse_moment(value)
    return value.item() if hasattr(value, "item") and not isinstance(value, Sequence) else value
