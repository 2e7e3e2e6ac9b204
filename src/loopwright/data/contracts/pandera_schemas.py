"""Schemas of pandera as its ``to_yaml`` and ``to_json`` write them, read as checks. Nothing of it is needed. Pure."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Literal

import msgspec

from loopwright.data import declarations
from loopwright.data.contracts.conditions import (
    Bounds,
    Scalar,
    ending,
    matching,
    not_among,
    of_values,
    starting,
)
from loopwright.data.contracts.translation import Collector, How, Taken, Translation, no_check
from loopwright.kernel.documents import convert
from loopwright.kernel.errors import InvalidInput, shorten

_TOLD = ("title", "description", "metadata")
_TYPES = ("dtype", "coerce")
_OF_TYPES = "types are told by all values, or by types= of the source"
_OF_COLUMN = frozenset(
    [*_TOLD, *_TYPES, "nullable", "unique", "required", "regex", "name", "checks", "report_duplicates"]
)
_OF_SCHEMA = frozenset([
    *_TOLD, *_TYPES, "schema_type", "version", "api", "columns", "checks", "index", "multiindex", "name",
    "unique", "report_duplicates",
])  # fmt: skip
_STRICT = "columns are not counted: an import ends where it lacks one that the declaration or a check names"
_OPTIONS = frozenset([
    "check_name", "ignore_na", "raise_warning", "n_failure_cases", "groupby", "groups", "error", "name", "title",
    "description",
])  # fmt: skip
"""What a check says beside what should hold; the rest are its arguments."""
Value = int | float | str


class _Range(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    min_value: Value | None = None
    max_value: Value | None = None
    include_min: bool = True
    include_max: bool = True


class _Length(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    min_value: int | None = None
    max_value: int | None = None
    exact_value: int | None = None


def is_schema(document: dict[Any, Any]) -> bool:
    """Say whether a document is a schema of pandera."""
    return "schema_type" in document


def read_schema(document: dict[Any, Any]) -> Translation:
    """Return what a schema says of its table.

    Raises:
        InvalidInput: It is none of a table, or its columns are no mapping.
    """
    kind, columns = document.get("schema_type"), document.get("columns")
    if kind != "dataframe":
        what = "this schema is none of a table"
        raise InvalidInput(what, field="schema_type", value=kind, rule="dataframe", next_step="write the table's own")
    if not isinstance(columns, dict):
        raise InvalidInput("a schema has columns by name", field="columns", value=columns, rule="a mapping")
    found = Collector(document.get("name"))
    for name, column in columns.items():
        if not isinstance(name, str) or not name or not isinstance(column, dict):
            found.leave(f"columns, {shorten(repr(name), 80)}", "a column is a mapping under its name, a text")
        else:
            _read_column(found, name, column)
    _read_rest(found, document)
    return found.finish()


def _read_column(found: Collector, name: str, column: dict[Any, Any]) -> None:
    found.leave_all([key for key in _TOLD if column.get(key)], " of columns", "they tell people of them")
    found.leave_all([key for key in _TYPES if column.get(key)], " of columns", _OF_TYPES)
    if column.get("regex"):
        found.leave(f"columns, {name!r}", "it stands for columns by a pattern of their names: checks name each column")
        return
    if not column.get("nullable"):
        found.take(f"nullable of {name!r}", lambda: [Taken(declarations.not_null(name))])
    if column.get("unique"):
        found.take(f"unique of {name!r}", lambda: [Taken(declarations.unique(name))])
    if column.get("required") is False:
        found.leave(
            f"required of {name!r}", "a check of a column that is missing ends the import: leave its checks out"
        )
    flat = {key: value for key, value in column.items() if key in _CHECKS or key in _NONE}
    for check, arguments, options in [*_listed(column.get("checks")), *(_flat(*one) for one in flat.items())]:
        what = f"{shorten(str(check), 80)} of {name!r}"
        found.take(what, partial(_read_check, name, check, arguments, options))
    for key in column:
        if key not in _OF_COLUMN and key not in flat and column[key]:
            found.leave(f"{shorten(str(key), 80)} of {name!r}", "no check says this")


def _read_rest(found: Collector, document: dict[Any, Any]) -> None:
    unique = document.get("unique")
    if unique:
        found.take("unique", lambda: _unique_together(unique))
    for check, _, _ in _listed(document.get("checks")):
        found.leave(f"{shorten(str(check), 80)} of all columns", "checks name their column: say it of each")
    for key in ("index", "multiindex"):
        if document.get(key):
            found.leave(key, "rows have no index: what it holds is a column, of which it is said")
    found.leave_all([key for key in _TOLD if document.get(key)], " of the schema", "they tell people of it")
    found.leave_all([key for key in _TYPES if document.get(key)], " of the schema", _OF_TYPES)
    switched = [key for key in document if key not in _OF_SCHEMA and document[key]]
    found.leave_all(switched, "", _STRICT)
    found.leave("the key", "a schema does not say which columns tell a row apart: say it")


def _unique_together(told: Any) -> Iterator[Taken]:
    columns = [told] if isinstance(told, str) else convert(told, list[str], "unique")
    yield Taken(declarations.unique(*columns))


def _listed(checks: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Yield name, arguments and options of checks that are listed, or stand by name as older versions wrote them."""
    if isinstance(checks, dict):
        yield from (_flat(name, told) for name, told in checks.items())
        return
    for told in checks if isinstance(checks, list) else [] if checks is None else [checks]:
        options = told.get("options") if isinstance(told, dict) else None
        if not isinstance(options, dict):
            yield "a check", told, None
        else:
            yield options.get("check_name"), {key: told[key] for key in told if key != "options"}, options


def _flat(name: Any, told: Any) -> tuple[Any, Any, Any]:
    """Return name, arguments and options of a check that stands under its name, as a value or as a mapping."""
    if not isinstance(told, dict):
        return name, {"value": told}, {}
    options = told.get("options", {key: told[key] for key in told if key in _OPTIONS})
    return name, {key: told[key] for key in told if key != "options" and key not in _OPTIONS}, options


def _read_check(column: str, check: Any, arguments: Any, options: Any) -> Iterable[Taken]:
    if not isinstance(arguments, dict) or not isinstance(options, dict) or not isinstance(check, str):
        raise no_check("a check has a name, arguments and options")
    if why := _NONE.get(check):
        raise no_check(why)
    if check not in _CHECKS:
        raise no_check("it is no check that pandera brings: say it with one of lw.check")
    if options.get("groupby") or options.get("groups"):
        raise no_check("it compares groups of rows")
    if unknown := [str(key) for key in options if key not in _OPTIONS]:
        raise no_check(f"checks have no option {', '.join(unknown)}")
    note = "a missing value passes" if options.get("ignore_na") is False else ""
    return _CHECKS[check](column, arguments, How("warn" if options.get("raise_warning") else "block", 0.0, note))


def _one(arguments: dict[str, Any]) -> Any:
    """Return the only argument, however it is called."""
    if len(arguments) != 1:
        raise no_check("it has one argument")
    return next(iter(arguments.values()))


def _scalar(arguments: dict[str, Any]) -> Scalar:
    value: Scalar = convert(_one(arguments), bool | int | float | str, "its argument")  # type: ignore[arg-type]
    return value


def _text(arguments: dict[str, Any]) -> str:
    return convert(_one(arguments), str, "its argument")


def _scalars(arguments: dict[str, Any]) -> list[Any]:
    found = convert(_one(arguments), list[bool | int | float | str | None], "its argument")
    return [value for value in found if value is not None]


def _equal(column: str, arguments: dict[str, Any], how: How) -> Iterator[Taken]:
    yield Taken(declarations.is_in(column, [_scalar(arguments)], **how.words), how.note)


def _unequal(column: str, arguments: dict[str, Any], how: How) -> Iterator[Taken]:
    return not_among(column, [_scalar(arguments)], how)


def _in(column: str, arguments: dict[str, Any], how: How) -> Iterator[Taken]:
    yield Taken(declarations.is_in(column, _scalars(arguments), **how.words), how.note)


def _not_in(column: str, arguments: dict[str, Any], how: How) -> Iterator[Taken]:
    return not_among(column, _scalars(arguments), how)


def _bounded(side: Literal["low", "high"], *, is_strict: bool = False) -> Callable[..., Iterator[Taken]]:
    def read(column: str, arguments: dict[str, Any], how: How) -> Iterator[Taken]:
        value = _scalar(arguments)
        if isinstance(value, bool):
            raise no_check("truths have no order")
        bounds = Bounds(low=value, is_low_strict=is_strict) if side == "low" else Bounds(None, value, False, is_strict)
        return of_values(column, bounds, how)

    return read


def _range(column: str, arguments: dict[str, Any], how: How) -> Iterator[Taken]:
    told = convert(arguments, _Range, "its arguments")
    bounds = Bounds(told.min_value, told.max_value, not told.include_min, not told.include_max)
    return of_values(column, bounds, how)


def _length(column: str, arguments: dict[str, Any], how: How) -> Iterator[Taken]:
    told = convert(arguments, _Length, "its arguments")
    low, high = (told.min_value or 0, told.max_value) if told.exact_value is None else (told.exact_value,) * 2
    yield Taken(declarations.length(column, low or 0, high, **how.words), how.note)


def _matches(column: str, arguments: dict[str, Any], how: How) -> Iterator[Taken]:
    return matching(column, _text(arguments), how, "at the start")


def _contains(column: str, arguments: dict[str, Any], how: How) -> Iterator[Taken]:
    return matching(column, _text(arguments), how)


def _starts(column: str, arguments: dict[str, Any], how: How) -> Iterator[Taken]:
    return matching(column, starting(_text(arguments)), how, "whole")


def _ends(column: str, arguments: dict[str, Any], how: How) -> Iterator[Taken]:
    return matching(column, ending(_text(arguments)), how, "whole")


_CHECKS: dict[str, Callable[[str, dict[str, Any], How], Iterator[Taken]]] = {
    "equal_to": _equal,
    "eq": _equal,
    "not_equal_to": _unequal,
    "ne": _unequal,
    "greater_than": _bounded("low", is_strict=True),
    "gt": _bounded("low", is_strict=True),
    "greater_than_or_equal_to": _bounded("low"),
    "ge": _bounded("low"),
    "less_than": _bounded("high", is_strict=True),
    "lt": _bounded("high", is_strict=True),
    "less_than_or_equal_to": _bounded("high"),
    "le": _bounded("high"),
    "in_range": _range,
    "between": _range,
    "isin": _in,
    "notin": _not_in,
    "str_matches": _matches,
    "str_contains": _contains,
    "str_startswith": _starts,
    "str_endswith": _ends,
    "str_length": _length,
}
_NONE = {"unique_values_eq": "lw.check.is_in says which values there may be, not that each of them comes"}
"""Checks that pandera brings and that are none of ours, each with why."""
