"""Stored rows as they once came: what was known at a moment, what became known when, what was asked."""

import polars as pl

from loopwright import features
from loopwright.data import DatasetSpec, KnownAt
from loopwright.kernel.errors import InvalidInput
from loopwright.loop.backtest.driver import Late, Requests, Stream
from loopwright.loop.backtest.narrowing import first_training
from loopwright.loop.types import ProjectSpec

_COMPLETE = "_complete_at"
_LONG_AGO = -(2**62)

Frames = dict[str, pl.DataFrame]
"""Rows of datasets by name, as they are stored: their transform has made them."""


def known_by(spec: ProjectSpec, dataset: DatasetSpec, rows: pl.DataFrame, at_us: int) -> pl.DataFrame:
    """Return the rows as they were known at a moment (microseconds UTC).

    Raises:
        InvalidInput: None was.
    """
    if dataset.time is None:  # its rows have been there from the start
        return rows
    known = _stream(spec, dataset, rows).first_between(_LONG_AGO, at_us)
    if known.height == 0:
        message = f"nothing of dataset {dataset.name} was known by then"
        raise InvalidInput(message, field="start_at", next_step="start later")
    return known


def streams_of(spec: ProjectSpec, frames: Frames) -> list[Stream]:
    """Return the datasets that grow; those without a time are complete from the start."""
    return [_stream(spec, each, frames[each.name]) for each in spec.datasets if each.time is not None]


def _stream(spec: ProjectSpec, dataset: DatasetSpec, rows: pl.DataFrame) -> Stream:
    """Return rows as they became known: as a whole, or column by column where a feature reads one before the last."""
    late = _late_columns(dataset)
    if not _is_read_early(spec, dataset, late):
        return Stream(dataset.name, rows.with_columns(_complete_at(dataset)), _COMPLETE)
    first = dataset.known_at.get("*") or KnownAt(str(dataset.time))
    parts = [Late(f"{_COMPLETE}_{number}", columns) for number, columns in enumerate(late.values())]
    moments = [_at(known).alias(part.known_at) for known, part in zip(late, parts, strict=True)]
    known = rows.with_columns(pl.coalesce(_at(first), dataset.time).alias(_COMPLETE), *moments)
    return Stream(dataset.name, known, _COMPLETE, parts, dataset.key)


def _late_columns(dataset: DatasetSpec) -> dict[KnownAt, list[str]]:
    """Return the columns that are declared as known at a moment of their own, by that; the moment comes with them."""
    late: dict[KnownAt, list[str]] = {}
    early = {*dataset.key, dataset.time, *(known.column for name, known in dataset.known_at.items() if name == "*")}
    for column, known in dataset.known_at.items():
        if column != "*":
            late.setdefault(known, []).append(column)
    for known, columns in sorted(late.items(), key=lambda each: each[0].after_us):  # a moment comes with the first
        if known.column not in early and not any(known.column in named for named in late.values()):
            columns.append(known.column)
    return late


def _is_read_early(spec: ProjectSpec, dataset: DatasetSpec, late: dict[KnownAt, list[str]]) -> bool:
    """Say whether a feature reads a column that is known before the whole row is."""
    read = {column for view in spec.views if view.dataset == dataset.name for column in features.used_columns(view)}
    groups = [set(columns) for columns in late.values()]
    is_late = {column for columns in groups for column in columns}
    # One moment for all that is read is that of the whole row, unless there are others.
    return bool(read) and bool(late) and (len(groups) > 1 or not read <= is_late)


def requests_of(spec: ProjectSpec, frames: Frames, start_at: int, end_at: int) -> tuple[Requests, int]:
    """Return each row of the label's dataset as the request it would have been, and when the last label is known.

    Args:
        spec: Narrowed to one deployment.
        frames: Its rows.
        start_at: First event time, microseconds UTC.
        end_at: First event time that is out.

    Raises:
        InvalidInput: No row lies in the stretch.
    """
    service = next(each for each in spec.services if each.name == first_training(spec).service)
    dataset = next(each for each in spec.datasets if each.name == service.label.dataset)
    inputs = [column for each in spec.requests if each.name in service.requests for column in each.inputs]
    entities = [view.entity for view in spec.views if view.name in service.views]
    known = dataset.known_at.get(service.label.column) or dataset.known_at.get("*")
    assert dataset.time is not None  # narrow_spec refuses a label without a moment
    label_at = pl.col(known.column) + pl.duration(microseconds=known.after_us) if known else pl.col(dataset.time)
    rows = (
        frames[dataset.name]
        .filter(pl.col(dataset.time).is_between(_moment(start_at), _moment(end_at), closed="left"))
        .select(
            *dict.fromkeys([*dataset.key, dataset.time, *inputs, *entities]),
            pl.col(dataset.time).alias("event_at"),
            pl.col(service.label.column).alias("_label"),
            label_at.alias("_label_at"),
        )
    )
    if rows.is_empty():
        message = f"dataset {dataset.name} has no row in this stretch"
        raise InvalidInput(message, field="start_at", rule=f"by {dataset.time}")
    last = rows["_label_at"].drop_nulls().dt.epoch("us").max()
    return Requests(rows, event_at="event_at", label="_label", label_at="_label_at"), int(last or 0)  # type: ignore[arg-type]


def _complete_at(dataset: DatasetSpec) -> pl.Expr:
    """Return when a row is complete: at the last of its known-at moments, or a day after the event."""
    event = pl.col(str(dataset.time))
    late = [pl.coalesce(_at(known), event + pl.duration(days=1)) for known in dataset.known_at.values()]
    return pl.max_horizontal(event, *late).alias(_COMPLETE)


def _at(known: KnownAt) -> pl.Expr:
    return pl.col(known.column) + pl.duration(microseconds=known.after_us)


def _moment(at_us: int) -> pl.Expr:
    return pl.lit(at_us).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
