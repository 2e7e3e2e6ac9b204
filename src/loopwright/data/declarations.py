"""Declarations: constructors of checks as users write them, and the rules every declaration must meet."""

from collections.abc import Sequence
from typing import Any, Literal

from loopwright.data.checks import FALSE_ALARMS, LEAST, check_args
from loopwright.data.source_specs import check_source
from loopwright.data.types import CheckSpec, DatasetSpec, KnownAt
from loopwright.kernel.bounds import MOST_COLUMNS, check_count
from loopwright.kernel.clock import MINUTE_US, format_duration, parse_duration
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.refs import check_name

Severity = Literal["block", "warn"]


def after(column: str, delay: str | int = 0) -> KnownAt:
    """Return the moment in a column plus a delay such as ``1h``: when a value became known."""
    return KnownAt(column, parse_duration(delay, "known_at"))


def not_null(column: str, *, severity: Severity = "block", most_share: float = 0.0, where: str = "") -> CheckSpec:
    """Check that a column has no missing values."""
    return _check("not_null", column, {}, severity, most_share, where)


def between(
    column: str,
    low: float | str | None = None,
    high: float | str | None = None,
    *,
    severity: Severity = "block",
    most_share: float = 0.0,
    where: str = "",
) -> CheckSpec:
    """Check that values lie between two bounds, both included; moments are ISO 8601 texts."""
    return _check("between", column, {"low": low, "high": high}, severity, most_share, where)


def is_in(
    column: str, values: list[Any], *, severity: Severity = "block", most_share: float = 0.0, where: str = ""
) -> CheckSpec:
    """Check that values are among the given ones."""
    return _check("is_in", column, {"values": list(values)}, severity, most_share, where)


def unique(
    column: str, *columns: str, severity: Severity = "block", most_share: float = 0.0, where: str = ""
) -> CheckSpec:
    """Check that no value (or combination of values) occurs twice among the rows that are imported together."""
    return _check("unique", column, {"columns": list(columns)}, severity, most_share, where)


def matches(
    column: str, pattern: str, *, severity: Severity = "block", most_share: float = 0.0, where: str = ""
) -> CheckSpec:
    """Check that texts match a regular expression from beginning to end."""
    return _check("matches", column, {"pattern": pattern}, severity, most_share, where)


def length(
    column: str,
    low: int = 0,
    high: int | None = None,
    *,
    severity: Severity = "block",
    most_share: float = 0.0,
    where: str = "",
) -> CheckSpec:
    """Check that texts have ``low`` to ``high`` letters."""
    return _check("length", column, {"low": low, "high": high}, severity, most_share, where)


def dated(
    column: str, format: str, *, severity: Severity = "block", most_share: float = 0.0, where: str = ""
) -> CheckSpec:
    """Check that texts are days or moments as ``format`` writes them, such as ``%d.%m.%Y``."""
    return _check("dated", column, {"format": format}, severity, most_share, where)


def increasing(
    column: str,
    *,
    of_each: str | Sequence[str] = (),
    strictly: bool = False,
    severity: Severity = "block",
    most_share: float = 0.0,
    where: str = "",
) -> CheckSpec:
    """Check that values never fall in order of time, or ``strictly`` rise; ``of_each`` tells which are compared."""
    columns = [of_each] if isinstance(of_each, str) else list(of_each)
    return _check("increasing", column, {"columns": columns, "strictly": strictly}, severity, most_share, where)


def holds(rule: str, *, severity: Severity = "block", most_share: float = 0.0, where: str = "") -> CheckSpec:
    """Check that a condition on several columns is true, in SQL: ``landed_at >= scheduled_at``."""
    return _check("holds", None, {"rule": rule}, severity, most_share, where)


def refers_to(
    column: str,
    dataset: str,
    other_column: str | None = None,
    *,
    severity: Severity = "block",
    most_share: float = 0.0,
    where: str = "",
) -> CheckSpec:
    """Check that values are those of a column of another dataset's newest version; None for one of the same name."""
    args = {"dataset": dataset, "other_column": other_column or column}
    return _check("refers_to", column, args, severity, most_share, where)


def statistic(
    column: str,
    of: str,
    low: float | None = None,
    high: float | None = None,
    *,
    q: float | None = None,
    severity: Severity = "block",
    where: str = "",
) -> CheckSpec:
    """Check that a number about all rows of an import lies between two bounds.

    ``of`` is mean, median, std, min, max, sum, quantile (at ``q``), distinct or missing (a share).
    """
    return _check("statistic", column, {"of": of, "low": low, "high": high, "q": q}, severity, 0.0, where)


def usual(
    column: str,
    of: str = "mean",
    *,
    q: float | None = None,
    least: int = LEAST,
    false_alarms: float = FALSE_ALARMS,
    severity: Severity = "block",
    where: str = "",
) -> CheckSpec:
    """Check that a number about all rows is as it was in the imports before: see ``statistic`` for which.

    Args:
        column: Of which column.
        of: What of it.
        q: Place of a quantile, 0..1.
        least: With fewer imports before it the check passes and says so.
        false_alarms: In what share of imports that are as usual it fails, by what the last 28 imports were, each by
            itself; where they follow a season or a trend it fails more often.
        severity: What a failure does.
        where: Only rows of which this is true.
    """
    return _check(
        "usual", column, {"of": of, "q": q, "least": least, "false_alarms": false_alarms}, severity, 0.0, where
    )


def usual_rows(
    *, least: int = LEAST, false_alarms: float = FALSE_ALARMS, severity: Severity = "block", where: str = ""
) -> CheckSpec:
    """Check that about as many rows come together as in the imports before; see ``usual``."""
    return _check("usual_rows", None, {"least": least, "false_alarms": false_alarms}, severity, 0.0, where)


def row_count(low: int = 0, high: int | None = None, *, severity: Severity = "block", where: str = "") -> CheckSpec:
    """Check how many rows are imported together."""
    return _check("row_count", None, {"low": low, "high": high}, severity, 0.0, where)


def fresh(column: str | None, within: str | int, *, severity: Severity = "block", where: str = "") -> CheckSpec:
    """Check that the newest moment in a column (None for the dataset's time) is at most ``within`` old."""
    return _check("fresh", column, {"within_us": parse_duration(within, "within")}, severity, 0.0, where)


def check_spec(spec: DatasetSpec) -> DatasetSpec:
    """Return a declaration if it can be used.

    Raises:
        InvalidInput: Names the field, the value and the rule.
    """
    check_name(spec.name, "name")
    check_count(spec.checks, "checks")
    check_count(spec.key, "key")
    check_count(spec.known_at, "known_at", MOST_COLUMNS)
    check_count(spec.personal, "personal", MOST_COLUMNS)
    check_source(spec.source)
    _columns(spec.key, "key", least=1)
    _columns(spec.personal, "personal", least=0)
    if spec.time is not None:
        _columns([spec.time], "time", least=1)
    for column, known in spec.known_at.items():
        _columns([column, known.column], f"known_at.{column}", least=1, distinct=False)
        if spec.time is None:
            rule = "known_at needs a dataset with time"
            raise InvalidInput("this dataset has no time", field="time", rule=rule, next_step='say time="<column>"')
    if spec.every_us is not None and (spec.source.is_sent or spec.every_us < MINUTE_US):
        raise InvalidInput(
            "this source is not read on a schedule",
            field="every",
            value=format_duration(spec.every_us) if spec.every_us > 0 else spec.every_us,
            rule="a source that is read, not one whose rows are sent; once a minute at most",
        )
    arrived = spec.source.arrived
    if arrived and arrived not in (spec.time, *(known.column for known in spec.known_at.values())):
        rule = "the time, or a moment at which something was known"
        step = f'say known_at={{"<column>": "{arrived}"}} of what is known no sooner'
        raise InvalidInput("nobody reads this moment", field="source.arrived", value=arrived, rule=rule, next_step=step)
    if spec.takes_pushes and spec.personal:
        raise InvalidInput(
            "what is pushed cannot become a version here",
            field="takes_pushes",
            value=", ".join(spec.personal),
            rule="no personal columns: the log of pushes does not hold them",
            next_step="append the rows",
        )
    for index, check in enumerate(spec.checks):
        _check_check(check, f"checks[{index}]")
    return spec


def _check(
    kind: str, column: str | None, args: dict[str, Any], severity: Severity, most_share: float, where: str
) -> CheckSpec:
    given = {name: value for name, value in args.items() if value is not None}
    spec = CheckSpec(kind, column, given, severity, most_share, where)
    _check_check(spec, f"check.{kind}")
    return spec


def _check_check(check: CheckSpec, field: str) -> None:
    check_args(check, field)
    if not 0 <= check.most_share <= 1:
        rule = "a share of rows, 0 to 1"
        raise InvalidInput("this share cannot be", field=f"{field}.most_share", value=check.most_share, rule=rule)


def _columns(columns: list[str], field: str, *, least: int, distinct: bool = True) -> None:
    if len(columns) < least:
        raise InvalidInput("a dataset needs a key", field=field, rule="one or more columns that name a row")
    if distinct and len(set(columns)) < len(columns):
        raise InvalidInput("a column is named twice", field=field, value=columns, rule="each column once")
    if not all(columns):
        raise InvalidInput("a column name is empty", field=field, value=columns, rule="the name of a column")
