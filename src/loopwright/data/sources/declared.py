"""Types that are declared, for files whose values have types of their own: nothing becomes another value on the way."""

import polars as pl

from loopwright.data.dtypes import dtype_text, parse_dtype
from loopwright.data.sources import texts
from loopwright.data.sources.base import Asked, no_such_column
from loopwright.data.types import Dialect
from loopwright.kernel.errors import InvalidInput

_ROW = "\0row"
_EXACT = 2.0**53


def as_declared(rows: pl.LazyFrame, asked: Asked) -> pl.LazyFrame:
    """Return rows whose columns have the types that the source declares.

    Raises:
        InvalidInput: There is no such column, or a value is none of the type; names the row.
    """
    schema, columns = rows.collect_schema(), []
    for name, text in asked.spec.types.items():
        if name not in schema:
            raise no_such_column(name, schema.names())
        dtype = parse_dtype(text)
        values = _values(pl.col(name), schema[name], dtype, asked.spec.dialect)
        is_word = pl.col(name).is_in(list(texts.missing_words(asked.spec.dialect)))
        is_missing = is_word if schema[name] == pl.String() else pl.lit(False)
        wrong = rows.select(pl.col(name)).with_row_index(_ROW)
        wrong = wrong.filter(pl.col(name).is_not_null() & ~is_missing & values.is_null()).head(1)
        found = wrong.collect()
        if found.height:
            shown = "a value that is personal" if name in asked.hidden else repr(found[name][0])
            where = f"row {int(found[_ROW][0]) + 1}, column {name}"
            raise InvalidInput(
                f"{where}: {shown} is no {dtype_text(dtype)}, as its type was declared",
                field=name,
                value=shown,
                rule="every value of a column is of its type",
                next_step="correct the file, or types= of the source",
            )
        columns.append(values.cast(dtype).alias(name))
    return rows.with_columns(columns) if columns else rows


def _values(column: pl.Expr, given: pl.DataType, dtype: pl.DataType, dialect: Dialect) -> pl.Expr:
    """Return the values of a column as another dtype, null where they would become others."""
    if pl.Null() in (given, dtype) or given == dtype:
        return column
    if given == pl.String():
        way = texts.reading_of(dtype, dialect, may_lose=True)
        return column if way is None else way.values(column.str.strip_chars())
    if dtype == pl.String():
        if not given.is_float():
            return column.cast(pl.String)
        is_whole = (column == column.round()) & (column.abs() < _EXACT)  # a sheet has no whole numbers
        return (
            pl.when(is_whole)
            .then(column.cast(pl.Int64, strict=False).cast(pl.String))
            .otherwise(column.cast(pl.String))
        )
    if given.is_numeric() and dtype == pl.Boolean():
        return pl.when(column.is_in([0, 1])).then(column == 1)
    values = column.cast(dtype, strict=False)
    return pl.when(values.cast(given, strict=False) == column).then(values)
