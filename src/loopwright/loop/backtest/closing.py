"""The closing table of a stretch: month by month, what was served against the yardsticks that ran unseen beside it."""

from collections.abc import Callable
from typing import Any

import polars as pl

from loopwright import monitoring, pipelines
from loopwright.governance import audit
from loopwright.kernel.clock import format_moment
from loopwright.kernel.events import Event, event_type
from loopwright.kernel.refs import parse_ref
from loopwright.loop.retrain import list_retrains
from loopwright.loop.types import Scope
from loopwright.monitoring import MonitorSpec, measure, score_rows
from loopwright.serving import RolledBack, RolloutAborted
from loopwright.store.work import ProjectCaller

SERVED = "served"
WARNED_SHARE = 0.10
"""Share of each day's rows that get a warning in the table."""
AUDITED_ROWS = 1000
"""Served feature rows that are computed again at the end."""
_SPARE = 1.05
"""More rows are asked for: those whose source row is not in the datasets yet cannot be computed again."""

SkewAudit = Callable[[int], dict[str, Any]]
"""Computes up to so many served rows of the stretch again; answers as a job of ``loop.start_skew_audit`` does."""


def closing_table(log: pl.DataFrame, changes: dict[str, list[Any]], skew: SkewAudit, scope: Scope) -> dict[str, Any]:
    """Return the closing table: one row a month of the stretch.

    Args:
        log: Predictions with labels, as ``with_series`` returns them.
        changes: What ``read_changes`` returned.
        skew: Computes served rows again.
        scope: What the table is about.
    """
    served = log.filter(pl.col("series") == SERVED)
    months = [
        _month(str(month), part, changes, scope)
        for (month,), part in sorted(log.group_by("month"), key=lambda pair: str(pair[0]))
    ]
    return {
        "metric": scope.metric,
        "months": months,
        **{f"mean_{name}": _mean(months, name) for name in scope.columns()},
        "retrains": [
            {"at": format_moment(retrain.event_at), "cause": retrain.cause, "outcome": retrain.outcome}
            for retrain in changes["retrains"]
        ],
        "predictions": served.height,
        "labels": served.filter(pl.col("label").is_not_null() | pl.col("label_text").is_not_null()).height,
        **_audited(skew),
    }


def _month(month: str, part: pl.DataFrame, changes: dict[str, list[Any]], scope: Scope) -> dict[str, Any]:
    served = part.filter(pl.col("series") == SERVED)
    row: dict[str, Any] = {"month": month, scope.rows: served.height, **measured(part, scope)}
    if scope.task == "binary":
        row["right_warnings"] = _right_warnings(served)
    retrains = [retrain for retrain in changes["retrains"] if scope.month(retrain.event_at) == month]
    row |= {"retrains": len(retrains), "causes": [retrain.cause for retrain in retrains]}
    for name, moments in _moments(changes, scope).items():
        row[name] = sum(scope.month(moment) == month for moment in moments)
    return row


def read_changes(caller: ProjectCaller, scope: Scope) -> dict[str, list[Any]]:
    """Return the changes of the stretch by kind: retrains, blind retrains, incidents, and what was taken back."""
    names = [event_type(RolloutAborted), event_type(RolledBack)]
    events = [event for name in names for event in caller.call(audit.list_events, type_prefix=name, limit=1000)]
    incidents = caller.call(
        monitoring.list_incidents, needs_person=True, start_at=scope.start_at, end_at=scope.end_at, limit=1000
    )
    changes: dict[str, list[Any]] = {
        "retrains": list(caller.call(list_retrains, deployment=scope.deployment)),
        "rollbacks": rollbacks(events, scope.deployment),
        "incidents": [
            incident
            for incident in incidents
            if scope.has(incident.opened_at) and _may_concern(incident.subject, scope.deployment)
        ],
    }
    for alias, (pipeline, _) in scope.blind.items():
        done = caller.call(pipelines.list_executions, pipeline=pipeline, states=["done"], limit=1000)
        changes[f"retrains_{alias}"] = list(done)
    return {
        kind: rows if kind == "incidents" else [change for change in rows if scope.has(change.event_at)]
        for kind, rows in changes.items()
    }


def _may_concern(subject: str, deployment: str) -> bool:
    """Say whether an incident is of a deployment, or of something that it may rest on, such as a dataset."""
    ref = parse_ref(subject)
    return ref.kind != "deployment" or ref.name == deployment


def rollbacks(events: list[Event], deployment: str) -> list[Event]:
    """Return the events that took a version of a deployment back: aborted rollouts and rollbacks, each deed once.

    A rollback during a rollout aborts it too; a rollout that ends before its first step takes nothing back.
    """
    aborted, rolled_back = [], []
    for event in events:
        if event.type == event_type(RolloutAborted):
            abort = event.read(RolloutAborted)
            aborted += [event] if abort.deployment == deployment and abort.step >= 0 else []
        elif event.type == event_type(RolledBack):
            rollback = event.read(RolledBack)
            rolled_back += [event] if rollback.deployment == deployment and not rollback.rollout_id else []
    return aborted + rolled_back


def _moments(changes: dict[str, list[Any]], scope: Scope) -> dict[str, list[int]]:
    """Return when each kind of change happened, by its column."""
    blind = {name: changes[name] for name in (f"retrains_{alias}" for alias in scope.blind)}
    return {
        **{name: [execution.event_at for execution in executions] for name, executions in blind.items()},
        "promotions": [one.finished_at or 0 for one in changes["retrains"] if one.state == "promoted"],
        "rollbacks": [event.event_at for event in changes["rollbacks"]],
        "incidents": [incident.opened_at for incident in changes["incidents"]],
    }


def with_series(log: pl.DataFrame, zone: str = "UTC") -> pl.DataFrame:
    """Return an exported log with ``month``, ``day`` and ``series``, which is served or the shadow's name.

    Args:
        log: What a job of ``loop.start_export`` wrote.
        zone: Time zone of months and days.
    """
    local = pl.from_epoch("event_at", "us").dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
    return log.with_columns(
        month=local.dt.strftime("%Y-%m"),
        day=local.dt.date(),
        series=pl.when("is_shadow").then("variant").otherwise(pl.lit(SERVED)),
    )


def measured(part: pl.DataFrame, scope: Scope) -> dict[str, Any]:
    """Return the metric of each series with its 95 % interval, measured as monitoring does."""
    made = {series: part.filter(pl.col("series") == series).height for series in (*scope.series, SERVED)}
    rows = score_rows(part.drop("variant").rename({"series": "variant"}), scope.task, [])
    numbers: dict[str, Any] = {}
    for performance in measure(rows, made, MonitorSpec(every_us=0, performance=scope.metric), scope.task):
        interval = (
            None
            if performance.low is None or performance.high is None
            else [round(performance.low, 4), round(performance.high, 4)]
        )
        name = f"{scope.short}_{performance.variant}"
        numbers |= {
            name: None if performance.value is None else round(performance.value, 4),
            f"{name}_interval": interval,
        }
    return numbers


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


def _audited(skew: SkewAudit) -> dict[str, int]:
    """Compute served feature rows of the stretch again; ask for more until enough have their source row."""
    wanted = int(AUDITED_ROWS * _SPARE)
    while True:
        result = skew(wanted)
        is_all = result["rows"] + result["unmatched_rows"] < wanted
        if is_all or result["rows"] >= AUDITED_ROWS:
            return {
                "skew_rows_checked": result["rows"],
                "skew_rows_unequal": result["unequal_rows"],
                "skew_rows_unmatched": result["unmatched_rows"],
            }
        wanted *= 2
