"""Verbs of stretches of history: measuring every window of a range again, and reporting on it.

Models that run elsewhere need both: their predictions and labels may come months after their event time.
"""

from datetime import UTC, datetime

from loopwright.kernel.clock import parse_moment
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.verbs import query, verb
from loopwright.monitoring import sql
from loopwright.monitoring.events import RangeStarted
from loopwright.monitoring.types import EvaluateRange, Report, Window
from loopwright.monitoring.watched import get
from loopwright.store.tx import Tx
from loopwright.store.types import Job

MOST_WINDOWS = 2000
"""Most windows of one range."""


@verb("monitoring.evaluate_range", changes=Window)
def evaluate_range(tx: Tx, *, deployment: str, start_at: int | str, end_at: int | str) -> Job:
    """Start measuring every window that begins in ``[start_at, end_at)`` and has ended, with what is known now.

    Windows that were measured before are restated. Alerts come of a window once, the first time it is measured.

    Raises:
        InvalidInput: The range is empty or holds more than 2,000 windows.
    """
    monitor = get(tx, deployment=deployment)
    begin, end = parse_moment(start_at, "start_at"), parse_moment(end_at, "end_at")
    begin -= begin % monitor.spec.every_us
    if not begin < end or (end - begin) / monitor.spec.every_us > MOST_WINDOWS:
        rule = f"end_at after start_at, at most {MOST_WINDOWS} windows"
        raise InvalidInput("this range cannot be measured", field="end_at", value=end_at, rule=rule)
    ref = tx.ref("deployment", deployment)
    work = EvaluateRange(deployment, begin, min(end, tx.now_us))
    job = tx.start_job(work, ref)
    tx.emit(RangeStarted(job.job_id, deployment, work.start_at, work.end_at), ref)
    return job


@query("monitoring.report")
def report(
    tx: Tx, *, deployment: str, period: str = "", start_at: int | str | None = None, end_at: int | str | None = None
) -> Report:
    """Return the windows and incidents of a stretch, oldest first.

    Args:
        deployment: What is watched.
        period: A year, month or day in UTC, such as ``2026-10``; or else:
        start_at: ISO 8601, or microseconds UTC; None for everything.
        end_at: The same; None for now.
    """
    get(tx, deployment=deployment)
    if period:
        start_at, end_at = parse_period(period)
    begin = parse_moment(start_at or 0, "start_at")
    end = tx.now_us if end_at is None else parse_moment(end_at, "end_at")
    found = sql.list_windows(tx, deployment, start_at=begin, end_at=end, limit=MOST_WINDOWS)
    subject = tx.ref("deployment", deployment)
    incidents = sql.list_incidents(tx, subject=subject, start_at=begin, end_at=end, limit=1000)
    return Report(deployment, begin, end, found[::-1], incidents[::-1])


def parse_period(text: str) -> tuple[int, int]:
    """Return start and end of a year, month or day in UTC, in microseconds.

    Raises:
        InvalidInput: It is none of these.

    >>> parse_period("1970-01")
    (0, 2678400000000)
    """
    for form, length in (("%Y", 4), ("%Y-%m", 7), ("%Y-%m-%d", 10)):
        if len(text) != length:
            continue
        try:
            start = datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            break
        year, month = start.year, start.month
        ends = {
            4: datetime(year + 1, 1, 1, tzinfo=UTC),
            7: datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC),
        }
        end_at = parse_moment(ends[length]) if length in ends else parse_moment(start) + 86_400_000_000
        return parse_moment(start), end_at
    raise InvalidInput("this is not a period", field="period", value=text, rule="2026, 2026-10 or 2026-10-31")
