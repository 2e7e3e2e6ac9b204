"""Quality rules of the Open Data Contract Standard: read as our checks, and our checks written as such rules. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from loopwright.data import declarations
from loopwright.data.checks import check_args, open_check
from loopwright.data.contracts.conditions import (
    Bounds,
    Scalar,
    from_percent,
    matching,
    not_among,
    of_rows,
    of_statistic,
    to_percent,
)
from loopwright.data.contracts.documents import read_document
from loopwright.data.contracts.expectations import is_expectations_engine, read_expectation
from loopwright.data.contracts.translation import How, Taken, no_check
from loopwright.data.types import CheckSpec
from loopwright.kernel.bounds import MOST_COLUMNS
from loopwright.kernel.documents import convert, to_builtins
from loopwright.kernel.errors import InvalidInput, shorten

ENGINE = "loopwright"
OF_IMPORT = "of the rows of one import, not of the whole table"
TOLD = frozenset([
    "id", "name", "description", "dimension", "method", "businessImpact", "tags", "authoritativeDefinitions",
    "customProperties", "schedule", "scheduler",
])  # fmt: skip
"""Keys of a rule that tell people of it."""
_DIMENSIONS = {
    "not_null": "completeness", "missing": "completeness", "row_count": "coverage", "usual_rows": "coverage",
    "unique": "uniqueness", "fresh": "timeliness", "holds": "consistency", "increasing": "consistency",
    "refers_to": "consistency", "statistic": "accuracy", "usual": "accuracy",
}  # fmt: skip
_WARNINGS = frozenset(["warn", "warning", "info", "information", "low", "minor", "notice"])
_ERRORS = frozenset(["", "error", "critical", "high", "fatal", "blocker", "major", "severe", "block"])
_LEAST = {"mustBe": False, "mustBeGreaterThan": True, "mustBeGreaterOrEqualTo": False}
_MOST = {"mustBe": False, "mustBeLessThan": True, "mustBeLessOrEqualTo": False}
_OPERATORS = [*_LEAST, *_MOST, "mustNotBe", "mustBeBetween", "mustNotBeBetween"]
_KNOWN = frozenset(["type", "metric", "rule", "arguments", "unit", "severity", *_OPERATORS])
Arguments = Mapping[str, Any]
Metric = Callable[[str | None, Arguments, Bounds, How, bool], Iterator[Taken]]


def read_rule(rule: Any, column: str | None) -> Iterator[Taken]:
    """Yield the checks that a quality rule asks for.

    Args:
        rule: As it stands in the contract.
        column: Of which property it is a rule; None for one of the whole table.

    Raises:
        InvalidInput: It is none of our checks; the message says why.
    """
    if not isinstance(rule, dict):
        raise no_check("a rule is a mapping")
    kind = rule.get("type", "library")
    if kind == "custom":
        yield from _of_engine(rule, column)
    elif kind == "library":
        yield from _of_metric(rule, column)
    elif kind == "text":
        raise no_check("it is said in words: say it with one of lw.check")
    elif kind == "sql":
        raise no_check("it is a query of a database: say it of each row with lw.check.holds")
    else:
        raise no_check("rules are of type library, text, sql or custom")


def write_rule(check: CheckSpec, key: Sequence[str]) -> dict[str, Any]:
    """Return the rule of a check: a metric of the standard where that says all of it, else the check as it is.

    A metric is about the whole table, a check about the rows of each import: what holds of these has to hold of that.

    Args:
        check: The check.
        key: The columns that no two rows of the table have alike.
    """
    rule = _as_metric(check, key)
    if rule is None or not _says_all(rule, check):
        kept = {name: value for name, value in to_builtins(check).items() if value not in ("", None, {}, 0.0)}
        kept.pop("severity")
        rule = {"type": "custom", "engine": ENGINE, "implementation": kept}
    severity = "warning" if check.severity == "warn" else "error"
    return {**rule, **_told(check), "severity": severity}


def _says_all(rule: dict[str, Any], check: CheckSpec) -> bool:
    try:
        return [one.check for one in read_rule(rule, _column_of(check))] == [check]
    except InvalidInput:
        return False


def is_of_table(check: CheckSpec) -> bool:
    """Say whether a rule stands with the table, not with a column of it."""
    return _column_of(check) is None


def _column_of(check: CheckSpec) -> str | None:
    return None if check.kind == "unique" and check.args.get("columns") else check.column


def _told(check: CheckSpec) -> dict[str, Any]:
    try:
        claim = open_check(check).claim()
    except InvalidInput:  # a check of a package that is not installed here
        return {}
    of = "" if check.column is None else f"{check.column}: "
    tolerated = f", but for {to_percent(check.most_share):g} % of the rows" if check.most_share else ""
    only = f", where {check.where}" if check.where else ""
    dimension = _DIMENSIONS.get(check.kind, "conformity")
    return {"description": f"{of}{claim}{tolerated}{only}", "dimension": dimension}


def _as_metric(check: CheckSpec, key: Sequence[str]) -> dict[str, Any] | None:
    args, columns = check.args, [check.column, *check.args.get("columns", ())]
    rule: dict[str, Any] | None = None
    if check.kind == "not_null":
        rule = {"metric": "nullValues"}
    elif check.kind == "unique" and {*key} <= {*columns}:
        rule = {"metric": "duplicateValues"} | ({"arguments": {"properties": columns}} if len(columns) > 1 else {})
    elif check.kind == "is_in":
        rule = {"metric": "invalidValues", "arguments": {"validValues": args.get("values")}}
    elif check.kind == "matches":
        rule = {"metric": "invalidValues", "arguments": {"pattern": f"^(?:{args.get('pattern')})$"}}
    elif check.kind == "statistic" and args.get("of") == "missing" and args.get("high") is not None:
        most = {"mustBeLessOrEqualTo": to_percent(args["high"]), "unit": "percent"}
        rule = {"metric": "missingValues", "arguments": {"missingValues": [None]}} | most
    elif check.kind == "row_count" and args.get("high") is None:
        rule = {"metric": "rowCount", "mustBeGreaterOrEqualTo": args.get("low", 0)}
    if rule is None or check.where:
        return None
    if not {*rule} & {*_OPERATORS}:
        share = {"mustBeLessOrEqualTo": to_percent(check.most_share), "unit": "percent"}
        rule |= share if check.most_share else {"mustBe": 0}
    return rule | {"severity": "warning" if check.severity == "warn" else "error"}


def _of_engine(rule: dict[str, Any], column: str | None) -> Iterator[Taken]:
    engine, told = rule.get("engine"), rule.get("implementation")
    if is_expectations_engine(engine):
        yield from read_expectation(read_document(told.encode()) if isinstance(told, str) else told, column)
        return
    if engine != ENGINE:
        raise no_check(f"it is made for {engine}" if isinstance(engine, str) else "it names no engine")
    if isinstance(told, str):
        told = read_document(told.encode())
    how, told = _how(rule), _mapping(told, "an implementation")
    if unknown := [name for name in told if name not in CheckSpec.__struct_fields__]:
        raise no_check(f"a check has no {', '.join(unknown)}")
    check = convert({"column": column, "severity": how.severity, **told}, CheckSpec, "it")
    check_args(check, "it")
    if not 0 <= check.most_share <= 1:
        raise no_check("most_share is a share, 0 to 1")
    yield Taken(check, how.note)


def _of_metric(rule: dict[str, Any], column: str | None) -> Iterator[Taken]:
    name = rule.get("metric", rule.get("rule"))
    read = _METRICS.get(name) if isinstance(name, str) else None
    if read is None:
        raise no_check(f"the metrics of the standard are {', '.join(_METRICS)}")
    if unknown := [str(key) for key in rule if key not in _KNOWN | TOLD]:
        raise no_check(f"the standard has no {', '.join(unknown)} in such a rule")
    is_percent = str(rule.get("unit", "rows")).lower() in ("percent", "%")
    arguments = _mapping(rule.get("arguments") or {}, "arguments")
    yield from read(column, arguments, _bounds(rule), _how(rule), is_percent)


def _how(rule: dict[str, Any]) -> How:
    told = str(rule.get("severity") or "").lower()
    note = "" if told in _WARNINGS | _ERRORS else f"severity {shorten(told, 40)!r} is taken as one that blocks"
    return How("warn" if told in _WARNINGS else "block", 0.0, note)


def _bounds(rule: dict[str, Any]) -> Bounds:
    """Return what an operator bounds; of two numbers both are left out, as the standard says."""
    if "mustNotBe" in rule or "mustNotBeBetween" in rule:
        raise no_check("what a number must not be is none of our checks")
    between = rule.get("mustBeBetween", [None, None])
    if not isinstance(between, list) or len(between) != 2:
        raise no_check("mustBeBetween is a list of two numbers")
    low, high = between
    is_low_strict = is_high_strict = "mustBeBetween" in rule
    for operator in [one for one in _LEAST if one in rule]:
        low, is_low_strict = rule[operator], _LEAST[operator]
    for operator in [one for one in _MOST if one in rule]:
        high, is_high_strict = rule[operator], _MOST[operator]
    for bound in (low, high):
        if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int | float)):
            raise no_check("operators compare with numbers")
    if low is None and high is None:
        raise no_check("it has no operator, such as mustBe")
    return Bounds(low, high, is_low_strict, is_high_strict)


def _tolerating(bounds: Bounds, how: How, is_percent: bool) -> How:
    """Return how many rows may fail, as a share.

    Raises:
        InvalidInput: So many have to fail, or their number is told, not their share.
    """
    if (bounds.low or 0) > 0 or (bounds.low == 0 and bounds.is_low_strict) or bounds.high is None:
        raise no_check("it asks for rows that are not as they should be")
    if bounds.high == 0 and bounds.is_high_strict:
        raise no_check("fewer than none cannot be")
    if is_percent:
        note = "at most this share, where the contract says less" if bounds.is_high_strict else ""
        return How(how.severity, from_percent(bounds.high), how.note or note)
    if bounds.high == 0 or (bounds.high <= 1 and bounds.is_high_strict):
        return how
    raise no_check("it tolerates a number of rows: checks tolerate a share of them, most_share")


def _nulls(column: str | None, args: Arguments, bounds: Bounds, how: How, is_percent: bool) -> Iterator[Taken]:
    _only(args, [])
    yield Taken(declarations.not_null(_named(column), **_tolerating(bounds, how, is_percent).words), how.note)


def _missing(column: str | None, args: Arguments, bounds: Bounds, how: How, is_percent: bool) -> Iterator[Taken]:
    _only(args, ["missingValues"])
    words = args.get("missingValues", [None])
    values = [word for word in _scalars(words) if word is not None]
    how = _tolerating(bounds, how, is_percent)
    if values:
        yield from not_among(_named(column), values, how, also_there=None in words)
    elif is_percent:
        yield from of_statistic(_named(column), "missing", Bounds(None, how.most_share), How(how.severity, 0, how.note))
    else:
        yield Taken(declarations.not_null(_named(column), **how.words), how.note)


def _invalid(column: str | None, args: Arguments, bounds: Bounds, how: How, is_percent: bool) -> Iterator[Taken]:
    _only(args, ["validValues", "pattern"])
    if not args:
        raise no_check("it says neither validValues nor a pattern in its arguments")
    how = _tolerating(bounds, how, is_percent)
    if len(args) == 2 and how.most_share:
        raise no_check("it tolerates a share of rows by values and pattern together")
    if "validValues" in args:
        values: list[Any] = [value for value in _scalars(args["validValues"]) if value is not None]
        yield Taken(declarations.is_in(_named(column), values, **how.words), how.note)
    if "pattern" in args:
        yield from matching(_named(column), _text(args["pattern"]), how)


def _duplicates(column: str | None, args: Arguments, bounds: Bounds, how: How, is_percent: bool) -> Iterator[Taken]:
    _only(args, ["properties"])
    columns = convert(args.get("properties", [] if column is None else [column]), list[str], "properties")
    if not 1 <= len(columns) <= MOST_COLUMNS or not all(columns):
        raise no_check("it names no property that is to be unique")
    how = _tolerating(bounds, how, is_percent)
    yield Taken(declarations.unique(*columns, **how.words), how.note or OF_IMPORT)


def _rows(column: str | None, args: Arguments, bounds: Bounds, how: How, is_percent: bool) -> Iterator[Taken]:
    _only(args, [])
    if is_percent:
        raise no_check("rows are counted, not told in percent")
    yield from of_rows(bounds, How(how.severity, 0.0, how.note or OF_IMPORT))


def _named(column: str | None) -> str:
    if not column:
        raise no_check("it stands with the table and names no column")
    return column


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise no_check("a pattern is a text")
    return value


def _scalars(values: Any) -> list[Scalar | None]:
    return convert(values, list[bool | int | float | str | None], "values")


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise no_check(f"{what} is a mapping of names")
    return value


def _only(args: Arguments, known: list[str]) -> None:
    if unknown := [name for name in args if name not in known]:
        raise no_check(f"this metric has no argument {', '.join(unknown)}")


_METRICS: dict[str, Metric] = {
    "nullValues": _nulls,
    "missingValues": _missing,
    "invalidValues": _invalid,
    "duplicateValues": _duplicates,
    "rowCount": _rows,
}
