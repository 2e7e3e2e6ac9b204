"""Frames and files on their way to the server: Polars or pandas, or a file, checked by column and row."""

import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from loopwright import data
from loopwright.data import SOURCES, SourceSpec
from loopwright.kernel.clock import parse_moment
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.plugins import plugin_names
from loopwright.kernel.suggestions import suggest
from loopwright.kernel.tasks import class_name
from loopwright.wire.reading import reader_errors
from loopwright.wire.rows import Framelike

if TYPE_CHECKING:
    import polars as pl


Table = Framelike | str | Path | SourceSpec
"""A frame; the path of a file that a source could be: Parquet, CSV, JSON lines, Arrow, a workbook; or files as a source
of their own, which says how they are written: ``lw.source.csv("may/*.csv", separator=";")``."""
Known = Mapping[str, "pl.DataType"]


def read_table(rows: Table, source: SourceSpec | None = None, known: Known | None = None) -> "tuple[pl.DataFrame, str]":
    """Return a frame, and the name that messages call it by.

    Args:
        rows: A frame, the path of a file, or files that say themselves how they are written.
        source: How such a file is written, where a declaration says so; else it is told by its name.
        known: Dtypes of its columns as they were read before.

    Raises:
        InvalidInput: There is no such file, its ending is not known, or it cannot be read.
    """
    import polars as pl

    if isinstance(rows, pl.DataFrame):
        return rows, "the frame"
    if isinstance(rows, SourceSpec):
        return _read_source(rows, known or {}), rows.location
    if not isinstance(rows, str | Path):
        return _from_pandas(rows), "the frame"
    path = Path(rows)
    if not path.is_file():
        raise InvalidInput("there is no such file", field="file", value=str(path))
    told = _source_of(path, source)
    with TemporaryDirectory() as scratch:
        asked = data.sources.Asked(told, Path(scratch), known or {})
        try:
            return data.sources.open_files([data.sources.SourceFile(path, path)], asked).collect(), path.name
        except reader_errors() as error:
            raise InvalidInput(
                f"{path.name} cannot be read", field="file", value=str(error).partition("\n")[0]
            ) from None


def _read_source(source: SourceSpec, known: Known) -> "pl.DataFrame":
    with TemporaryDirectory() as scratch, data.sources.find_files(source, None) as files:
        try:
            return data.sources.open_files(files, data.sources.Asked(source, Path(scratch), known)).collect()
        except reader_errors() as error:
            told = str(error).partition("\n")[0]
            raise InvalidInput(f"{source.location} cannot be read", field="file", value=told) from None


def _source_of(path: Path, declared: SourceSpec | None) -> SourceSpec:
    """Return what a file is, by how its name ends or as it was declared; a blob of the platform has no ending."""
    if _is_parquet(path):
        return SourceSpec("parquet")
    kinds = {name: data.sources.kind_of(SourceSpec(name)).endings for name in plugin_names(SOURCES)}
    found = next((name for name, endings in kinds.items() if path.name.lower().endswith(tuple(endings))), None)
    if declared is not None and declared.has_files and found in (None, declared.kind):
        return declared
    if found is None:
        rule = ", ".join(ending for endings in kinds.values() for ending in endings)
        raise InvalidInput("this kind of file is not read", field="file", value=path.name, rule=rule)
    return SourceSpec(found, zone=None if declared is None else declared.zone)


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _from_pandas(rows: Any) -> "pl.DataFrame":
    import polars as pl

    if not (hasattr(rows, "columns") and hasattr(rows, "to_dict")):
        rule = "a Polars or pandas frame, or the path of a file"
        raise InvalidInput("these are no rows", field="rows", value=type(rows).__name__, rule=rule)
    names = [str(name) for name in rows.columns]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InvalidInput("the frame has two columns of one name", field=twice, rule="each name once")
    try:
        return pl.from_pandas(rows)
    except Exception:  # PyArrow's own kinds of errors
        for name, column in rows.items():
            _check_kinds(str(name), column)
        raise


def _check_kinds(name: str, column: Any) -> None:
    """Refuse a column of pandas that holds several kinds of values, as a join or a sheet may leave it."""
    kinds = {type(value).__name__ for value in column[column.notna()]}
    if column.dtype == object and len(kinds) > 1:
        rule = "one kind a column"
        hint = f'make them one, such as frame["{name}"].astype(str)'
        raise InvalidInput(
            f"column {name} holds {' and '.join(sorted(kinds))}",
            field=name,
            value=str(column.dtype),
            rule=rule,
            next_step=hint,
        )


def require_columns(frame: "pl.DataFrame", names: Iterable[str], where: str) -> None:
    """Refuse a frame that lacks a column.

    Raises:
        InvalidInput: Names the column, and the nearest one that is there.
    """
    for name in names:
        if name not in frame.columns:
            hint = suggest(name, frame.columns)
            raise InvalidInput(
                f"{where} has no column {name}", field=name, rule="every declared column", next_step=hint
            )


def read_texts(frame: "pl.DataFrame", name: str) -> "pl.Series":
    """Return a column of ids as texts; none may be missing."""
    import polars as pl

    column = frame.get_column(name)
    if not (column.dtype.is_integer() or column.dtype in (pl.String, pl.Categorical, pl.Enum)):
        raise InvalidInput(
            "this column cannot name rows", field=name, value=str(column.dtype), rule="texts or integers"
        )
    _refuse_first(column, column.is_null(), name, "an id is missing", "every row has one")
    return column.cast(pl.String)


def read_classes(frame: "pl.DataFrame", name: str) -> "pl.Series":
    """Return a column of classes as texts, whole numbers without a point; none may be missing."""
    import polars as pl

    column = frame.get_column(name)
    if not column.dtype.is_float():
        return read_texts(frame, name)
    _refuse_first(column, column.is_null() | column.is_nan(), name, "a class is missing", "every row has one")
    return pl.Series(name, [class_name(value) for value in column], pl.String)


def read_numbers(frame: "pl.DataFrame", name: str) -> "pl.Series":
    """Return a column as Float64, null where it is null or NaN; booleans are 0 and 1.

    Raises:
        InvalidInput: A value is no finite number; names the row.
    """
    import polars as pl

    column = frame.get_column(name)
    if not (column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null, pl.String)):
        raise InvalidInput("this column holds no numbers", field=name, value=str(column.dtype), rule="numbers")
    numbers = column.cast(pl.Float64, strict=False)
    _refuse_first(column, numbers.is_null() & column.is_not_null(), name, "this is not a number", "a finite number")
    _refuse_first(column, numbers.is_infinite().fill_null(value=False), name, "this is not finite", "a finite number")
    return numbers.fill_nan(None)


def read_moments(frame: "pl.DataFrame", name: str, zone: str) -> "pl.Series":
    """Return a column of moments as Int64 microseconds UTC; none may be missing.

    Args:
        frame: Where it is.
        name: The column: datetimes, dates, ISO 8601 texts, or integers that are microseconds UTC.
        zone: Time zone of moments that are stored without one.
    """
    import polars as pl

    column = frame.get_column(name)
    _refuse_first(column, column.is_null(), name, "a moment is missing", "every row has one")
    if column.dtype == pl.Date:
        column = column.cast(pl.Datetime("us"))
    if isinstance(column.dtype, pl.Datetime):
        if column.dtype.time_zone is None:
            column = column.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        _refuse_first(frame.get_column(name), column.is_null(), name, f"{zone} skipped this hour", "a moment that was")
        return column.dt.epoch("us")
    if column.dtype == pl.String:
        texts = enumerate(column)
        return pl.Series(name, [parse_moment(text, f"rows[{i}].{name}", zone=zone) for i, text in texts], pl.Int64)
    if column.dtype.is_integer():
        return column.cast(pl.Int64)
    rule = "datetimes, dates, ISO 8601 texts, or microseconds UTC"
    raise InvalidInput("this column holds no moments", field=name, value=str(column.dtype), rule=rule)


def read_features(frame: "pl.DataFrame", names: Sequence[str], numbers: Collection[str] = ()) -> "pl.DataFrame":
    """Return feature columns as the log holds them: Float64, or String for texts and categories.

    Args:
        frame: Where they are.
        names: Which.
        numbers: Those that have to be numbers.

    Raises:
        InvalidInput: A column is neither number, boolean nor text, or holds another kind; names the row.
    """
    import polars as pl

    texts = (pl.String, pl.Categorical, pl.Enum)
    columns = []
    for name in names:
        dtype = frame.schema[name]
        if dtype.is_temporal() or dtype.is_nested() or dtype == pl.Binary:
            hint = "say which columns are: p.external(..., features=[...])"
            rule = "number, boolean or text"
            raise InvalidInput("this column is no feature", field=name, value=str(dtype), rule=rule, next_step=hint)
        is_text = dtype in texts and name not in numbers
        columns.append(frame.get_column(name).cast(pl.String) if is_text else read_numbers(frame, name))
    return pl.DataFrame(columns)


def _refuse_first(column: "pl.Series", is_wrong: "pl.Series", name: str, message: str, rule: str) -> None:
    if is_wrong.any():
        row = is_wrong.arg_max() or 0
        raise InvalidInput(message, field=f"rows[{row}].{name}", value=column[row], rule=rule)


def to_parquet(rows: Any, source: SourceSpec | None = None, known: Known | None = None) -> bytes:
    """Return the Parquet bytes of a Polars or pandas frame, or of a file; see ``read_table``.

    Raises:
        InvalidInput: It is neither, or cannot be read.
    """
    is_file = isinstance(rows, str | Path) and Path(rows).is_file()
    if is_file and _is_parquet(Path(rows)):
        return Path(rows).read_bytes()
    frame, _ = read_table(rows, source, known)
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd", compression_level=1)
    return buffer.getvalue()
