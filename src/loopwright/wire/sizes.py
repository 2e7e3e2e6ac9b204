"""How large rows become in memory: a file of a few kilobytes may say that one value comes a billion times."""

import polars as pl

from loopwright.kernel.errors import TooLarge
from loopwright.wire.memory import memory_bytes

MOST_BYTES = memory_bytes() // 2
"""What the rows of one job may take: half of what there is, for more than one copy of them is made."""
_WIDTHS: dict[pl.DataType, float] = {
    pl.Null(): 0,
    pl.Boolean(): 1 / 8,
    **dict.fromkeys((pl.Int8(), pl.UInt8()), 1),
    **dict.fromkeys((pl.Int16(), pl.UInt16()), 2),
    **dict.fromkeys((pl.Int32(), pl.UInt32(), pl.Float32(), pl.Date()), 4),
    **dict.fromkeys((pl.String(), pl.Binary()), 16),
}
"""Bytes of one value. A text takes no more however long it is: texts that are the same are there once."""
_OF_OTHERS = 8


def check_rows_fit(rows: pl.LazyFrame, *, most_bytes: int | None = None) -> None:
    """Let Parquet pass that will fit into memory, by the number of rows that its files state; of lists each is counted.

    Raises:
        TooLarge: It will not.
    """
    schema = rows.collect_schema()
    lists = {name: dtype.inner for name, dtype in schema.items() if isinstance(dtype, pl.List)}
    widths = [_width(dtype) for dtype in schema.values()]
    size = rows.select(pl.len()).collect().item() * sum(widths)
    _check(size, most_bytes)
    if lists:  # how long lists are only they themselves say
        lengths = [pl.col(name).list.len().cast(pl.UInt64).sum() for name in lists]
        counted = rows.select(lengths).collect(engine="streaming").row(0)
        inner = [_width(dtype) for dtype in lists.values() if isinstance(dtype, pl.DataType)]
        size += sum(count * width for count, width in zip(counted, inner, strict=False))
        _check(size, most_bytes)


def check_texts_fit(frame: pl.DataFrame, *, most_bytes: int | None = None) -> None:
    """Let rows pass whose texts fit into memory when each is written out; until then a text that repeats is there once.

    Raises:
        TooLarge: They do not.
    """
    lengths = [
        column.str.len_bytes() if column.dtype == pl.String else column.bin.size()
        for column in frame.get_columns()
        if column.dtype in (pl.String(), pl.Binary())
    ]
    _check(sum(int(length.cast(pl.UInt64).sum()) for length in lengths), most_bytes)


def _width(dtype: pl.DataType) -> float:
    if isinstance(dtype, pl.Array) and isinstance(dtype.inner, pl.DataType):
        return dtype.size * _width(dtype.inner)
    return _WIDTHS.get(dtype, _OF_OTHERS)


def _check(size_bytes: float, most_bytes: int | None) -> None:
    most_bytes = MOST_BYTES if most_bytes is None else most_bytes
    if size_bytes > most_bytes:
        raise TooLarge(
            f"these rows take {size_bytes / 1e9:.1f} GB in memory",
            field="rows",
            rule=f"at most {most_bytes / 1e9:.1f} GB on this machine",
            next_step="send them in several parts",
        )
