"""CSV files: by one rule their texts become values, whoever reads them."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

_NOUGHT, _LONG, _YEAR = r"^[+-]?0[0-9]", r"^[+-]?[0-9]{16,}$", r"^[0-9]{4}[-/]"


def read_csv(paths: Sequence[Path]) -> "pl.DataFrame":
    """Return the rows of CSV files, one after the other: a column's type is that which all of its values fit.

    A column of which a value would not be what stands there is text, such as codes that begin with noughts.

    Raises:
        polars.exceptions.PolarsError: A file cannot be read.
        OSError: One cannot be opened.
    """
    return scan_csv(paths).collect()


def scan_csv(paths: Sequence[Path]) -> "pl.LazyFrame":
    """Return the rows of CSV files as ``read_csv`` does, read when they are asked for."""
    import polars as pl

    frames = [_scan(path) for path in paths]
    if texts := _texts(paths, frames):
        frames = [_scan(path, texts) for path in paths]
    return pl.concat(frames, how="vertical_relaxed")


def _scan(path: Path, texts: Collection[str] = ()) -> "pl.LazyFrame":
    import polars as pl

    overrides = dict.fromkeys(texts, pl.String)
    return pl.scan_csv(path, try_parse_dates=True, infer_schema_length=None, schema_overrides=overrides, glob=False)


def _texts(paths: Sequence[Path], frames: Sequence["pl.LazyFrame"]) -> set[str]:
    """Return the columns that are text although the values of each file fit something else.

    Those are columns that are text in another file, and those of which a value would be another when it is written
    again: codes that begin with a nought, digits that no float holds, days that begin with the day or the month.
    """
    import polars as pl

    together = pl.concat(frames, how="vertical_relaxed").collect_schema()
    texts = {name for name, dtype in together.items() if dtype == pl.String}
    texts = {name for name in texts if any(frame.collect_schema()[name] != pl.String for frame in frames)}
    for path, frame in zip(paths, frames, strict=True):
        doubts = [_loses(name, dtype) for name, dtype in frame.collect_schema().items() if name not in texts]
        asked = [doubt for doubt in doubts if doubt is not None]
        if asked:
            found = pl.scan_csv(path, infer_schema=False, glob=False).select(asked).collect().row(0, named=True)
            texts |= {name for name, loses in found.items() if loses}
    return texts


def _loses(name: str, dtype: "pl.DataType") -> "pl.Expr | None":
    """Return whether a text of the column would be another after it was read as a dtype; None where none can."""
    import polars as pl

    text = pl.col(name).str
    if dtype.is_integer():
        return text.contains(_NOUGHT).any()
    if dtype.is_float():
        return text.contains(f"{_NOUGHT}|{_LONG}").any()
    return (~text.contains(_YEAR)).any() if dtype in (pl.Date, pl.Datetime) else None


def forget_empty_types(rows: "pl.DataFrame") -> "pl.DataFrame":
    """Return rows whose columns without any value have no type: whatever a reader guessed, they tell of none."""
    import polars as pl

    empty = [column.name for column in rows.get_columns() if column.null_count() == rows.height]
    return rows.with_columns(pl.col(empty).cast(pl.Null, strict=False)) if empty else rows
