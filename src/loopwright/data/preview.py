"""A few rows of a version as people look at them: only the files and columns are read that they lie in."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import polars as pl

from loopwright.data.dtypes import dtype_text, parse_dtype
from loopwright.data.layers import Layers
from loopwright.data.masking import MASK
from loopwright.data.quality import FAILED_CHECKS, show_value
from loopwright.data.types import ColumnSchema, DatasetVersion, Preview
from loopwright.kernel.errors import Corrupt, InvalidInput, NotFound
from loopwright.store.blobs import BlobStore
from loopwright.wire.reading import reader_errors

MOST_ROWS = 100
"""Rows of one preview."""
MOST_COLUMNS = 100
"""Columns of one preview."""
FIRST_ROWS = 20
"""Rows that a page shows of whatever version somebody looks at."""


def preview_rows(
    version: DatasetVersion,
    blobs: BlobStore,
    *,
    columns: Sequence[str] | None = None,
    columns_offset: int = 0,
    offset: int = 0,
    limit: int = FIRST_ROWS,
    masked: Collection[str] = (),
) -> Preview:
    """Return some rows of a version, whatever its state, as they are now.

    Args:
        version: With its fragments.
        blobs: Where they are stored.
        columns: Which, at most 100; None for the first ones after ``columns_offset`` others.
        columns_offset: Columns before them, where none are named.
        offset: Rows before them.
        limit: At most 100.
        masked: Columns whose values are not shown.

    Raises:
        InvalidInput: A column is unknown, or too much is asked for.
        Corrupt: A file of the version cannot be read.
    """
    schema = {column.name: parse_dtype(column.dtype) for column in version.schema}
    wanted = _wanted(version.dataset, list(schema), columns, columns_offset)
    _check_stretch(offset, limit)
    layers = Layers(version.fragments, schema, blobs)
    with _reading(f"rows of {version.dataset} v{version.version}"):
        frame = layers.rows_at(wanted, layers.standing(offset, limit)) if wanted else pl.DataFrame()
    shown = [column for column in version.schema if column.name in set(wanted)]
    hidden = [name for name in wanted if name in masked]
    total, values = version.rows, _values(frame.select(column.name for column in shown), hidden)
    return Preview(version.dataset, version.version, "rows", offset, total, shown, hidden, values)


def preview_failing(
    version: DatasetVersion, blobs: BlobStore, *, offset: int = 0, limit: int = FIRST_ROWS, masked: Collection[str] = ()
) -> Preview:
    """Return some of the rows that failed a blocking check of a version, each with what it failed in the first column.

    Args:
        version: Any.
        blobs: Where its failing rows are stored.
        offset: Rows before them.
        limit: At most 100.
        masked: Columns whose values are not shown.

    Raises:
        NotFound: No such rows are kept of it.
        Corrupt: They cannot be read.
    """
    _check_stretch(offset, limit)
    if version.failing_digest is None:
        raise NotFound(
            f"no failing rows are kept of {version.dataset} v{version.version}",
            field="part",
            value="failing",
            rule="a version that a check about single rows held back",
            next_step="look at its checks",
        )
    with _reading(f"failing rows of {version.dataset} v{version.version}"):
        scan = pl.scan_parquet(blobs.path(version.failing_digest), glob=False)
        names = [name for name in scan.collect_schema().names() if name != FAILED_CHECKS]
        total = int(scan.select(pl.len()).collect().item())
        frame = scan.select(FAILED_CHECKS, *names[: MOST_COLUMNS - 1]).slice(offset, limit).collect()
    columns = [ColumnSchema(name, dtype_text(dtype)) for name, dtype in frame.schema.items()]
    hidden = [name for name in names[: MOST_COLUMNS - 1] if name in masked]
    values = _values(frame, hidden)
    return Preview(version.dataset, version.version, "failing", offset, total, columns, hidden, values)


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """Tell as one error that a file cannot be read, whatever is the matter with it."""
    next_step = "loopwright doctor says what else is lost; restore a backup, or import the rows again"
    try:
        yield
    except NotFound as error:
        raise Corrupt(
            f"{what} cannot be read: a file of them is lost", value=error.value, next_step=next_step
        ) from None
    except reader_errors() as error:
        raise Corrupt(f"{what} cannot be read", value=str(error)[:200], next_step=next_step) from None


def _wanted(dataset: str, there: Sequence[str], columns: Sequence[str] | None, offset: int) -> list[str]:
    if offset < 0:
        said, step = "no column comes before the first", "leave it out for the first columns"
        raise InvalidInput(said, field="columns_offset", value=offset, rule="0 or more", next_step=step)
    if columns is None:
        return list(there[offset : offset + MOST_COLUMNS])
    wanted = list(dict.fromkeys(columns))
    if len(wanted) > MOST_COLUMNS:
        raise InvalidInput(
            "these are too many columns for one look",
            field="columns",
            value=len(wanted),
            rule=f"at most {MOST_COLUMNS}",
            next_step="ask for them in several parts",
        )
    if unknown := [name for name in wanted if name not in there]:
        raise InvalidInput(
            f"dataset {dataset} has no column {unknown[0]}",
            field="columns",
            value=unknown[0],
            rule=f"one of {', '.join(there[:20])}",
        )
    return wanted


def _check_stretch(offset: int, limit: int) -> None:
    if offset < 0:
        step = "leave it out for the first rows"
        raise InvalidInput(
            "no row comes before the first", field="offset", value=offset, rule="0 or more", next_step=step
        )
    if not 1 <= limit <= MOST_ROWS:
        raise InvalidInput(
            "a preview shows a few rows",
            field="limit",
            value=limit,
            rule=f"1 to {MOST_ROWS}",
            next_step="ask for the next ones by offset, or read the files of the version",
        )


def _values(frame: pl.DataFrame, masked: Collection[str]) -> list[list[Any]]:
    """Return rows as JSON-able values; floats of 32 bits as they are written, not with the digits of 64."""
    columns = [_shown(column, is_masked=column.name in masked) for column in frame.get_columns()]
    return [list(row) for row in zip(*columns, strict=True)]


def _shown(column: pl.Series, *, is_masked: bool) -> list[Any]:
    if is_masked:
        return [MASK if is_there else None for is_there in column.is_not_null()]
    if column.dtype == pl.Float32:
        return [None if value is None else show_value(float(str(np.float32(value)))) for value in column]
    return [show_value(value) for value in column.to_list()]
