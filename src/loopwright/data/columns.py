"""Columns at the door: bringing a frame into the shape that a dataset stores."""

from collections.abc import Sequence

import polars as pl

from loopwright.data.dtypes import dtype_text, parse_dtype
from loopwright.data.layers import is_own
from loopwright.data.sources.unclear import MOMENTS, refuse_texts
from loopwright.data.types import ColumnSchema, DatasetSpec
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.storable import storable_text
from loopwright.kernel.suggestions import near_column

MOST_LETTERS_OF_NAME = 500
_UTC = pl.Datetime("us", "UTC")


def schema_of(frame: pl.DataFrame) -> list[ColumnSchema]:
    """Return names and dtypes of a frame."""
    return [ColumnSchema(name, dtype_text(dtype)) for name, dtype in frame.schema.items()]


def admit(frame: pl.DataFrame, spec: DatasetSpec, *, is_part: bool = False) -> pl.DataFrame:
    """Return a frame in the shape a dataset stores: plain dtypes, microseconds, declared moments in UTC.

    Args:
        frame: Any.
        spec: The declaration.
        is_part: The rows have the key and any other columns, not all that are declared.

    Raises:
        InvalidInput: A declared column is missing, a moment names no zone, a key is null or a float, or a dtype
            cannot be held.
    """
    require_names(frame.columns)
    _require_columns(frame, spec, is_part=is_part)
    if own := [name for name in frame.columns if is_own(name)]:
        raise _misfit(f"the column {own[0]} is named like one of the platform's own", own[0], "another name")
    columns = [_plain(column) for column in frame.get_columns()]
    moments = {column for column in (spec.time, *(known.column for known in spec.known_at.values())) if column}
    frame = pl.DataFrame([_as_moment(column, spec) if column.name in moments else column for column in columns])
    for name in dict.fromkeys([*spec.key, *([spec.time] if spec.time in frame.columns else [])]):
        _require_values(frame[name], name, "time" if name == spec.time else "key")
    for name in spec.key:
        if frame.schema[name].is_float():
            raise _misfit(f"the key column {name} is {frame.schema[name]}", name, "whole numbers, texts or moments")
        if frame.schema[name] == pl.String and (found := frame[name].str.contains("\0", literal=True)).any():
            rows = f"{found.sum()} of {frame.height} rows"
            raise _misfit(f"a NUL stands in the key {name} of {rows}", name, "keys without NUL: they name rows")
    return frame


def require_names(names: Sequence[str]) -> None:
    """Refuse a column whose name no database takes.

    Raises:
        InvalidInput: There is one; names it.
    """
    for name in names:
        if "\0" in name or len(name) > MOST_LETTERS_OF_NAME:
            rule = f"at most {MOST_LETTERS_OF_NAME} letters, none of them NUL"
            told = storable_text(name, 80)
            raise InvalidInput(f"the column {told} cannot be named so", field=told, rule=rule, next_step="name it anew")


def align(frame: pl.DataFrame, schema: list[ColumnSchema]) -> tuple[pl.DataFrame, list[str]]:
    """Bring a frame to an older schema where that loses nothing; new columns stay at the end.

    Returns:
        The frame and one sentence for each column that does not fit: missing, or of another dtype.
    """
    columns, misfits = [], []
    for old in schema:
        if old.name not in frame.columns:
            misfits.append(f"column {old.name} ({old.dtype}) is missing")
            continue
        column, wanted = frame[old.name], parse_dtype(old.dtype)
        fitted = column if wanted == pl.Null() else _cast_without_loss(column, wanted)
        if fitted is None:
            misfits.append(f"column {old.name} is {dtype_text(column.dtype)}, was {old.dtype}")
        columns.append(column if fitted is None else fitted)
    known = {old.name for old in schema}
    return pl.DataFrame([*columns, *(frame[name] for name in frame.columns if name not in known)]), misfits


def _cast_without_loss(column: pl.Series, wanted: pl.DataType) -> pl.Series | None:
    if column.dtype == wanted:
        return column
    if column.dtype == pl.Null():
        return column.cast(wanted)
    numeric = column.dtype.is_numeric() and wanted.is_numeric()
    if not numeric or isinstance(wanted, pl.Decimal) != isinstance(column.dtype, pl.Decimal):
        return None
    try:
        cast = column.cast(wanted)
    except pl.exceptions.PolarsError:
        return None
    return cast if cast.cast(column.dtype, strict=False).equals(column) else None


def _plain(column: pl.Series) -> pl.Series:
    """Return a column without units and encodings that only one library knows."""
    dtype = column.dtype
    if dtype == _UTC:
        return column
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return column.cast(pl.String)
    if isinstance(dtype, pl.Datetime | pl.Duration):
        column = column.dt.cast_time_unit("us")
        is_zoned = isinstance(dtype, pl.Datetime) and dtype.time_zone is not None
        return column.dt.convert_time_zone("UTC") if is_zoned else column
    try:
        dtype_text(dtype)
    except InvalidInput as error:
        raise _misfit(f"column {column.name} is {dtype}", column.name, str(error.rule)) from None
    return column


def _as_moment(column: pl.Series, spec: DatasetSpec) -> pl.Series:
    if column.dtype == _UTC:
        return column
    if column.dtype == pl.Null() or (column.dtype == pl.Date() and spec.source.zone is None):
        return column.cast(_UTC)
    if column.dtype == pl.Date():  # a day begins at midnight of its zone, as it does where it is pushed
        column = column.cast(pl.Datetime("us"))
    is_hidden = column.name in spec.personal
    if isinstance(column.dtype, pl.Datetime) and spec.source.zone is not None:
        return _in_zone(column, spec.source.zone, is_hidden=is_hidden)
    if column.dtype == pl.String():
        refuse_texts(column, is_hidden=is_hidden)
    is_local = isinstance(column.dtype, pl.Datetime)
    zone = 'say zone="UTC" (or the right one) at the source, or convert it in the transform'
    raise InvalidInput(
        f"column {column.name} {'names no time zone' if is_local else f'is {column.dtype}, not a moment'}",
        field=column.name,
        value=str(column.dtype),
        rule=MOMENTS,
        next_step=zone if is_local else "make moments of it in the transform, such as pl.from_epoch",
    )


def _in_zone(column: pl.Series, zone: str, *, is_hidden: bool) -> pl.Series:
    moments = column.dt.replace_time_zone(zone, ambiguous="null", non_existent="null")
    is_open = moments.is_null() & column.is_not_null()
    if not is_open.any():
        return moments.dt.convert_time_zone("UTC")
    first = column.gather(is_open.arg_true()).dt.to_string("%Y-%m-%dT%H:%M:%S")[0]
    told = "" if is_hidden else f": {first}"
    choice = f'dt.replace_time_zone("{zone}", ambiguous="earliest", non_existent="null")'
    raise InvalidInput(
        f"column {column.name} holds a local time that {zone} has not, or has twice{told}",
        field=column.name,
        value=None if is_hidden else first,
        rule="each local time happens exactly once; write UTC where clocks change",
        next_step=f'choose in the dataset\'s transform: pl.col("{column.name}").{choice}',
    )


def _require_columns(frame: pl.DataFrame, spec: DatasetSpec, *, is_part: bool) -> None:
    declared = {"key": spec.key, "time": [spec.time] if spec.time else [], "personal": spec.personal}
    if is_part:
        declared = {"key": spec.key}
    for column, known in spec.known_at.items() if not is_part else ():
        declared[f"known_at.{column}"] = [known.column, *([] if column == "*" else [column])]
    for field, columns in declared.items():
        for name in columns:
            if name not in frame.columns:
                raise InvalidInput(
                    f"dataset {spec.name} declares the column {name}, which the rows do not have",
                    field=field,
                    value=name,
                    rule=f"one of the {frame.width} columns of the rows",
                    next_step=f"{near_column(name, frame.columns)}correct the declaration, or add it in the transform",
                )


def _require_values(column: pl.Series, name: str, role: str) -> None:
    if missing := column.null_count():
        raise InvalidInput(
            f"{missing} of {len(column)} rows have no {name}",
            field=name,
            value=None,
            rule=f"the {role} column is never missing",
            next_step="drop or fill these rows in the transform",
        )


def _misfit(message: str, field: str, rule: str) -> InvalidInput:
    return InvalidInput(message, field=field, rule=rule, next_step="convert it in the dataset's transform")
