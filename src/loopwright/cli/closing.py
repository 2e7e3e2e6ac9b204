"""The closing table of a replay: month by month, what was served against the yardsticks that ran unseen beside it."""

import io
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import click
import msgspec
import polars as pl

from loopwright.cli.serving import wait_for_job
from loopwright.client import Remote
from loopwright.kernel.clock import format_duration, format_moment
from loopwright.kernel.events import Event
from loopwright.loop import ProjectSpec
from loopwright.monitoring import MonitorSpec, measure, score_rows

SERVED = "served"
WARNED_SHARE = 0.10
"""Share of each day's rows that get a warning in the table."""
AUDITED_ROWS = 1000
"""Served feature rows that are computed again at the end."""
_SPARE = 1.05
"""More rows are asked for: those whose source row is not in the datasets yet cannot be computed again."""
_USUAL_METRIC = {"binary": "roc_auc", "regression": "rmse", "forecast": "rmse", "multiclass": "accuracy"}
_METRIC_WORDS = {"roc_auc": "ROC AUC", "rmse": "RMSE", "mae": "MAE"}


class Scope(msgspec.Struct, frozen=True):
    """What a closing table is about.

    ``series`` are the followed aliases, ``blind`` says how often those are retrained that have a schedule of their own,
    as ``alias -> (pipeline, every_us)``. Months and days are those of ``zone``. ``rows`` and ``short`` are what the
    table calls a prediction and its metric.
    """

    deployment: str
    start_at: int
    end_at: int
    task: str
    metric: str
    series: list[str]
    blind: dict[str, tuple[str, int]]
    zone: str = "UTC"
    rows: str = "predictions"
    short: str = ""

    def has(self, at_us: int) -> bool:
        """Say whether a moment lies in the stretch."""
        return self.start_at <= at_us < self.end_at

    def month(self, at_us: int) -> str:
        """Return the month of a moment, as ``2013-03``."""
        return datetime.fromtimestamp(at_us / 1e6, ZoneInfo(self.zone)).strftime("%Y-%m")


def find_scope(remote: Remote, deployment: str, start_at: int, end_at: int) -> Scope:
    """Return what the applied project says of a deployment: its task, monitored metric and followed aliases."""
    spec: ProjectSpec = remote.call("loop.spec")
    found = next(one for one in spec.deployments if one.name == deployment)
    monitor = spec.monitors.get(deployment)
    metric = (monitor.performance if monitor else "") or _USUAL_METRIC.get(found.task, "")
    blind = {
        one.alias: (one.name, one.schedule_us)
        for one in spec.trains
        if one.model == found.model and one.alias in found.follow and one.schedule_us
    }
    return Scope(deployment, start_at, end_at, found.task, metric, list(found.follow), blind, short=metric)


def closing_table(remote: Remote, scope: Scope) -> dict[str, Any]:
    """Return the closing table: one row a month of the stretch, from the log of predictions and labels."""
    log = read_log(remote, scope.deployment, scope.start_at, scope.end_at, scope.zone)
    changes = _changes(remote, scope)
    months = []
    for (month,), part in sorted(log.group_by("month"), key=lambda pair: str(pair[0])):
        served = part.filter(pl.col("series") == SERVED)
        row: dict[str, Any] = {"month": month, scope.rows: served.height, **measured(part, scope)}
        if scope.task == "binary":
            row["right_warnings"] = _right_warnings(served)
        own = [one for one in changes["retrains"] if scope.month(one.event_at) == month]
        row |= {"retrains": len(own), "causes": [one.cause for one in own]}
        for name, moments in _moments(changes, scope).items():
            row[name] = sum(scope.month(moment) == month for moment in moments)
        months.append(row)
    served = log.filter(pl.col("series") == SERVED)
    return {
        "metric": scope.metric,
        "months": months,
        **{f"mean_{name}": _mean(months, name) for name in _columns(scope)},
        "retrains": [
            {"at": format_moment(one.event_at), "cause": one.cause, "outcome": one.outcome}
            for one in changes["retrains"]
        ],
        "predictions": served.height,
        "labels": served.filter(pl.col("label").is_not_null() | pl.col("label_text").is_not_null()).height,
        **_audit(remote, scope),
    }


def _changes(remote: Remote, scope: Scope) -> dict[str, list[Any]]:
    """Return the changes of the stretch by kind: retrains, blind retrains, incidents, and what was taken back."""
    types = ("serving.rollout_aborted", "serving.rolled_back")
    events = [one for name in types for one in remote.call("audit.list", type_prefix=name, limit=1000)]
    found = {
        "retrains": remote.call("loop.retrains", deployment=scope.deployment),
        "rollbacks": rollbacks(events, scope.deployment),
        "incidents": [one for one in remote.call("monitoring.incidents") if one.needs_person],
    }
    for alias, (pipeline, _) in scope.blind.items():
        found[f"retrains_{alias}"] = remote.call("pipelines.list", pipeline=pipeline, states=["done"], limit=1000)
    return {
        kind: [one for one in rows if scope.has(one.opened_at if kind == "incidents" else one.event_at)]
        for kind, rows in found.items()
    }


def rollbacks(events: list[Event], deployment: str) -> list[Event]:
    """Return the events that took a version of a deployment back: aborted rollouts and rollbacks, each deed once.

    A rollback during a rollout aborts it too; a rollout that ends before its first step takes nothing back.
    """
    own = [one for one in events if one.payload["deployment"] == deployment]
    aborted = [one for one in own if one.type == "serving.rollout_aborted" and one.payload["step"] >= 0]
    return aborted + [one for one in own if one.type == "serving.rolled_back" and not one.payload["rollout_id"]]


def _moments(changes: dict[str, list[Any]], scope: Scope) -> dict[str, list[int]]:
    """Return when each kind of change happened, by its column."""
    promoted = [one.finished_at or 0 for one in changes["retrains"] if one.state == "promoted"]
    return {
        **{f"retrains_{alias}": [one.event_at for one in changes[f"retrains_{alias}"]] for alias in scope.blind},
        "promotions": promoted,
        "rollbacks": [one.event_at for one in changes["rollbacks"]],
        "incidents": [one.opened_at for one in changes["incidents"]],
    }


def read_log(remote: Remote, deployment: str, start_at: int, end_at: int, zone: str = "UTC") -> pl.DataFrame:
    """Return served and shadow scores with labels; ``series`` is served or the shadow's name, days are the zone's."""
    job = remote.call("loop.start_export", deployment=deployment, start_at=start_at, end_at=end_at)
    finished = wait_for_job(remote, job.job_id)
    body = remote.caller.get_blob(remote.project, finished.result["digest"])
    frame = pl.read_parquet(io.BytesIO(body))
    local = pl.from_epoch("event_at", "us").dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
    return frame.with_columns(
        month=local.dt.strftime("%Y-%m"),
        day=local.dt.date(),
        series=pl.when("is_shadow").then("variant").otherwise(pl.lit(SERVED)),
    )


def _columns(scope: Scope) -> list[str]:
    return [f"{scope.short}_{series}" for series in (*scope.series, SERVED)]


def measured(part: pl.DataFrame, scope: Scope) -> dict[str, Any]:
    """Return the metric of each series with its 95 % interval, measured as monitoring does."""
    made = {series: part.filter(pl.col("series") == series).height for series in (*scope.series, SERVED)}
    rows = score_rows(part.drop("variant").rename({"series": "variant"}), scope.task, [])
    found: dict[str, Any] = {}
    for one in measure(rows, made, MonitorSpec(every_us=0, performance=scope.metric), scope.task):
        interval = None if one.low is None or one.high is None else [round(one.low, 4), round(one.high, 4)]
        name = f"{scope.short}_{one.variant}"
        found |= {name: None if one.value is None else round(one.value, 4), f"{name}_interval": interval}
    return found


def _right_warnings(served: pl.DataFrame) -> float | None:
    """Return the share of right warnings if the worst 10 % of each day are warned."""
    warned = served.filter(
        pl.col("score").rank("ordinal", descending=True).over("day") <= WARNED_SHARE * pl.len().over("day")
    )
    known = warned.drop_nulls("label")
    return round(float(known["label"].mean()), 3) if known.height else None  # type: ignore[arg-type]


def _mean(months: list[dict[str, Any]], name: str) -> float | None:
    values = [row[name] for row in months if row[name] is not None]
    return round(sum(values) / len(values), 4) if values else None


def _audit(remote: Remote, scope: Scope) -> dict[str, int]:
    """Compute served feature rows of the stretch again; ask for more until enough have their source row."""
    wanted = int(AUDITED_ROWS * _SPARE)
    while True:
        args = {"deployment": scope.deployment, "start_at": scope.start_at, "end_at": scope.end_at, "rows": wanted}
        result = wait_for_job(remote, remote.call("loop.start_skew_audit", **args).job_id).result
        is_all = result["rows"] + result["unmatched_rows"] < wanted
        if is_all or result["rows"] >= AUDITED_ROWS:
            return {
                "skew_rows_checked": result["rows"],
                "skew_rows_unequal": result["unequal_rows"],
                "skew_rows_unmatched": result["unmatched_rows"],
            }
        wanted *= 2


def print_table(table: dict[str, Any], scope: Scope) -> None:
    """Print the closing table and the sentences that say what it means."""
    click.echo("")
    widths = [max(8, len(series) + 1) for series in (*scope.series, SERVED)]
    heads = "".join(f"{series:>{width}}" for series, width in zip((*scope.series, SERVED), widths, strict=True))
    right = f"{'right warnings':>15}" if scope.task == "binary" else ""
    click.echo(
        f"{'month':8}{scope.rows:>{len(scope.rows) + 1}} {heads}  {'95 % interval':15}"
        f"{right}{'retrains':>14}{'promoted':>9}{'rolled back':>12}{'incidents':>10}"
    )
    for row in [*table["months"], None]:
        named, count = (row, row[scope.rows]) if row else (table, table["predictions"])
        cells = [_number(named[name if row else f"mean_{name}"]) for name in _columns(scope)]
        values = "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        click.echo(f"{row['month'] if row else 'mean':8}{count:>{len(scope.rows) + 1}} {values}{_rest(row, scope)}")
    click.echo("")
    click.echo(_meaning(table, scope))
    unmatched = table["skew_rows_unmatched"]
    left_out = f" {unmatched} more of the sample have no row in the datasets yet." if unmatched else ""
    click.echo(
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
