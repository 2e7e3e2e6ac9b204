"""Running checks: each declared check of a frame in a pass of its own; a second pass only where something failed.

All in one pass would take a tenth less time. But what ends the process, for it takes too long or too much memory, has
a name so: whoever runs the checks is told which one is next.

A number about all rows may be compared with what it was before, and values with those of another dataset: whoever runs
the checks says how they are found (``Around``).
"""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from datetime import date, datetime
from typing import Any

import msgspec
import polars as pl

from loopwright.data.checks import (
    AggregateCheck,
    Check,
    Holds,
    RefersTo,
    RowCheck,
    lift_columns,
    lifted,
    open_check,
    read_rule,
    rule_expr,
)
from loopwright.data.masking import MASK
from loopwright.data.quarantine import blocking
from loopwright.data.types import CheckResult, CheckSpec
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.storable import storable
from loopwright.kernel.suggestions import near_column

MOST_SAMPLES = 20
MOST_FAILING_ROWS = 10_000
_LETTERS_SHOWN = 1000
"""Of a value in a sample, which is kept with the version for ever."""
_PLACE = "__place"
FAILED_CHECKS = "failed_checks"
"""Column of ``failing_rows`` that names what each row failed."""


class Around:
    """What checks may ask for beside the rows: nothing, where nobody says more."""

    def values(self, dataset: str, column: str) -> pl.Series:
        """Return the different values of a column of another dataset's newest version, those the rows have at least.

        Raises:
            InvalidInput: It has no such column.
            NotFound: It has no version.
        """
        raise InvalidInput("no other dataset is at hand here", field="check.dataset", value=dataset)

    def past(self, spec: CheckSpec) -> list[float]:
        """Return what this very check measured of the last imports of the same kind, newest first."""
        return []


class _Opened(msgspec.Struct, frozen=True):
    """One check bound to the rows that it is for."""

    place: int
    spec: CheckSpec
    check: Check
    dtype: Any
    columns: list[str]
    subject: str

    @property
    def column(self) -> pl.Expr:
        return pl.col(self.spec.column) if self.check.needs_column and self.spec.column else pl.len()

    def failing(self) -> pl.Expr:
        assert isinstance(self.check, RowCheck)
        return self.check.failing(self.column, self.dtype).fill_null(False)

    def measures(self) -> list[pl.Expr]:
        if isinstance(self.check, RowCheck):
            evaluated = self.check.evaluated(self.column)
            return [self.failing().sum().alias("failed"), evaluated.alias("evaluated")]
        return [self.check.measure(self.column, self.dtype).alias("value")]


def run_checks(
    frame: pl.DataFrame,
    specs: Sequence[CheckSpec],
    now_us: int = 0,
    *,
    key: Sequence[str] = (),
    time: str | None = None,
    masked: Collection[str] = (),
    around: Around | None = None,
    tell: Callable[[int], None] = lambda place: None,
) -> list[CheckResult]:
    """Return what each check found, in order; a pass over the rows for each, and one more for each ``where``.

    Nulls neither pass nor fail a rule about values; NaN fails ``not_null`` and ``between``. What cannot be evaluated
    says so.

    Args:
        frame: The rows.
        specs: Declared checks.
        now_us: The project's present moment, microseconds UTC.
        key: Columns that name a row, shown in samples.
        time: The column of checks that name none and are about time.
        masked: Columns whose values samples do not show.
        around: What checks may ask for beside the rows.
        tell: Told the place of each check before it runs.

    Raises:
        InvalidInput: A check or column is unknown, or a check does not fit its column's dtype.
    """
    around = around or Around()
    frame = _with_lifted(frame, specs)
    opened = list(_open_each(specs, frame, time, around, tell))
    shown = [name for name in key if name in frame.columns]
    found: dict[int, CheckResult] = {}
    for where in dict.fromkeys(each.spec.where for each in opened):
        alike = [each for each in opened if each.spec.where == where]
        tell(alike[0].place)
        rows = _rows_where(frame, where, [*shown, *(name for each in alike for name in each.columns)])
        for each in alike:
            tell(each.place)
            found[each.place] = _judge(rows, each, _measure(rows, each), now_us, shown, masked, around)
    return [found[each.place] for each in opened]


def failing_rows(
    frame: pl.DataFrame, results: Sequence[CheckResult], *, time: str | None = None, around: Around | None = None
) -> pl.DataFrame:
    """Return up to 10,000 rows that failed a blocking check, with a column ``failed_checks`` that says which."""
    return pick(frame, failing_places(frame, results, time=time, around=around))


def failing_places(
    frame: pl.DataFrame,
    results: Sequence[CheckResult],
    *,
    time: str | None = None,
    around: Around | None = None,
    tell: Callable[[int], None] = lambda place: None,
) -> pl.DataFrame:
    """Return the places of up to 10,000 rows that failed a blocking check, in order, and ``failed_checks``."""
    held = {id(result) for result in blocking(results)}
    failed = {place: result.check for place, result in enumerate(results) if id(result) in held}
    frame = _with_lifted(frame, list(failed.values()))
    numbered = frame.lazy().with_row_index(_PLACE)
    marks = [pl.DataFrame(schema={_PLACE: numbered.collect_schema()[_PLACE], FAILED_CHECKS: pl.String})]
    for place, spec in failed.items():
        tell(place)
        each = _open(place, spec, frame, time, around or Around())
        if isinstance(each.check, RowCheck):
            asked = numbered.filter(rule_expr(_on(frame, each.spec.where))) if each.spec.where else numbered
            found = asked.filter(each.failing()).select(_PLACE, pl.lit(each.subject).alias(FAILED_CHECKS))
            marks.append(found.head(MOST_FAILING_ROWS).collect())
    together = pl.concat(marks).group_by(_PLACE, maintain_order=True).agg(pl.col(FAILED_CHECKS).str.join("; "))
    return together.sort(_PLACE).head(MOST_FAILING_ROWS)


def pick(frame: pl.DataFrame, places: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of a frame at ``failing_places``, with their ``failed_checks``."""
    return frame[places[_PLACE]].with_columns(places[FAILED_CHECKS])


def columns_of(specs: Sequence[CheckSpec], frame: pl.DataFrame, key: Sequence[str], time: str | None) -> list[str]:
    """Return the columns of a frame that checks look at or show, in its order.

    Raises:
        InvalidInput: A check is unknown, or names a column that the rows do not have.
    """
    named = {*key, *([time] if time else [])}
    for place, spec in enumerate(specs):
        named |= {*_columns(open_check(spec, f"checks[{place}]"), place, spec, frame.columns)}
        named |= {*(read_rule(spec.where) if spec.where else [])}
    return [name for name in frame.columns if name in named]


def show_value(value: Any) -> Any:
    """Return a value as it is told and kept: moments as ISO 8601, NaN and infinities as text, bytes as hexadecimal.

    What no database stores in a text is shown, and the middle of a long one left out.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, datetime | date):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, bytes):
        value = value.hex()
    return storable(value if isinstance(value, str | int | bool | None) else str(value), _LETTERS_SHOWN)


def _open_each(
    specs: Sequence[CheckSpec], frame: pl.DataFrame, time: str | None, around: Around, tell: Callable[[int], None]
) -> Iterator[_Opened]:
    for place, spec in enumerate(specs):
        tell(place)
        yield _open(place, spec, frame, time, around)


def _columns(check: Check, place: int, spec: CheckSpec, there: Sequence[str]) -> list[str]:
    """Return the columns that a check is about; refuse one that the rows do not have, in its ``where`` too."""
    columns = [*([] if spec.column is None else [spec.column]), *getattr(check, "columns", [])]
    for name in (*columns, *(read_rule(spec.where) if spec.where else [])):
        if name not in there:
            raise InvalidInput(
                f"the check {spec.kind} names a column that the rows do not have",
                field=f"checks[{place}].column",
                value=name,
                next_step=f"{near_column(name, there)}correct the check",
            )
    return columns


def _open(index: int, spec: CheckSpec, frame: pl.DataFrame, time: str | None, around: Around) -> _Opened:
    field = f"checks[{index}]"
    check = open_check(spec, field)
    if check.needs_column and spec.column is None:
        spec = msgspec.structs.replace(spec, column=time)
    columns = _columns(check, index, spec, frame.columns)
    if check.needs_column and spec.column is None:
        raise InvalidInput(f"{spec.kind} checks a column", field=f"{field}.column", rule="the name of a column")
    claim = check.claim() if spec.column is None else f"{spec.column} {check.claim()}"
    subject = f"{claim} where {spec.where}" if spec.where else claim
    if spec.where:
        _check_condition(frame, spec.where, f"{field}.where")
    if isinstance(check, Holds):
        _check_condition(frame, check.rule, f"{field}.args.rule")
        check = Holds(_on(frame, check.rule))
    if isinstance(check, RefersTo):
        check = check.among(around.values(check.dataset, check.other_column))
    dtype = None if spec.column is None else frame.schema[spec.column]
    return _Opened(index, spec, check, dtype, columns, subject)


def _with_lifted(frame: pl.DataFrame, specs: Sequence[CheckSpec]) -> pl.DataFrame:
    """Return the rows with a second column beside each that rules name and that holds NaN: see ``lifted``."""
    rules = [rule for spec in specs for rule in (spec.where, str(spec.args.get("rule", ""))) if rule]
    with suppress(ValueError):  # which is told where the check is opened
        named = {name for rule in rules for name in read_rule(rule)}
        floats = [name for name in named if frame.schema.get(name) in (pl.Float64, pl.Float32)]
        holding = [name for name in floats if frame[name].is_nan().any()]
        return frame.with_columns(pl.col(name).fill_nan(None).alias(lifted(name)) for name in holding)
    return frame


def _on(frame: pl.DataFrame, rule: str) -> str:
    """Return a rule in which NaN is missing."""
    return lift_columns(rule, [name for name in read_rule(rule) if lifted(name) in frame.columns])


def _rows_where(frame: pl.DataFrame, where: str, columns: Sequence[str]) -> pl.DataFrame:
    """Return the rows of which a rule is true, of columns those that are asked for; all of both where there is none."""
    if not where:
        return frame
    kept = [name for name in frame.columns if name in columns or name.startswith(lifted(""))]
    return frame.lazy().filter(rule_expr(_on(frame, where))).select(kept).collect()


def _check_condition(frame: pl.DataFrame, rule: str, field: str) -> None:
    try:
        dtype: Any = frame.lazy().select(rule_expr(rule)).collect_schema().dtypes()[0]
        frame.head(0).select(rule_expr(rule))
    except (pl.exceptions.PolarsError, ValueError) as error:
        dtype = str(error) if isinstance(error, ValueError) else "nothing, for types that do not fit"
    if dtype != pl.Boolean:
        raise InvalidInput(
            "this rule cannot be applied to the rows",
            field=field,
            value=rule,
            rule=f"a condition, true or false of each row, not {dtype}",
            next_step="correct the rule, or convert the column in the transform",
        )


def _measure(frame: pl.DataFrame, each: _Opened) -> dict[str, Any]:
    try:
        return frame.select(each.measures()).row(0, named=True)
    except (pl.exceptions.PolarsError, ValueError, AttributeError) as error:
        raise InvalidInput(
            f"the check {each.subject} cannot be applied to a column of {each.dtype}",
            field=f"checks[{each.place}]",
            value=type(error).__name__,  # its words may quote rows
            next_step="choose another check, or convert the column in the transform",
        ) from None


def _judge(
    frame: pl.DataFrame,
    each: _Opened,
    values: dict[str, Any],
    now_us: int,
    key: Sequence[str],
    masked: Collection[str],
    around: Around,
) -> CheckResult:
    if not isinstance(each.check, RowCheck):
        return _judge_number(frame, each, values["value"], now_us, around)
    failed, evaluated = values["failed"], values["evaluated"]
    if not evaluated:
        return CheckResult(each.spec, True, 0, 0, message=f"{each.subject}: not evaluated, there are no values")
    if not failed:
        return CheckResult(each.spec, True, evaluated, 0)
    columns = list(dict.fromkeys([*key, *each.columns]))
    samples = sample_rows(frame.lazy().filter(each.failing()).select(columns).head(MOST_SAMPLES).collect(), masked)
    named = [name for name in key or columns if name in samples[0]]
    first = ", ".join(f"{name}={samples[0][name]}" for name in named)
    message = f"{each.subject} failed for {failed} of {evaluated} rows (first: {first})"
    return CheckResult(each.spec, failed / evaluated <= each.spec.most_share, evaluated, failed, samples, message)


def _judge_number(frame: pl.DataFrame, each: _Opened, value: Any, now_us: int, around: Around) -> CheckResult:
    assert isinstance(each.check, AggregateCheck)
    if each.check.needs_rows and not frame.height:
        is_part = bool(each.spec.where)  # of a segment that this import brings nothing of, nothing is wrong
        return CheckResult(each.spec, is_part, 0, 0, message=f"{each.subject}: not evaluated, there are no rows")
    passed, finding = each.check.judge(value, now_us, around.past(each.spec))
    message = f"{each.subject} failed: {finding}" if not passed else ""
    if passed and finding.startswith("not evaluated"):
        message = f"{each.subject}: {finding}"
    is_number = isinstance(value, int | float) and math.isfinite(value)
    measured = float(value) if is_number else None
    failed = 0 if passed else frame.height
    return CheckResult(each.spec, passed, frame.height, failed, message=message, value=measured)


def sample_rows(rows: pl.DataFrame, masked: Collection[str] = ()) -> list[dict[str, Any]]:
    """Return rows as JSON-able dicts; masked columns show that there is a value, not which."""
    return [
        {name: MASK if name in masked and value is not None else show_value(value) for name, value in row.items()}
        for row in rows.iter_rows(named=True)
    ]
