"""A dataset as it stands, as a contract of the Open Data Contract Standard, version 3.1.0. Pure."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from loopwright.data.contracts.odcs import KIND, KNOWN_AT, TIME
from loopwright.data.contracts.odcs_rules import is_of_table, write_rule
from loopwright.data.types import CheckSpec, ColumnSchema, Dataset, DatasetSpec, DatasetVersion
from loopwright.kernel.clock import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.refs import Ref

API_VERSION = "v3.1.0"
_LIMITS = (
    "Rules of the engine `loopwright` are about the rows that come together in an import, not about the whole table."
)
_LOGICAL = (
    (re.compile(r"U?Int\d+"), "integer"),
    (re.compile(r"Float\d+|Decimal\(.*\)"), "number"),
    (re.compile(r"String|Binary"), "string"),
    (re.compile(r"Boolean"), "boolean"),
    (re.compile(r"Date"), "date"),
    (re.compile(r"Time"), "time"),
    (re.compile(r"Datetime\(.*\)"), "timestamp"),
    (re.compile(r"List\(.*\)"), "array"),
)
_UNITS = (("d", DAY_US), ("h", HOUR_US), ("min", MINUTE_US), ("s", SECOND_US))


def to_contract(project: str, dataset: Dataset, version: DatasetVersion | None) -> dict[str, Any]:
    """Return the contract of a dataset.

    Args:
        project: Its project.
        dataset: Its declaration.
        version: The newest that may be used, whose columns it has; None before there is one.
    """
    spec = dataset.spec
    contract = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "id": str(Ref("dataset", dataset.name, project=project)),
        "name": dataset.name,
        "version": str(0 if version is None else version.version),
        "status": "draft" if version is None else "active",
        "domain": project,
        "description": {"limitations": _LIMITS},
        "schema": [_table(spec, version)],
    }
    promises = [promise for check in spec.checks for promise in _promises(spec, check)]
    return {**contract, "slaProperties": promises} if promises else contract


def _table(spec: DatasetSpec, version: DatasetVersion | None) -> dict[str, Any]:
    own = [{"property": TIME, "value": spec.time}] if spec.time else []
    own += [{"property": KNOWN_AT, "value": to_builtins(spec.known_at)}] if spec.known_at else []
    schema = {column.name: column for column in version.schema} if version is not None else {}
    names = dict.fromkeys([*schema, *_named(spec)])
    table = {
        "name": spec.name,
        "logicalType": "object",
        "physicalType": "table",
        "properties": [_column(spec, name, schema.get(name)) for name in names],
        "quality": [write_rule(check, spec.key) for check in spec.checks if is_of_table(check)],
        "customProperties": own,
    }
    return {name: value for name, value in table.items() if value}


def _named(spec: DatasetSpec) -> Iterator[str]:
    """Yield the columns that a declaration names, in the order in which it does."""
    yield from spec.key
    yield from [spec.time] if spec.time else []
    yield from spec.personal
    for column, known in spec.known_at.items():
        yield from [known.column, *([column] if column != "*" else [])]
    yield from (check.column for check in spec.checks if check.column is not None)


def _column(spec: DatasetSpec, name: str, schema: ColumnSchema | None) -> dict[str, Any]:
    own = [check for check in spec.checks if check.column == name]
    strict = [check for check in own if check.severity == "block" and not check.most_share and not check.where]
    logical = None if schema is None else _logical(schema.dtype)
    column: dict[str, Any] = {"name": name}
    if name in spec.key:
        column |= {"primaryKey": True, "primaryKeyPosition": spec.key.index(name) + 1}
    if schema is not None:
        column |= {"logicalType": logical, "physicalType": schema.dtype, "items": _items(schema.dtype)}
    column |= {
        "logicalTypeOptions": _options(logical, schema, strict),
        "required": name in spec.key or any(check.kind == "not_null" for check in strict),
        "unique": spec.key == [name],
        "classification": "personal" if name in spec.personal else None,
        "quality": [write_rule(check, spec.key) for check in own if not is_of_table(check)],
    }
    return {key: value for key, value in column.items() if value}


def _logical(dtype: str) -> str | None:
    return next((logical for written, logical in _LOGICAL if written.fullmatch(dtype)), None)


def _items(dtype: str) -> dict[str, Any] | None:
    if not dtype.startswith("List("):
        return None
    inner = dtype.removeprefix("List(").removesuffix(")")
    told = {"logicalType": _logical(inner), "physicalType": inner, "items": _items(inner)}
    return {name: value for name, value in told.items() if value}


def _options(logical: str | None, schema: ColumnSchema | None, strict: Iterable[CheckSpec]) -> dict[str, Any]:
    """Return what a type says beside its name: of the first strict checks what the standard has words for."""
    first: dict[str, dict[str, Any]] = {}
    for check in strict:
        first.setdefault(check.kind, check.args)
    options: dict[str, Any] = {}
    if logical == "string":
        length = first.get("length", {})
        options = {"minLength": length.get("low"), "maxLength": length.get("high")}
    bounds = first.get("between", {})
    kinds = (str,) if logical in ("date", "timestamp", "time") else (int, float)
    if logical in ("integer", "number", "date", "timestamp", "time"):
        told = {"minimum": bounds.get("low"), "maximum": bounds.get("high")}
        options = {name: bound for name, bound in told.items() if isinstance(bound, kinds)}
    if logical == "timestamp" and schema is not None:
        zone = schema.dtype.partition(", ")[2].removesuffix(")")
        options |= {"timezone": bool(zone), "defaultTimezone": zone or None}
    return {name: value for name, value in options.items() if value is not None}


def _promises(spec: DatasetSpec, check: CheckSpec) -> Iterator[dict[str, Any]]:
    column, within_us = check.column or spec.time, check.args.get("within_us")
    if check.kind == "fresh" and column and isinstance(within_us, int) and not check.where:
        unit, size = next(((unit, size) for unit, size in _UNITS if within_us % size == 0), _UNITS[-1])
        value = within_us / size if within_us % size else within_us // size
        yield {"property": "latency", "value": value, "unit": unit, "element": f"{spec.name}.{column}"}
