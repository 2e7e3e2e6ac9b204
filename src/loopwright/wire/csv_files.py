"""CSV files: by one rule their texts become values, whoever reads them."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from loopwright.kernel.errors import InvalidInput

if TYPE_CHECKING:
    import polars as pl

_HEAD_BYTES = 65_536
_OTHER_KINDS = {
    b"PK\x03\x04": "a zip archive",
    b"PAR1": "Parquet",
    b"\xff\xfe": "text in UTF-16",
    b"\xfe\xff": "text in UTF-16",
}
_NOUGHT, _LONG, _YEAR = r"^[+-]?0[0-9]", r"^[+-]?[0-9]{16,}$", r"^[0-9]{4}[-/]"


def read_csv(paths: Sequence[Path]) -> "pl.DataFrame":
    """Return the rows of CSV files, one after the other: a column's type is that which all of its values fit.

    A column of which a value would not be what stands there is text, such as codes that begin with noughts.

    Raises:
        InvalidInput: A file is of another kind, or separated by something else than commas.
        polars.exceptions.PolarsError: A file cannot be read.
        OSError: One cannot be opened.
    """
    return scan_csv(paths).collect()


def scan_csv(paths: Sequence[Path]) -> "pl.LazyFrame":
    """Return the rows of CSV files as ``read_csv`` does, read when they are asked for."""
    import polars as pl

    for path in paths:
        _check_kind(path)
    frames = [_scan(path) for path in paths]
    if texts := _texts(paths, frames):
        frames = [_scan(path, texts) for path in paths]
    return pl.concat(frames, how="vertical_relaxed")


def check_text(path: Path) -> None:
    """Refuse a file that is no UTF-8, naming the first line that is not: readers say so of all files together.

    Raises:
        InvalidInput: It is none.
    """
    with suppress(OSError), path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                raise _refused(
                    path,
                    f"is no UTF-8: line {number}",
                    "CSV is UTF-8, with or without a byte order mark",
                    "write it anew, such as: iconv -f CP1252 -t UTF-8 OLD.csv > NEW.csv",
                ) from None


def _check_kind(path: Path) -> None:
    """Refuse a file that would be read as one column without a meaning, by how it begins."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    kind = next((kind for begin, kind in _OTHER_KINDS.items() if head.startswith(begin)), "")
    if kind:
        raise _refused(
            path, f"is {kind}", "CSV is plain text in UTF-8", "take the CSV file out of it, or write it anew"
        )
    header = head.partition(b"\n")[0]
    mark = next((mark for mark in (";", "\t", "|") if mark.encode() in header), "")
    if mark and b"," not in header:
        hint = f"write it anew, such as: polars.read_csv(OLD, separator={mark!r}).write_csv(NEW)"
        raise _refused(path, f"seems to be separated by {mark!r}", "CSV is separated by commas", hint)


def _refused(path: Path, what: str, rule: str, next_step: str) -> InvalidInput:
    return InvalidInput(f"{path.name} {what}", field="source", value=str(path), rule=rule, next_step=next_step)


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
