"""CSV files: by one rule their texts become values, whoever reads them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl


def read_csv(paths: Sequence[Path]) -> "pl.DataFrame":
    """Return the rows of CSV files, one after the other: a column's type is that which all of its values fit.

    Raises:
        polars.exceptions.PolarsError: A file cannot be read.
        OSError: One cannot be opened.
    """
    return scan_csv(paths).collect()


def scan_csv(paths: Sequence[Path]) -> "pl.LazyFrame":
    """Return the rows of CSV files as ``read_csv`` does, read when they are asked for."""
    import polars as pl

    frames = [pl.scan_csv(path, try_parse_dates=True, infer_schema_length=None, glob=False) for path in paths]
    return pl.concat(frames, how="vertical_relaxed")


def forget_empty_types(rows: "pl.DataFrame") -> "pl.DataFrame":
    """Return rows whose columns without any value have no type: whatever a reader guessed, they tell of none."""
    import polars as pl

    empty = [column.name for column in rows.get_columns() if column.null_count() == rows.height]
    return rows.with_columns(pl.col(empty).cast(pl.Null, strict=False)) if empty else rows
