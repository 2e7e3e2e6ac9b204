"""The closing table of a replay: month by month, what was served against the yardsticks that ran unseen beside it."""

import io
from datetime import UTC, datetime
from typing import Any

import click
import polars as pl

from loopwright.cli.serving import wait_for_job
from loopwright.client import Remote
from loopwright.kernel.clock import format_moment
from loopwright.kernel.errors import NotFound
from loopwright.registry import metrics

WARNED_SHARE = 0.10
"""Share of each day's rows that get a warning in the table."""


def closing_table(remote: Remote, deployment: str, start_at: int, end_at: int) -> dict[str, Any]:
    """Return the closing table: one row a month of ``[start_at, end_at)``, from the log of predictions and labels."""
    log = read_log(remote, deployment, start_at, end_at)
    retrains = remote.call("loop.retrains", deployment=deployment)
    calendar = [one for one in _executions(remote, "calendar") if one.state == "done"]
    incidents = [one for one in remote.call("monitoring.incidents") if one.needs_person]
    rollbacks = remote.call("audit.list", type_prefix="serving.rolled_back", limit=1000)
    months = []
    for month, part in sorted(log.group_by("month"), key=lambda pair: str(pair[0])):
        row: dict[str, Any] = {"month": str(month[0])}
        by_variant = {str(name[0]): rows for name, rows in part.group_by("series")}
        served = by_variant["served"]
        row["flights"] = served.height
        for series in ("frozen", "calendar", "served"):
            row |= _auc(series, by_variant.get(series))
        row["right_warnings"] = _right_warnings(served)
        in_month = [one for one in retrains if _month(one.event_at) == row["month"]]
        row["retrains"] = len(in_month)
        row["causes"] = [one.cause for one in in_month]
        row["retrains_calendar"] = sum(_month(one.event_at) == row["month"] for one in calendar)
        row["promotions"] = sum(
            one.state == "promoted" and _month(one.finished_at or 0) == row["month"] for one in retrains
        )
        row["rollbacks"] = sum(_month(one.event_at) == row["month"] for one in rollbacks)
        row["incidents"] = sum(_month(one.opened_at) == row["month"] for one in incidents)
        months.append(row)
    audit = wait_for_job(remote, remote.call("loop.start_skew_audit", deployment=deployment, rows=1000).job_id).result
    return {
        "months": months,
        **{f"mean_auc_{series}": _mean(months, f"auc_{series}") for series in ("frozen", "calendar", "served")},
        "retrains": [
            {"at": format_moment(one.event_at), "cause": one.cause, "outcome": one.outcome} for one in retrains
        ],
        "predictions": log.filter(pl.col("series") == "served").height,
        "labels": log.filter((pl.col("series") == "served") & pl.col("label").is_not_null()).height,
        "skew_rows_checked": audit["rows"],
        "skew_rows_unequal": audit["unequal_rows"],
        "planted": [],
    }


def _executions(remote: Remote, pipeline: str) -> list[Any]:
    try:
        return list(remote.call("pipelines.list", pipeline=pipeline))
    except NotFound:
        return []


def read_log(remote: Remote, deployment: str, start_at: int, end_at: int) -> pl.DataFrame:
    """Return served and shadow scores with labels; ``series`` is served or the shadow's name."""
    job = remote.call("loop.start_export", deployment=deployment, start_at=start_at, end_at=end_at)
    finished = wait_for_job(remote, job.job_id)
    body = remote.caller.get_blob(remote.project, finished.result["digest"])
    frame = pl.read_parquet(io.BytesIO(body))
    local = pl.from_epoch("event_at", "us").dt.replace_time_zone("UTC").dt.convert_time_zone("America/New_York")
    return frame.with_columns(
        month=local.dt.strftime("%Y-%m"),
        day=local.dt.date(),
        series=pl.when(~pl.col("is_shadow")).then(pl.lit("served")).otherwise("variant"),
    )


def _auc(series: str, rows: pl.DataFrame | None) -> dict[str, Any]:
    labelled = None if rows is None else rows.drop_nulls(["label", "score"])
    if labelled is None or labelled["label"].n_unique() < 2:
        return {f"auc_{series}": None, f"auc_{series}_interval": None}
    found, intervals = metrics.evaluate("binary", labelled["label"].to_numpy(), labelled["score"].to_numpy())
    low, high = intervals["roc_auc"]
    return {
        f"auc_{series}": round(found["roc_auc"], 4),
        f"auc_{series}_interval": [round(low, 4), round(high, 4)],
    }


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


def _month(at_us: int) -> str:
    return datetime.fromtimestamp((at_us - 5 * 3_600_000_000) / 1e6, UTC).strftime("%Y-%m")


def print_table(table: dict[str, Any]) -> None:
    """Print the closing table and the sentence that says what it means."""
    click.echo("")
    click.echo(
        f"{'month':8}{'flights':>8}  {'frozen':>7}{'calendar':>9}{'served':>8}  {'95 % interval':15}"
        f"{'right warnings':>15}{'retrains':>10}{'promoted':>9}{'rolled back':>12}{'incidents':>10}"
    )
    for row in table["months"]:
        low, high = row["auc_served_interval"] or (float("nan"), float("nan"))
        cause = f"{row['retrains']} {','.join(row['causes'])}" if row["retrains"] else "–"
        click.echo(
            f"{row['month']:8}{row['flights']:>8}  {_number(row['auc_frozen']):>7}{_number(row['auc_calendar']):>9}"
            f"{_number(row['auc_served']):>8}  {low:.3f} … {high:.3f}  {_percent(row['right_warnings']):>14}"
            f"{cause:>10}{row['promotions'] or '–':>9}{row['rollbacks'] or '–':>12}{row['incidents'] or '–':>10}"
        )
    calendar = sum(row["retrains_calendar"] for row in table["months"])
    retrains = sum(row["retrains"] for row in table["months"])
    click.echo(
        f"{'mean':8}{table['predictions']:>8}  {_number(table['mean_auc_frozen']):>7}"
        f"{_number(table['mean_auc_calendar']):>9}{_number(table['mean_auc_served']):>8}"
    )
    click.echo("")
    click.echo(
        f"ROC AUC on {table['labels']} labels. frozen: the first model for ever; calendar: retrained blindly "
        f"every 30 days "
        f"({calendar} times); served: what the policy decided ({retrains} retrains)."
    )
    click.echo(
        f"{table['skew_rows_checked']} served feature rows computed again from the datasets: "
        f"{table['skew_rows_unequal']} differ."
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"
