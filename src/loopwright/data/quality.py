"""Running checks: every declared check of a frame in one pass; a second pass only where something failed."""

import math
from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import Any

import msgspec
import polars as pl

from loopwright.data.checks import Check, RowCheck, open_check
from loopwright.data.types import CheckResult, CheckSpec
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.suggestions import near_column

MOST_SAMPLES = 20
MOST_FAILING_ROWS = 10_000
FAILED_CHECKS = "failed_checks"
"""Column of ``failing_rows`` that names what each row failed."""


class _Opened(msgspec.Struct, frozen=True):
    """One check bound to a frame."""

    place: int
    spec: CheckSpec
    check: Check
    dtype: Any

    @property
    def subject(self) -> str:
        return f"{self.spec.column} {self.check.claim()}" if self.spec.column else self.check.claim()

    def failing(self) -> pl.Expr:
        assert isinstance(self.check, RowCheck)
        assert self.spec.column is not None
        return self.check.failing(pl.col(self.spec.column), self.dtype).fill_null(False)

    def measures(self) -> list[pl.Expr]:
        column = pl.col(self.spec.column) if self.check.needs_column and self.spec.column else pl.len()
        if isinstance(self.check, RowCheck):
            evaluated = pl.len() if self.check.counts_nulls else column.count()
            return [self.failing().sum().alias(f"{self.place}:failed"), evaluated.alias(f"{self.place}:evaluated")]
        return [self.check.measure(column, self.dtype).alias(f"{self.place}:value")]


def run_checks(
    frame: pl.DataFrame,
    specs: Sequence[CheckSpec],
    now_us: int = 0,
    *,
    key: Sequence[str] = (),
    time: str | None = None,
    masked: Collection[str] = (),
) -> list[CheckResult]:
    """Return what each check found, in order.

    Nulls neither pass nor fail a rule about values; NaN fails ``not_null`` and ``between``. What cannot be evaluated
    says so.

    Args:
        frame: The rows.
        specs: Declared checks.
        now_us: The project's present moment, microseconds UTC.
        key: Columns that name a row, shown in samples.
        time: The column of checks that name none and are about time.
        masked: Columns whose values samples do not show.

    Raises:
        InvalidInput: A check or column is unknown, or a check does not fit its column's dtype.
    """
    opened = [_open(index, spec, frame, time) for index, spec in enumerate(specs)]
    values = _measure(frame, opened)
    shown = [name for name in key if name in frame.columns]
    return [_judge(frame, each, values, now_us, shown, masked) for each in opened]


def failing_rows(frame: pl.DataFrame, results: Sequence[CheckResult], *, time: str | None = None) -> pl.DataFrame:
    """Return up to 10,000 rows that failed a blocking check, with a column ``failed_checks`` that says which."""
    failed = [result.check for result in results if not result.passed and result.check.severity == "block"]
    opened = [_open(index, spec, frame, time) for index, spec in enumerate(failed)]
    marks = [pl.when(each.failing()).then(pl.lit(each.subject)) for each in opened if isinstance(each.check, RowCheck)]
    if not marks:
        return frame.clear().with_columns(pl.lit("").alias(FAILED_CHECKS))
    marked = frame.with_columns(pl.concat_str(marks, separator="; ", ignore_nulls=True).alias(FAILED_CHECKS))
    return marked.filter(pl.col(FAILED_CHECKS) != "").head(MOST_FAILING_ROWS)


def show_value(value: Any) -> Any:
    """Return a value as JSON can hold it: moments as ISO 8601, NaN and infinities as text, bytes as hexadecimal."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, datetime | date):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, bytes):
        return value.hex()
    return value if isinstance(value, str | int | bool | None) else str(value)


def _open(index: int, spec: CheckSpec, frame: pl.DataFrame, time: str | None) -> _Opened:
    field = f"checks[{index}]"
    check = open_check(spec, field)
    if check.needs_column and spec.column is None:
        spec = msgspec.structs.replace(spec, column=time)
    columns = [spec.column] if spec.column is not None else []
    for name in (*columns, *getattr(check, "columns", [])):
        if name not in frame.columns:
            raise InvalidInput(
                f"the check {spec.kind} names a column that the rows do not have",
                field=f"{field}.column",
                value=name,
                next_step=f"{near_column(name, frame.columns)}correct the check",
            )
    if check.needs_column and not columns:
        raise InvalidInput(f"{spec.kind} checks a column", field=f"{field}.column", rule="the name of a column")
    return _Opened(index, spec, check, frame.schema[columns[0]] if columns else None)


def _measure(frame: pl.DataFrame, opened: Sequence[_Opened]) -> dict[str, Any]:
    if not opened:
        return {}
    try:
        return frame.select(measure for each in opened for measure in each.measures()).row(0, named=True)
    except (pl.exceptions.PolarsError, ValueError, AttributeError) as error:
        if len(opened) > 1:
            # Alone, the one that does not fit its column fails again and is named.
            return {name: value for each in opened for name, value in _measure(frame, [each]).items()}
        (only,) = opened
        raise InvalidInput(
            f"the check {only.subject} cannot be applied to a column of {only.dtype}",
            field=f"checks[{only.place}]",
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
) -> CheckResult:
    if not isinstance(each.check, RowCheck):
        if each.check.needs_rows and not frame.height:
            return CheckResult(each.spec, False, 0, 0, message=f"{each.subject}: not evaluated, there are no rows")
        passed, finding = each.check.judge(values[f"{each.place}:value"], now_us)
        message = "" if passed else f"{each.subject} failed: {finding}"
        return CheckResult(each.spec, passed, frame.height, 0 if passed else frame.height, message=message)
    failed, evaluated = values[f"{each.place}:failed"], values[f"{each.place}:evaluated"]
    if not evaluated:
        return CheckResult(each.spec, True, 0, 0, message=f"{each.subject}: not evaluated, there are no values")
    if not failed:
        return CheckResult(each.spec, True, evaluated, 0)
    columns = list(dict.fromkeys([*key, str(each.spec.column), *getattr(each.check, "columns", [])]))
    samples = sample_rows(frame.lazy().filter(each.failing()).select(columns).head(MOST_SAMPLES).collect(), masked)
    named = [name for name in key or columns if name in samples[0]]
    first = ", ".join(f"{name}={samples[0][name]}" for name in named)
    message = f"{each.subject} failed for {failed} of {evaluated} rows (first: {first})"
    return CheckResult(each.spec, failed / evaluated <= each.spec.most_share, evaluated, failed, samples, message)


def sample_rows(rows: pl.DataFrame, masked: Collection[str] = ()) -> list[dict[str, Any]]:
    """Return rows as JSON-able dicts; masked columns show that there is a value, not which."""
    return [
        {name: "•••" if name in masked and value is not None else show_value(value) for name, value in row.items()}
        for row in rows.iter_rows(named=True)
    ]
