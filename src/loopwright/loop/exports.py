"""Reading the loop's own records back: the log with its labels, the skew audit, the closing table, an answer again."""

import msgspec

from loopwright import serving
from loopwright.kernel.clock import check_span, check_zone, parse_moment, parse_span
from loopwright.kernel.refs import parse_ref
from loopwright.kernel.verbs import Count, Role, verb
from loopwright.loop.apply import current_spec
from loopwright.loop.backtest.scope import find_scope
from loopwright.loop.events import ExportStarted
from loopwright.loop.types import AuditSkew, Export, MakeClosingTable, ReplayPrediction
from loopwright.store import jobs
from loopwright.store.tx import Tx
from loopwright.store.types import Job


@verb("loop.start_export", changes=Job, role=Role.VIEWER)
def start_export(tx: Tx, *, deployment: str, start_at: int | str, end_at: int | str, features: bool = False) -> Job:
    """Start writing predictions with labels to one Parquet blob; the job's result holds its digest.

    Args:
        deployment: Its name.
        start_at: First event time: ISO 8601, or microseconds UTC.
        end_at: First event time that is out.
        features: True adds the logged features of served rows.
    """
    begin, end = parse_span(start_at, end_at)
    serving.get(tx, deployment=deployment)
    ref = tx.ref("deployment", deployment)
    started = jobs.start_asked(tx, Export(deployment, begin, end, features), ref)
    tx.emit(ExportStarted(started.job_id, begin, end, features), ref)
    return started


@verb("loop.start_skew_audit", changes=Job, role=Role.VIEWER)
def start_skew_audit(
    tx: Tx, *, deployment: str, rows: Count = 1000, start_at: int | str | None = None, end_at: int | str | None = None
) -> Job:
    """Start computing served feature rows again, point in time; the result counts the unequal ones."""
    serving.get(tx, deployment=deployment)
    begin = None if start_at is None else parse_moment(start_at, "start_at")
    end = None if end_at is None else parse_moment(end_at, "end_at")
    if begin is not None and end is not None:
        check_span(begin, end)
    work = AuditSkew(deployment, min(rows, 100_000), begin, end)
    return jobs.start_asked(tx, work, tx.ref("deployment", deployment))


@verb("loop.start_closing_table", changes=Job, role=Role.VIEWER)
def start_closing_table(
    tx: Tx,
    *,
    deployment: str,
    start_at: int | str,
    end_at: int | str,
    zone: str = "UTC",
    rows: str = "predictions",
    short: str = "",
) -> Job:
    """Start the closing table of a stretch: what was served, month by month, against the aliases that followed unseen.

    The job's result holds the ``table`` and its ``scope``.

    Args:
        deployment: Its name.
        start_at: First event time: ISO 8601, or microseconds UTC.
        end_at: First event time that is out.
        zone: Time zone of months and days.
        rows: What the table calls a prediction.
        short: What the table calls the metric, empty for the metric's own name.
    """
    begin, end = parse_span(start_at, end_at)
    scope = find_scope(current_spec(tx), deployment, begin, end, check_zone(zone))
    named = msgspec.structs.replace(scope, rows=rows, short=short or scope.short)
    return jobs.start_asked(tx, MakeClosingTable(named), tx.ref("deployment", deployment))


@verb("loop.start_replay", changes=Job, role=Role.VIEWER)
def start_replay(tx: Tx, *, prediction_id: str) -> Job:
    """Start computing one prediction again from the records; the job's result is a ``Replayed``.

    Args:
        prediction_id: The id, or its ref, as ``flights/prediction:pred_…``.
    """
    named = parse_ref(prediction_id, tx.project, "prediction_id").name if ":" in prediction_id else prediction_id
    return jobs.start_asked(tx, ReplayPrediction(named), tx.ref("prediction", named))
