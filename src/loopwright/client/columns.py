"""Columns that a project file names, looked up where its files are at hand: a typo is told before anything is sent."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from loopwright import data
from loopwright.client.handles import Dataset, Service, View
from loopwright.data import CheckSpec, read_rule
from loopwright.features import ColumnViewSpec
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.suggestions import suggest
from loopwright.wire.reading import reader_errors

Named = Iterator[tuple[str, str]]
"""Field and the column that it names."""


def find_schema(dataset: Dataset, folder: Path) -> dict[str, Any] | None:
    """Return names and Polars types of a dataset's columns after its transform; None where its files are elsewhere.

    Raises:
        InvalidInput: The transform fails on the files' columns.
    """
    source = dataset.spec.source
    if not source.has_files:
        return None
    source = msgspec.structs.replace(source, location=str(folder / source.location))
    unreadable: tuple[type[BaseException], ...] = (Exception, *reader_errors())  # whatever a transform raises, too
    with TemporaryDirectory() as scratch, ExitStack() as held:
        try:
            files = held.enter_context(data.sources.find_files(source, None))
        except InvalidInput:
            return None
        try:
            frame = data.sources.open_files(files, data.sources.Asked(source, Path(scratch)))
            if dataset.transform is not None:
                frame = dataset.transform(frame)
            return dict(frame.collect_schema())
        except InvalidInput:
            raise
        except unreadable as error:
            raise InvalidInput(
                f"dataset {dataset.spec.name} cannot be read: {type(error).__name__}: {error}",
                field=f"datasets.{dataset.spec.name}",
                value=source.location,
            ) from None


def check_columns(
    datasets: Iterable[Dataset], views: Iterable[View], services: Iterable[Service], folder: Path
) -> None:
    """Look up every column that datasets, views and services name.

    Raises:
        InvalidInput: A dataset has no such column; names the nearest one.
    """
    views, services = list(views), list(services)
    for dataset in datasets:
        schema = find_schema(dataset, folder)
        if schema is None:
            continue
        for field, column in _named(dataset, views, services):
            if column not in schema:
                raise InvalidInput(
                    f"dataset {dataset.spec.name} has no column {column}",
                    field=field,
                    value=column,
                    next_step=suggest(column, schema),
                )


def _named(dataset: Dataset, views: Iterable[View], services: Iterable[Service]) -> Named:
    yield from _of_dataset(dataset)
    for view in views:
        if view.spec.dataset == dataset.spec.name:
            yield from _of_view(view)
    for service in services:
        if service.label.dataset == dataset.spec.name:
            yield f"services.{service.name}.label", service.label.column


def _of_dataset(dataset: Dataset) -> Named:
    spec, field = dataset.spec, f"datasets.{dataset.spec.name}"
    yield from ((f"{field}.key", name) for name in spec.key)
    if spec.time is not None:
        yield f"{field}.time", spec.time
    for name, known in spec.known_at.items():
        yield f"{field}.known_at.{name}", known.column
        if name != "*":
            yield f"{field}.known_at", name
    yield from ((f"{field}.personal", name) for name in spec.personal)
    for check in spec.checks:
        yield from ((f"{field}.checks.{check.kind}", name) for name in _of_check(check))


def _of_check(check: CheckSpec) -> list[str]:
    rules = [rule for rule in (check.where, check.args.get("rule", "")) if rule]
    named = [name for rule in rules for name in read_rule(rule)]
    return [*([check.column] if check.column else []), *check.args.get("columns", []), *named]


def _of_view(view: View) -> Named:
    spec, field = view.spec, f"views.{view.spec.name}"
    yield f"{field}.entity", spec.entity
    if isinstance(spec, ColumnViewSpec):
        yield from ((f"{field}.columns", name) for name in spec.columns)
    else:
        yield from ((f"{field}.{aggregate.name}", aggregate.column) for aggregate in spec.aggregates)
