"""Suites of Great Expectations, of versions 0.x and 1.x, read as checks. Nothing of that library is needed. Pure."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import combinations
from typing import Any, Literal

import msgspec

from loopwright.data import declarations
from loopwright.data.contracts.conditions import (
    Bounds,
    Number,
    Scalar,
    matching,
    not_among,
    of_rows,
    of_statistic,
    of_values,
    quoted,
    rest_of,
    sql_value,
    whole_pattern,
)
from loopwright.data.contracts.translation import Collector, How, Taken, Translation, no_check
from loopwright.kernel.documents import convert
from loopwright.kernel.errors import InvalidInput

_ENGINES = frozenset(["greatexpectations", "gx"])
_RUNNING = frozenset(
    ["result_format", "catch_exceptions", "include_config", "batch_id", "meta", "auto", "profiler_config"]
)
"""Arguments that say how an expectation is run, not what should hold."""
_TOLD = frozenset(["meta", "notes", "id", "ge_cloud_id", "rendered_content", "description", "success_on_last_run"])
_OF_SUITE = frozenset([
    "name", "expectation_suite_name", "id", "ge_cloud_id", "meta", "notes", "data_asset_type", "suite_parameters",
    "evaluation_parameters",
])  # fmt: skip
_WARNINGS = ("warning", "info")
_PASSES = "a row without one of the values passes"
Bound = int | float | str | None


class _OfColumn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    column: str
    mostly: float = 1.0


class _Between(_OfColumn, frozen=True, kw_only=True):
    min_value: Bound = None
    max_value: Bound = None
    strict_min: bool = False
    strict_max: bool = False

    @property
    def bounds(self) -> Bounds:
        return Bounds(self.min_value, self.max_value, self.strict_min, self.strict_max)


class _Values(_OfColumn, frozen=True, kw_only=True):
    value_set: list[Scalar | None]

    @property
    def there(self) -> list[Any]:
        return [value for value in self.value_set if value is not None]


class _Regex(_OfColumn, frozen=True, kw_only=True):
    regex: str


class _Regexes(_OfColumn, frozen=True, kw_only=True):
    regex_list: list[str]
    match_on: Literal["any", "all"] = "any"


class _Format(_OfColumn, frozen=True, kw_only=True):
    strftime_format: str


class _Length(_OfColumn, frozen=True, kw_only=True):
    value: Number


class _Rising(_OfColumn, frozen=True, kw_only=True):
    strictly: bool | None = False


class _Columns(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    column_list: list[str]
    mostly: float = 1.0
    ignore_row_if: str = ""


class _Sum(_Columns, frozen=True, kw_only=True):
    sum_total: Number


class _Pair(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    column_A: str  # noqa: N815 - as they are written there
    column_B: str  # noqa: N815
    or_equal: bool | None = False
    mostly: float = 1.0
    ignore_row_if: str = ""


class _Rows(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    min_value: Number | None = None
    max_value: Number | None = None
    strict_min: bool = False
    strict_max: bool = False


class _Count(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    value: Number


class _Ranges(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    quantiles: list[float]
    value_ranges: list[tuple[Number | None, Number | None]]


class _Quantiles(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    column: str
    quantile_ranges: _Ranges
    allow_relative_error: bool | str = False


def is_suite(document: dict[Any, Any]) -> bool:
    """Say whether a document is a suite of expectations."""
    return "expectations" in document or "expectation_suite_name" in document


def is_expectations_engine(engine: Any) -> bool:
    """Say whether a rule of a contract is made for Great Expectations, however that is spelled."""
    return isinstance(engine, str) and "".join(filter(str.isalpha, engine.lower())) in _ENGINES


def read_suite(document: dict[Any, Any]) -> Translation:
    """Return what a suite says of its table.

    Raises:
        InvalidInput: Its expectations are no list.
    """
    listed = document.get("expectations")
    if not isinstance(listed, list):
        what = "a suite lists its expectations"
        raise InvalidInput(what, field="expectations", value=listed, rule="a list", next_step="save the suite as JSON")
    found = Collector(document.get("name") or document.get("expectation_suite_name"))
    for number, expectation in enumerate(listed):
        found.take(_name(number, expectation), partial(read_expectation, expectation, None))
        if isinstance(expectation, dict):
            told = [key for key in expectation if key in _TOLD and expectation[key]]
            found.leave_all(told, " of expectations", "they tell people of them, and the suite keeps them")
    said = [key for key in document if key in _OF_SUITE and document[key]]
    found.leave_all(said, " of the suite", "they tell people of it, and the suite keeps them")
    unknown = [key for key in document if key not in _OF_SUITE | {"expectations"}]
    found.leave_all(unknown, "", "suites have no such key")
    found.leave("the key", "a suite does not say which columns tell a row apart: say it")
    return found.finish()


def read_expectation(expectation: Any, column: str | None) -> Iterator[Taken]:
    """Yield the checks that an expectation asks for.

    Args:
        expectation: With its type and arguments.
        column: Which column is meant where it names none.

    Raises:
        InvalidInput: It is none of our checks; the message says why.
    """
    if not isinstance(expectation, dict):
        raise no_check("an expectation is a mapping")
    kind = expectation.get("type") or expectation.get("expectation_type")
    kwargs = expectation.get("kwargs") or {}
    if not isinstance(kind, str) or not isinstance(kwargs, dict):
        raise no_check("an expectation has a type, and arguments by name (kwargs)")
    known = _TOLD | {"type", "expectation_type", "kwargs", "severity"}
    if unknown := [str(key) for key in expectation if key not in known]:
        raise no_check(f"expectations have no {', '.join(unknown)}")
    if why := _NONE.get(kind):
        raise no_check(why)
    if kind not in _KINDS:
        raise no_check("no check says this")
    arguments = {name: value for name, value in kwargs.items() if name not in _RUNNING and value is not None}
    if "row_condition" in arguments:
        raise no_check("its row_condition is no SQL: say it as where= of the check")
    arguments.pop("condition_parser", None)
    read, words = _KINDS[kind]
    if column is not None and "column" in words.__struct_fields__:
        arguments.setdefault("column", column)
    told = convert(arguments, words, "kwargs")
    if getattr(told, "ignore_row_if", "") == "never":
        raise no_check("rows in which one of the columns has no value are not compared: ignore_row_if is not never")
    is_warning = str(expectation.get("severity") or "").lower() in _WARNINGS
    yield from read(told, How("warn" if is_warning else "block", rest_of(getattr(told, "mostly", 1.0))))


def _name(number: int, expectation: Any) -> str:
    """Return how an expectation is called where it is told of: its place, its type, and what it is about."""
    if not isinstance(expectation, dict):
        return f"expectations[{number}]"
    kind = expectation.get("type") or expectation.get("expectation_type")
    kwargs = expectation.get("kwargs")
    column = kwargs.get("column") if isinstance(kwargs, dict) else None
    return f"expectations[{number}], {kind}" + (f" of {column!r}" if column is not None else "")


def _not_null(told: _OfColumn, how: How) -> Iterator[Taken]:
    yield Taken(declarations.not_null(told.column, **how.words))


def _null(told: _OfColumn, how: How) -> Iterator[Taken]:
    yield Taken(declarations.holds(f"{quoted(told.column)} IS NULL", **how.words))


def _unique(told: _OfColumn, how: How) -> Iterator[Taken]:
    yield Taken(declarations.unique(told.column, **how.words))


def _unique_together(told: _Columns, how: How) -> Iterator[Taken]:
    if not told.column_list:
        raise no_check("it names no column")
    yield Taken(declarations.unique(*told.column_list, **how.words), _PASSES)


def _unlike(told: _Columns, how: How) -> Iterator[Taken]:
    rule = " AND ".join(f"{quoted(one)} <> {quoted(other)}" for one, other in combinations(told.column_list[:30], 2))
    yield Taken(declarations.holds(rule, **how.words), _PASSES)


def _equal(told: _Columns, how: How) -> Iterator[Taken]:
    pairs = zip(told.column_list, told.column_list[1:], strict=False)
    rule = " AND ".join(f"{quoted(one)} = {quoted(other)}" for one, other in pairs)
    yield Taken(declarations.holds(rule, **how.words), _PASSES)


def _among(told: _Values, how: How) -> Iterator[Taken]:
    yield Taken(declarations.is_in(told.column, told.there, **how.words))


def _not_among(told: _Values, how: How) -> Iterator[Taken]:
    return not_among(told.column, told.there, how)


def _all_among(told: _Values, how: How) -> Iterator[Taken]:
    yield Taken(declarations.is_in(told.column, told.there, **how.words), "that each of them comes is not checked")


def _between(told: _Between, how: How) -> Iterator[Taken]:
    return of_values(told.column, told.bounds, how)


def _matches(told: _Regex, how: How) -> Iterator[Taken]:
    return matching(told.column, told.regex, how)


def _matches_list(told: _Regexes, how: How) -> Iterator[Taken]:
    if not told.regex_list:
        raise no_check("it lists no pattern")
    if told.match_on == "any":
        either = "|".join(f"(?:{whole_pattern(regex)})" for regex in told.regex_list)
        yield from matching(told.column, either, how, "whole")
        return
    if how.most_share:
        raise no_check("it tolerates a share of rows by several patterns together")
    for regex in told.regex_list:
        yield from matching(told.column, regex, how)


def _dated(told: _Format, how: How) -> Iterator[Taken]:
    yield Taken(declarations.dated(told.column, told.strftime_format, **how.words))


def _length(told: _Length, how: How) -> Iterator[Taken]:
    return _lengths(_Between(column=told.column, min_value=told.value, max_value=told.value), how)


def _lengths(told: _Between, how: How) -> Iterator[Taken]:
    low, high = (_whole(bound) for bound in (told.min_value, told.max_value))
    low = 0 if low is None else low + told.strict_min
    high = None if high is None else high - told.strict_max
    yield Taken(declarations.length(told.column, low, high, **how.words))


def _whole(bound: Bound) -> int | None:
    if bound is None:
        return None
    if isinstance(bound, str) or bound != bound // 1:
        raise no_check("a length is a whole number")
    return int(bound)


def _rising(told: _Rising, how: How) -> Iterator[Taken]:
    note = "in order of the dataset's time, not of the file's rows"
    yield Taken(declarations.increasing(told.column, strictly=bool(told.strictly), **how.words), note)


def _row_count(told: _Rows, how: How) -> Iterator[Taken]:
    return of_rows(Bounds(told.min_value, told.max_value, told.strict_min, told.strict_max), how)


def _row_number(told: _Count, how: How) -> Iterator[Taken]:
    return of_rows(Bounds(told.value, told.value), how)


def _statistic(of: str) -> Callable[[Any, How], Iterator[Taken]]:
    def read(told: _Between, how: How) -> Iterator[Taken]:
        return of_statistic(told.column, of, told.bounds, how)

    return read


def _filled(told: _Between, how: How) -> Iterator[Taken]:
    low, high = (
        rest_of(bound) if isinstance(bound, int | float) else bound for bound in (told.max_value, told.min_value)
    )
    return of_statistic(told.column, "missing", Bounds(low, high, told.strict_max, told.strict_min), how)


def _quantiles(told: _Quantiles, how: How) -> Iterator[Taken]:
    if len(told.quantile_ranges.quantiles) != len(told.quantile_ranges.value_ranges):
        raise no_check("each quantile has one range")
    for q, (low, high) in zip(told.quantile_ranges.quantiles, told.quantile_ranges.value_ranges, strict=True):
        if low is not None or high is not None:
            yield from of_statistic(told.column, "quantile", Bounds(low, high), how, q)


def _above(told: _Pair, how: How) -> Iterator[Taken]:
    sign = ">=" if told.or_equal else ">"
    yield Taken(declarations.holds(f"{quoted(told.column_A)} {sign} {quoted(told.column_B)}", **how.words), _PASSES)


def _same(told: _Pair, how: How) -> Iterator[Taken]:
    yield Taken(declarations.holds(f"{quoted(told.column_A)} = {quoted(told.column_B)}", **how.words), _PASSES)


def _sum(told: _Sum, how: How) -> Iterator[Taken]:
    total = " + ".join(map(quoted, told.column_list))
    yield Taken(declarations.holds(f"{total} = {sql_value(told.sum_total)}", **how.words), _PASSES)


_KINDS: dict[str, tuple[Callable[[Any, How], Iterator[Taken]], type[msgspec.Struct]]] = {
    "expect_column_values_to_not_be_null": (_not_null, _OfColumn),
    "expect_column_values_to_be_null": (_null, _OfColumn),
    "expect_column_values_to_be_unique": (_unique, _OfColumn),
    "expect_compound_columns_to_be_unique": (_unique_together, _Columns),
    "expect_multicolumn_values_to_be_unique": (_unlike, _Columns),
    "expect_select_column_values_to_be_unique_within_record": (_unlike, _Columns),
    "expect_multicolumn_values_to_be_equal": (_equal, _Columns),
    "expect_multicolumn_sum_to_equal": (_sum, _Sum),
    "expect_column_values_to_be_in_set": (_among, _Values),
    "expect_column_distinct_values_to_be_in_set": (_among, _Values),
    "expect_column_distinct_values_to_equal_set": (_all_among, _Values),
    "expect_column_values_to_not_be_in_set": (_not_among, _Values),
    "expect_column_values_to_be_between": (_between, _Between),
    "expect_column_values_to_match_regex": (_matches, _Regex),
    "expect_column_values_to_match_regex_list": (_matches_list, _Regexes),
    "expect_column_values_to_match_strftime_format": (_dated, _Format),
    "expect_column_value_lengths_to_be_between": (_lengths, _Between),
    "expect_column_value_lengths_to_equal": (_length, _Length),
    "expect_column_values_to_be_increasing": (_rising, _Rising),
    "expect_table_row_count_to_be_between": (_row_count, _Rows),
    "expect_table_row_count_to_equal": (_row_number, _Count),
    "expect_column_mean_to_be_between": (_statistic("mean"), _Between),
    "expect_column_median_to_be_between": (_statistic("median"), _Between),
    "expect_column_stdev_to_be_between": (_statistic("std"), _Between),
    "expect_column_sum_to_be_between": (_statistic("sum"), _Between),
    "expect_column_min_to_be_between": (_statistic("min"), _Between),
    "expect_column_max_to_be_between": (_statistic("max"), _Between),
    "expect_column_unique_value_count_to_be_between": (_statistic("distinct"), _Between),
    "expect_column_proportion_of_non_null_values_to_be_between": (_filled, _Between),
    "expect_column_quantile_values_to_be_between": (_quantiles, _Quantiles),
    "expect_column_pair_values_a_to_be_greater_than_b": (_above, _Pair),
    "expect_column_pair_values_to_be_equal": (_same, _Pair),
}
_OF_TYPES = (
    "types are told by all values, or by types= of the source; the columns of a version are compared by its diff"
)
_OF_COLUMNS = "columns are not counted: an import ends where it lacks one that the declaration or a check names"
_NONE = {
    "expect_column_values_to_be_of_type": _OF_TYPES,
    "expect_column_values_to_be_in_type_list": _OF_TYPES,
    "expect_column_to_exist": _OF_COLUMNS,
    "expect_table_columns_to_match_set": _OF_COLUMNS,
    "expect_table_columns_to_match_ordered_list": _OF_COLUMNS,
    "expect_table_column_count_to_equal": _OF_COLUMNS,
    "expect_table_column_count_to_be_between": _OF_COLUMNS,
    "expect_column_values_to_not_match_regex": "lw.check.matches says how texts are written, not how they are not",
    "expect_column_values_to_not_match_regex_list": "lw.check.matches says how texts are written, not how they are not",
    "expect_column_values_to_be_decreasing": "lw.check.increasing says it of values that rise",
    "unexpected_rows_expectation": "it is a query of a database: say it of each row with lw.check.holds",
}
"""Why what is often expected is no check of ours."""
