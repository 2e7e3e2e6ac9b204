"""Verbs of views, on-request functions and services: declare, get, list."""

from collections.abc import Iterable
from typing import Any

from loopwright import data
from loopwright.features import sql
from loopwright.features.events import RequestDeclared, ServiceDeclared, ViewDeclared
from loopwright.features.meanings import meaning_of
from loopwright.features.types import (
    AggregateViewSpec,
    ColumnViewSpec,
    Definition,
    Kind,
    RequestSpec,
    ServiceSpec,
    ViewSpec,
)
from loopwright.kernel.bounds import MOST_COLUMNS, MOST_RULES, check_count
from loopwright.kernel.documents import convert, digest_of, to_builtins
from loopwright.kernel.errors import InvalidInput, NotFound
from loopwright.kernel.refs import check_name
from loopwright.kernel.suggestions import suggest
from loopwright.kernel.tasks import check_task
from loopwright.kernel.verbs import query, verb
from loopwright.store.tombstones import missing
from loopwright.store.tx import Tx


@verb("features.declare_view", changes=Definition)
def declare_view(tx: Tx, *, spec: ColumnViewSpec | AggregateViewSpec) -> Definition:
    """Declare a view, or change it; a change makes a new digest and leaves frozen plans as they are.

    Raises:
        NotFound: Its dataset is not declared.
        InvalidInput: A name, column, window or time to live breaks a rule.
    """
    check_name(spec.name, "name")
    dataset = data.get(tx, dataset=spec.dataset)
    if dataset.spec.time is None:
        raise InvalidInput(
            f"dataset {spec.dataset} has no time, so its values have no past",
            field="dataset",
            value=spec.dataset,
            rule="views need a dataset with time",
            next_step='say time="<column>" where the dataset is declared',
        )
    columns = _check_columns(spec) if isinstance(spec, ColumnViewSpec) else _check_aggregates(spec)
    if dataset.newest is not None:
        schema = data.get_version(tx, dataset=spec.dataset).schema
        known = [column.name for column in schema]
        check_columns([spec.entity, *columns], known, f"dataset {spec.dataset}", "columns")
    made, before = _declare(tx, "view", spec)
    if before != made.digest:
        facts = ViewDeclared(digest=made.digest, before=before, dataset=spec.dataset)
        tx.emit(facts, tx.ref("feature_view", spec.name))
    return made


@verb("features.declare_request", changes=Definition)
def declare_request(tx: Tx, *, spec: RequestSpec) -> Definition:
    """Declare an on-request function by its inputs and outputs, or change it."""
    check_name(spec.name, "name")
    _check_named(spec.inputs, "inputs")
    _check_named(spec.outputs, "outputs")
    tx.require_blobs(spec.function.digest)
    made, before = _declare(tx, "request", spec)
    if before != made.digest:
        tx.emit(RequestDeclared(digest=made.digest, before=before), tx.ref("feature_request", spec.name))
    return made


@verb("features.declare_service", changes=Definition)
def declare_service(tx: Tx, *, spec: ServiceSpec) -> Definition:
    """Declare the set of views one model uses, or change it.

    Raises:
        NotFound: A view, request or the label's dataset is not declared.
    """
    check_name(spec.name, "name")
    check_task(spec.task)
    data.get(tx, dataset=spec.label.dataset)
    if not spec.views and not spec.requests:
        raise InvalidInput("a service needs a view or a request", field="views", rule="at least one")
    check_count(spec.views, "views")
    check_count(spec.requests, "requests")
    for kind, names in (("view", spec.views), ("request", spec.requests)):
        for name in names:
            find(tx, kind, name)
    made, before = _declare(tx, "service", spec)
    if before != made.digest:
        tx.emit(ServiceDeclared(digest=made.digest, before=before), tx.ref("feature_service", spec.name))
    return made


@query("features.get")
def get(tx: Tx, *, kind: str, name: str) -> Definition:
    """Return one declared view, request or service; ``kind`` says which."""
    return find(tx, kind, name)


@query("features.list")
def list_definitions(tx: Tx, *, kind: str | None = None) -> list[Definition]:
    """Return what is declared, by kind (view, request, service) and name."""
    return sql.list_definitions(tx, kind)


def find(tx: Tx, kind: str, name: str) -> Definition:
    """Return one definition.

    Raises:
        NotFound: Nothing of this kind has this name; suggests the nearest.
    """
    definition = sql.find_definition(tx, kind, name)
    if definition is None:
        names = [item.name for item in sql.list_definitions(tx, kind)]
        unknown = NotFound(f"no feature {kind} is named {name}", field=kind, value=name, next_step=suggest(name, names))
        raise missing(tx, f"feature_{kind}", name, None, unknown)
    return definition


def find_view(tx: Tx, name: str) -> ColumnViewSpec | AggregateViewSpec:
    """Return the present declaration of a view."""
    spec: Any = convert(find(tx, "view", name).spec, ColumnViewSpec | AggregateViewSpec)  # type: ignore[arg-type]
    view: ColumnViewSpec | AggregateViewSpec = spec
    return view


def check_columns(wanted: Iterable[str], known: Iterable[str], place: str, field: str) -> None:
    """Check that columns exist.

    Raises:
        InvalidInput: One does not; names it, its place and the nearest there is.
    """
    names = dict.fromkeys(known)
    for column in wanted:
        if column not in names:
            hint = suggest(column, names)
            raise InvalidInput(f"{place} has no column {column}", field=field, value=column, next_step=hint)


def _declare(tx: Tx, kind: Kind, spec: ViewSpec | RequestSpec | ServiceSpec) -> tuple[Definition, str | None]:
    """Keep a declaration; return it with the digest of the one before, its own where nothing changed."""
    document = to_builtins(spec)
    digest = digest_of(meaning_of(document))
    known = sql.find_definition(tx, kind, spec.name)
    if known is not None and known.digest == digest:
        return known, digest
    definition = Definition(kind, spec.name, digest, document, tx.now_us, tx.wall_us)
    sql.put_definition(tx, definition)
    return definition, None if known is None else known.digest


def _check_columns(spec: ColumnViewSpec) -> list[str]:
    _check_named(spec.columns, "columns")
    if spec.ttl_us is not None and spec.ttl_us <= 0:
        raise InvalidInput(
            "a value must live for a time", field="ttl_us", value=spec.ttl_us, rule="more than 0, or None"
        )
    return spec.columns


def _check_aggregates(spec: AggregateViewSpec) -> list[str]:
    _check_named([aggregate.name for aggregate in spec.aggregates], "aggregates", MOST_RULES)
    check_count(spec.windows_us, "windows_us")
    if not spec.windows_us or min(spec.windows_us) <= 0 or len(set(spec.windows_us)) < len(spec.windows_us):
        rule = "one or more different lengths above 0"
        raise InvalidInput("these windows cannot be", field="windows_us", value=spec.windows_us, rule=rule)
    return [aggregate.column for aggregate in spec.aggregates]


def _check_named(names: list[str], field: str, most: int = MOST_COLUMNS) -> None:
    check_count(names, field, most)
    if not names or not all(names) or len(set(names)) < len(names):
        raise InvalidInput(
            "these names cannot be used", field=field, value=names, rule="one or more, each once, none empty"
        )
