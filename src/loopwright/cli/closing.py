"""Printing the closing table of a stretch."""

from typing import Any

from loopwright.cli.show import say
from loopwright.kernel.clock import format_duration
from loopwright.loop import SERVED, ClosingTable, Scope

_METRIC_WORDS = {"roc_auc": "ROC AUC", "rmse": "RMSE", "mae": "MAE"}


def print_table(closing: ClosingTable) -> None:
    """Print the closing table and the sentences that say what it means."""
    table, scope = closing.table, closing.scope
    say()
    widths = [max(8, len(series) + 1) for series in (*scope.series, SERVED)]
    heads = "".join(f"{series:>{width}}" for series, width in zip((*scope.series, SERVED), widths, strict=True))
    right = f"{'right warnings':>15}" if scope.task == "binary" else ""
    say(
        f"{'month':8}{scope.rows:>{len(scope.rows) + 1}} {heads}  {'95 % interval':15}"
        f"{right}{'retrains':>14}{'promoted':>9}{'rolled back':>12}{'incidents':>10}"
    )
    for row in [*table["months"], None]:
        named, count = (row, row[scope.rows]) if row else (table, table["predictions"])
        cells = [_number(named[name if row else f"mean_{name}"]) for name in scope.columns()]
        values = "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        say(f"{row['month'] if row else 'mean':8}{count:>{len(scope.rows) + 1}} {values}{_rest(row, scope)}")
    say()
    say(_meaning(table, scope))
    unmatched = table["skew_rows_unmatched"]
    left_out = f" {unmatched} more of the sample have no row in the datasets yet." if unmatched else ""
    say(
        f"{table['skew_rows_checked']} served feature rows computed again from the datasets: "
        f"{table['skew_rows_unequal']} differ.{left_out}"
    )


def _rest(row: dict[str, Any] | None, scope: Scope) -> str:
    """Return a month's columns behind the metric."""
    if row is None:
        return ""
    interval = row[f"{scope.short}_{SERVED}_interval"]
    shown = "–" if interval is None else f"{interval[0]:.3f} … {interval[1]:.3f}"
    right = f"{_percent(row['right_warnings']):>15}" if scope.task == "binary" else ""
    retrains = f"{row['retrains']} {','.join(dict.fromkeys(row['causes']))}" if row["retrains"] else "–"
    return (
        f"  {shown:15}{right}{retrains:>14}{row['promotions'] or '–':>9}{row['rollbacks'] or '–':>12}"
        f"{row['incidents'] or '–':>10}"
    )


def _meaning(table: dict[str, Any], scope: Scope) -> str:
    parts = []
    for alias in scope.series:
        if alias in scope.blind:
            times = sum(row[f"retrains_{alias}"] for row in table["months"])
            how_often = format_duration(scope.blind[alias][1])
            parts.append(f"{alias}: retrained blindly every {how_often} ({times} times)")
        else:
            parts.append(f"{alias}: the first model for ever")
    retrains = sum(row["retrains"] for row in table["months"])
    parts.append(f"{SERVED}: what the policy decided ({retrains} retrains)")
    metric = _METRIC_WORDS.get(scope.metric, scope.metric)
    return f"{metric} on {table['labels']} labels. {'; '.join(parts)}."


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"
