"""Stored rows as they once came: what was known at a moment, what became known when, what was asked."""

import polars as pl

from loopwright.data import DatasetSpec
from loopwright.kernel.errors import InvalidInput
from loopwright.loop.backtest.driver import Requests, Stream
from loopwright.loop.backtest.narrowing import first_training
from loopwright.loop.types import ProjectSpec

_COMPLETE = "_complete_at"

Frames = dict[str, pl.DataFrame]
"""Rows of datasets by name, as they are stored: their transform has made them."""


def known_by(dataset: DatasetSpec, rows: pl.DataFrame, at_us: int) -> pl.DataFrame:
    """Return the rows that were complete at a moment (microseconds UTC).

    Raises:
        InvalidInput: None was.
    """
    known = rows.filter(_complete_at(dataset, at_us) <= _moment(at_us))
    if known.height == 0:
        message = f"nothing of dataset {dataset.name} was known by then"
        raise InvalidInput(message, field="start_at", next_step="start later")
    return known


def streams_of(spec: ProjectSpec, frames: Frames) -> list[Stream]:
    """Return the datasets that grow; those without a time are complete from the start."""
    timed = [dataset for dataset in spec.datasets if dataset.time is not None]
    return [
        Stream(dataset.name, frames[dataset.name].with_columns(_complete_at(dataset, 0)), _COMPLETE)
        for dataset in timed
    ]


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


def _complete_at(dataset: DatasetSpec, start_at: int) -> pl.Expr:
    """Return when a row is complete: at the last of its known-at moments, or a day after the event.

    Rows of a dataset without a time have been there from the start.
    """
    if dataset.time is None:
        return _moment(start_at).alias(_COMPLETE)
    event = pl.col(dataset.time)
    moments = [pl.col(known.column) + pl.duration(microseconds=known.after_us) for known in dataset.known_at.values()]
    late = [pl.coalesce(moment, event + pl.duration(days=1)) for moment in moments]
    return pl.max_horizontal(event, *late).alias(_COMPLETE)


def _moment(at_us: int) -> pl.Expr:
    return pl.lit(at_us).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
