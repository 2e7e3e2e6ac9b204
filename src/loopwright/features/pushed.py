"""Rows as they were pushed, from the log, which keeps them beside columns of its own."""

from typing import Any

import polars as pl

from loopwright.features.columns import MOMENT, dtype_of, is_other_kind, read_moments
from loopwright.features.types import DatasetPushSpec
from loopwright.store.streams import PUSHES

RAW = "raw."
"""What the log puts before a column of a row that is named like one of its own."""


def as_sent(logged: pl.DataFrame, dataset: DatasetPushSpec, *, keeps_misfits: bool = False) -> pl.DataFrame:
    """Return logged pushes with the columns that were sent, in the dtypes in which the gateway takes them.

    Where no live plan read the dataset as they came, moments lie in the log as the texts that came.

    Args:
        logged: Rows of the log.
        dataset: What a gateway knows of their dataset.
        keeps_misfits: Leave a column as it lies there where a value of it is none of its dtype; else that is null.
    """
    rows = logged.drop(name for name in PUSHES.names if name in logged.columns)
    hidden = [name for name in rows.columns if name.startswith(RAW) and name.removeprefix(RAW) in PUSHES.names]
    rows = rows.rename({name: name.removeprefix(RAW) for name in hidden})
    times = [dataset.time, *(moment.column for moment in dataset.known_at.values())]
    dtypes = {**dict.fromkeys(times, MOMENT), **{name: dtype_of(text) for name, text in dataset.dtypes.items()}}
    came = {name: dtype for name, dtype in rows.schema.items() if name in dtypes}
    if dataset.transform is not None:  # what it is to make of a text is not there before it has run
        came = {name: dtype for name, dtype in came.items() if not is_other_kind(dtype, dtypes[name])}
    columns = [(rows[name], _taken(rows[name], dtypes[name], dataset.zone)) for name in came]
    fits = [taken for sent, taken in columns if not keeps_misfits or taken.null_count() == sent.null_count()]
    return rows.with_columns(fits)


def _taken(column: pl.Series, dtype: Any, zone: str | None) -> pl.Series:
    if dtype == MOMENT and column.dtype == pl.String:
        return read_moments(column, zone)
    return column.cast(dtype, strict=False)
