"""Contracts of the Open Data Contract Standard, version 3, read as declarations. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import partial
from typing import Any

from loopwright.data import declarations
from loopwright.data.contracts.conditions import Bounds, matching, of_values
from loopwright.data.contracts.odcs_rules import OF_IMPORT, TOLD, read_rule
from loopwright.data.contracts.translation import Collector, How, Taken, Translation, no_check
from loopwright.data.types import CheckSpec, KnownAt
from loopwright.kernel.bounds import MOST_RULES
from loopwright.kernel.clock import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from loopwright.kernel.documents import convert
from loopwright.kernel.errors import InvalidInput, shorten

KIND = "DataContract"
TIME, KNOWN_AT = "eventTime", "knownAt"
"""Names of the properties of our own under which a table says its event time, and when values become known."""
PERSONAL = frozenset(["personal", "personal data", "pii", "sensitive personal data"])
"""Classes of columns that tell of a person."""
_OF_RULES = " of quality rules"
_PEOPLE = "it tells people of the table; the contract keeps it"
_TYPES = frozenset(["logicalType", "physicalType"])
_OF_TYPES = "types are told by all values, or by types= of the source"
_CONTRACT = frozenset(["apiVersion", "kind", "schema", "slaProperties", "slaDefaultElement"])
_TABLE = frozenset(["name", "properties", "quality", "customProperties", "relationships"])
_TABLE_TOLD = frozenset([
    "id", "description", "businessName", "physicalName", "authoritativeDefinitions", "tags",
    "dataGranularityDescription", *_TYPES,
])  # fmt: skip
_COLUMN = frozenset([
    "name", "primaryKey", "primaryKeyPosition", "required", "unique", "classification", "quality",
    "logicalTypeOptions", "relationships", "physicalName", *_TYPES,
])  # fmt: skip
_COLUMN_TOLD = frozenset([
    "id", "description", "businessName", "authoritativeDefinitions", "tags", "examples",
    "criticalDataElement", "transformSourceObjects", "transformLogic", "transformDescription", "encryptedName",
    "customProperties", "partitioned", "partitionKeyPosition",
])  # fmt: skip
_WRITTEN = frozenset(["format", "timezone", "defaultTimezone"])
_BOUNDS = frozenset(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"])
_LENGTHS = frozenset(["minLength", "maxLength"])
_FRESH = frozenset(["latency", "ly", "freshness"])
_UNITS = {
    "s": SECOND_US, "sec": SECOND_US, "second": SECOND_US, "seconds": SECOND_US,
    "min": MINUTE_US, "minute": MINUTE_US, "minutes": MINUTE_US,
    "h": HOUR_US, "hr": HOUR_US, "hour": HOUR_US, "hours": HOUR_US,
    "d": DAY_US, "day": DAY_US, "days": DAY_US,
    "w": 7 * DAY_US, "week": 7 * DAY_US, "weeks": 7 * DAY_US,
    "y": 365 * DAY_US, "yr": 365 * DAY_US, "year": 365 * DAY_US, "years": 365 * DAY_US,
}  # fmt: skip
Contract = Mapping[Any, Any]


def is_contract(document: dict[Any, Any]) -> bool:
    """Say whether a document is a contract of the standard."""
    return document.get("kind") == KIND or "apiVersion" in document


def read_tables(document: dict[Any, Any]) -> list[Translation]:
    """Return what a contract says of each of its tables.

    Raises:
        InvalidInput: It is of another version of the standard, or has no tables.
    """
    version, tables = document.get("apiVersion"), document.get("schema")
    if not str(version).removeprefix("v").startswith("3."):
        rule, next_step = "v3.0.0 to v3.1.0", "bring the contract to version 3: the standard tells how"
        raise InvalidInput(
            "this version is not read", field="apiVersion", value=version, rule=rule, next_step=next_step
        )
    if not isinstance(tables, list) or not 1 <= len(tables) <= MOST_RULES:
        rule = f"a list of 1 to {MOST_RULES} tables"
        raise InvalidInput("a contract has a schema", field="schema", value=tables, rule=rule)
    for number, table in enumerate(tables):
        if not isinstance(table, dict):
            raise InvalidInput("this is no table", field=f"schema[{number}]", value=table, rule="a mapping")
    found = [_read_table(table) for table in tables]
    _read_promises(found, [table.get("name") for table in tables], document)
    told = [key for key in document if key not in _CONTRACT]
    found[0].leave_all(told, " of the contract", _PEOPLE)
    return [one.finish() for one in found]


def _read_table(table: Contract) -> Collector:
    found = Collector(table.get("name"))
    properties = table.get("properties") or []
    columns: dict[str, Contract] = {}
    for number, column in enumerate(properties if isinstance(properties, list) else [properties]):
        name = column.get("name") if isinstance(column, dict) else None
        if not isinstance(name, str) or not name or name in columns:
            found.leave(f"properties[{number}]", "a column is a mapping with a name of its own")
        else:
            columns[name] = column
    found.key = _key(columns)
    _read_own(found, table)
    for name, column in columns.items():
        _read_column(found, name, column)
    _read_rules(found, table.get("quality"), None, "quality")
    if table.get("relationships"):
        found.leave("relationships of the table", "say each with lw.check.refers_to")
    found.leave_all([key for key in table if key in _TABLE_TOLD], " of the table", _PEOPLE)
    _leave_unknown(found, table, _TABLE | _TABLE_TOLD, "the table")
    if not found.key:
        found.leave("the key", "no column has primaryKey: say which columns tell a row apart")
    return found


def _key(columns: Mapping[str, Contract]) -> list[str]:
    """Return the columns of the primary key in their order; those without a place are last."""
    placed = []
    for number, (name, column) in enumerate(columns.items()):
        place = column.get("primaryKeyPosition")
        is_placed = isinstance(place, int) and place > 0
        if column.get("primaryKey") is True:
            placed.append((0 if is_placed else 1, place if is_placed else number, number, name))
    return [name for *_, name in sorted(placed)]


def _read_own(found: Collector, table: Contract) -> None:
    """Read what a contract that we wrote says in properties of its own."""
    own = table.get("customProperties") or []
    for number, told in enumerate(own if isinstance(own, list) else [own]):
        what = f"customProperties[{number}] of the table"
        name, value = (told.get("property"), told.get("value")) if isinstance(told, dict) else (None, None)
        if name == TIME and isinstance(value, str) and value:
            found.time = value
        elif name == KNOWN_AT:
            try:
                known = convert(value, dict[str, KnownAt], what)
                found.known_at = {column: declarations.after(at.column, at.after_us) for column, at in known.items()}
            except InvalidInput as error:
                found.leave(what, error.message)
        else:
            found.leave(what, f"{shorten(repr(name), 80)} says nothing that a declaration says")
    if found.time is None:
        found.leave("the time", "the standard has no word for it: say time= if a column tells when each row happened")


def _read_column(found: Collector, name: str, column: Contract) -> None:
    of = f" of {name!r}"
    if column.get("required") is True and name not in found.key:
        found.take(f"required{of}", lambda: [Taken(declarations.not_null(name))])
    if column.get("unique") is True and found.key != [name]:
        found.take(f"unique{of}", lambda: [Taken(declarations.unique(name), OF_IMPORT)])
    for switch in ("required", "unique", "primaryKey"):
        if not isinstance(column.get(switch, False), bool):
            found.leave(f"{switch}{of}", "it is true or false")
    _read_class(found, name, column.get("classification"))
    options = column.get("logicalTypeOptions") or {}
    if isinstance(options, dict):
        _read_options(found, name, options)
    else:
        found.leave(f"logicalTypeOptions{of}", "they are a mapping")
    _read_rules(found, column.get("quality"), name, f"quality{of}")
    _read_relationships(found, name, column.get("relationships"))
    found.leave_all([key for key in column if key in _TYPES], " of columns", _OF_TYPES)
    found.leave_all([key for key in column if key in _COLUMN_TOLD], " of columns", _PEOPLE)
    if column.get("physicalName") not in (None, name):
        found.leave_all(
            ["physicalName"], " of columns", "columns are called by their name: rename them in the transform"
        )
    for nested in ("properties", "items"):
        if nested in column:
            found.leave(f"{nested}{of}", "checks are of columns, not of what is nested in them")
    _leave_unknown(found, column, _COLUMN | _COLUMN_TOLD | {"properties", "items"}, repr(name))


def _read_class(found: Collector, name: str, told: Any) -> None:
    if isinstance(told, str) and told.lower() in PERSONAL:
        found.personal.append(name)
    elif told is not None:
        why = "it does not say whether the column tells of a person: if so, add it to personal="
        found.leave(f"classification {shorten(repr(told), 80)} of {name!r}", why)


def _read_options(found: Collector, name: str, options: Contract) -> None:
    of = f"logicalTypeOptions of {name!r}"
    if _BOUNDS & {*options}:
        found.take(f"bounds in {of}", lambda: _bounded(name, options))
    if _LENGTHS & {*options}:
        found.take(f"lengths in {of}", lambda: _long(name, options))
    if "pattern" in options:
        found.take(f"pattern in {of}", lambda: matching(name, convert(options["pattern"], str, "pattern"), How()))
    written = [key for key in options if key in _WRITTEN]
    found.leave_all(written, " of columns", "how values are written is said of the source, of texts by lw.check.dated")
    for key in options:
        if key not in _BOUNDS | _LENGTHS | _WRITTEN | {"pattern"}:
            found.leave(f"{shorten(str(key), 80)} in {of}", "no check says this")


def _bounded(name: str, options: Contract) -> Iterator[Taken]:
    sides = (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum"))
    found = []
    for plain, exclusive in sides:
        told = {key: options[key] for key in (plain, exclusive) if options.get(key) is not None}
        if len(told) > 1:
            raise no_check(f"{plain} and {exclusive} bound the same side")
        if any(isinstance(bound, bool) or not isinstance(bound, int | float | str) for bound in told.values()):
            raise no_check("bounds are numbers or texts")
        found += [next(iter(told.values()), None), exclusive in told]
    low, is_low_strict, high, is_high_strict = found
    return of_values(name, Bounds(low, high, bool(is_low_strict), bool(is_high_strict)), How())


def _long(name: str, options: Contract) -> Iterator[Taken]:
    low = convert(options.get("minLength", 0), int, "minLength")
    high = convert(options.get("maxLength"), int | None, "maxLength")  # type: ignore[arg-type]
    yield Taken(declarations.length(name, low, high))


def _read_rules(found: Collector, rules: Any, column: str | None, where: str) -> None:
    for number, rule in enumerate(rules if isinstance(rules, list) else [] if rules is None else [rules]):
        told = shorten(str(rule.get("name") or rule.get("description") or ""), 60) if isinstance(rule, dict) else ""
        what = f"{where}[{number}]" + (f" ({told!r})" if told else "")
        found.take(what, partial(read_rule, rule, column))
        if isinstance(rule, dict):
            found.leave_all([key for key in rule if key in TOLD], _OF_RULES, _PEOPLE)


def _read_relationships(found: Collector, name: str, told: Any) -> None:
    for number, one in enumerate(told if isinstance(told, list) else [] if told is None else [told]):
        found.take(f"relationships[{number}] of {name!r}", partial(_referred, name, one))


def _referred(name: str, told: Any) -> Iterator[Taken]:
    to = told.get("to") if isinstance(told, dict) else None
    if not isinstance(to, str) or to.count(".") != 1 or "/" in to:
        raise no_check("it does not lead to table.column: say it with lw.check.refers_to")
    dataset, column = to.split(".")
    yield Taken(declarations.refers_to(name, dataset, column), f"if the dataset is called {dataset!r} here too")


def _read_promises(found: Sequence[Collector], names: Sequence[object], contract: Contract) -> None:
    """Read what is promised of service: how old the newest row may be is a check."""
    told = contract.get("slaProperties") or []
    for number, promise in enumerate(told if isinstance(told, list) else [told]):
        what = f"slaProperties[{number}]"
        if not isinstance(promise, dict) or not isinstance(promise.get("property"), str):
            found[0].leave(what, "a promise has a property and a value")
            continue
        what += f", {shorten(promise['property'], 80)}"
        if promise["property"].lower() not in _FRESH:
            found[0].leave(what, "no check of rows says this")
            continue
        elements = promise.get("element", contract.get("slaDefaultElement"))
        listed = elements.split(",", MOST_RULES) if isinstance(elements, str) else [""]
        if len(listed) > MOST_RULES:
            found[0].leave(what, f"it names more than {MOST_RULES} elements")
            continue
        for element in listed:
            _read_freshness(found, names, promise, what, element.strip())


def _read_freshness(
    found: Sequence[Collector], names: Sequence[object], promise: Contract, what: str, element: str
) -> None:
    """Read a promise about one element: ``table.column``, or ``column`` where there is one table."""
    tables = [name for name in names if isinstance(name, str) and element.startswith(f"{name}.")]
    if tables:
        table = max(tables, key=len)
        place, column = names.index(table), element.removeprefix(f"{table}.")
    else:
        place, column = 0, element if len(names) == 1 and "." not in element else ""
    if column:
        found[place].take(f"{what} of {column!r}", partial(_fresh, found[place], column, promise))
    else:
        named = f" of {shorten(repr(element), 80)}" if element else ""
        found[0].leave(f"{what}{named}", "it names no table.column of this contract: say it with lw.check.fresh")


def _fresh(found: Collector, column: str, promise: Contract) -> Iterator[Taken]:
    unit, value = promise.get("unit"), promise.get("value")
    if not isinstance(unit, str) or unit.lower() not in _UNITS:
        raise no_check(f"its unit is none of {', '.join(_UNITS)}")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        raise no_check("its value is no number of such units")
    within_us = round(Fraction(value) * _UNITS[unit.lower()])
    names = (column, None) if column == found.time else (column,)

    def is_said(check: CheckSpec) -> bool:
        return check.kind == "fresh" and check.column in names and check.args == {"within_us": within_us}

    if not found.has(is_said):
        yield Taken(declarations.fresh(column, within_us))


def _leave_unknown(found: Collector, told: Contract, known: frozenset[str], of: str) -> None:
    found.leave_all([key for key in told if key not in known], f" of {of}", "the standard has no such key")
