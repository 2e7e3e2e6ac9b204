"""Verbs of windows: closing them by timer, settling them once labels have matured, storing what was measured."""

from typing import Literal

import msgspec

from loopwright import serving
from loopwright.kernel.clock import parse_moment
from loopwright.kernel.errors import NotFound
from loopwright.kernel.verbs import SERVER_ALONE, query, verb
from loopwright.monitoring import sql
from loopwright.monitoring.alerts import (
    CLOSE_KINDS,
    LEAST_ROWS,
    SETTLE_KINDS,
    Finding,
    decay_limits,
    findings_on_close,
    findings_on_settle,
    is_beyond,
    judged_kinds,
    mark_drift,
)
from loopwright.monitoring.events import WindowClosed, WindowFacts, WindowRestated, WindowSettled, WindowStarted
from loopwright.monitoring.incidents import raise_alert, resolve
from loopwright.monitoring.types import Alert, EvaluateWindow, Monitor, SpanPart, Window, WindowTask, served_variant
from loopwright.monitoring.watched import get
from loopwright.store.chunks import find, find_labels, id_ranges
from loopwright.store.timers import plans_next
from loopwright.store.tx import Tx
from loopwright.store.types import BlobRef, Job

HEALTHY_WINDOWS = 3
"""After so many windows that were judged and raised no alert of its kind an incident is resolved."""
MOST_PARTS = 672
"""Most windows of one span, two weeks of half hours; a monitor whose stretches hold more is refused."""
_HISTORY = 12
"""How many windows before one its judgement looks at."""


@verb("monitoring.close_window", changes=Window, internal=True, parts=SERVER_ALONE)
def close_window(tx: Tx, *, deployment: str, start_at: int, end_at: int) -> Job:
    """Start measuring a window that has ended, and plan its settling and the close of the next one."""
    job = _start_job(tx, get(tx, deployment=deployment), start_at, end_at, "closed")
    plan_after_close(tx, deployment=deployment, start_at=start_at, end_at=end_at)
    return job


@plans_next(close_window)
def plan_after_close(tx: Tx, *, deployment: str, start_at: int, end_at: int) -> None:
    """Plan the settling of a window and the close of the next one; of an earlier window than the newest, no close.

    The window in which an endpoint was retired is its last one, until a version of it serves again.
    """
    monitor = get(tx, deployment=deployment)
    if monitor.next_at is not None and monitor.next_at <= start_at:
        retired = serving.status(tx, deployment=deployment).retired
        is_last = retired is not None and retired.event_at < end_at
        moved = sql.save_monitor(tx, msgspec.structs.replace(monitor, next_at=None if is_last else end_at))
        if not is_last:
            plan_close(tx, moved, end_at)
    settles_at = end_at + max(monitor.spec.label_lag_us, monitor.spec.grace_us)
    key = f"monitoring.settle/{deployment}/{start_at}"
    tx.later(settles_at, key, settle_window, deployment=deployment, start_at=start_at, end_at=end_at)


def plan_close(tx: Tx, monitor: Monitor, start_at: int) -> None:
    """Plan the timer that closes the window beginning at ``start_at``, replacing the one planned before."""
    end_at, name = start_at + monitor.spec.every_us, monitor.deployment
    due_at, key = end_at + monitor.spec.grace_us, f"monitoring.close/{name}"
    tx.later(due_at, key, close_window, deployment=name, start_at=start_at, end_at=end_at)


@verb("monitoring.settle_window", changes=Window, internal=True, parts=SERVER_ALONE)
def settle_window(tx: Tx, *, deployment: str, start_at: int, end_at: int) -> Job:
    """Start measuring a window's performance again, now that its labels have matured."""
    return _start_job(tx, get(tx, deployment=deployment), start_at, end_at, "settled")


def _start_job(tx: Tx, monitor: Monitor, start_at: int, end_at: int, state: Literal["closed", "settled"]) -> Job:
    deployment, ref = monitor.deployment, tx.ref("deployment", monitor.deployment)
    job_id = f"window-{deployment}-{start_at}-{state}"
    job = tx.start_job(EvaluateWindow(deployment, start_at, end_at, state), ref, job_id=job_id)
    tx.emit(WindowStarted(deployment, start_at, end_at, state, job_id), ref)
    return job


@query("monitoring.window_task", internal=True)
def window_task(
    tx: Tx, *, deployment: str, start_at: int, end_at: int, state: Literal["closed", "settled"]
) -> WindowTask:
    """Return everything the job of a window needs, in one answer."""
    monitor = get(tx, deployment=deployment)
    since = max(end_at - max(monitor.spec.span_us, monitor.spec.over_us), monitor.reference_at)
    before = sql.list_windows(tx, deployment, start_at=since, end_at=start_at, limit=MOST_PARTS)
    predictions = find(tx, kind="predictions", stream=deployment, start_at=start_at, end_at=end_at)
    return WindowTask(
        monitor=monitor,
        start_at=start_at,
        end_at=end_at,
        state=state,
        predictions=predictions,
        labels=find_labels(tx, stream=deployment, ids=id_ranges(predictions), start_at=start_at),
        before=[_span_part(window, monitor) for window in reversed(before)],
        known=sql.find_window(tx, deployment, start_at),
        now_us=tx.now_us,
    )


def _span_part(window: Window, monitor: Monitor) -> SpanPart:
    made = {performance.variant: performance.predictions for performance in window.performance}
    # Profiles in the bins of another reference cannot be added to those in the present one's.
    profile = window.profile_digest if window.reference == monitor.reference else ""
    return SpanPart(window.start_at, profile, window.scores_digest, made)


@verb("monitoring.finish_window", changes=Window, internal=True)
def finish_window(tx: Tx, *, window: Window, blobs: list[BlobRef] = []) -> Window:  # noqa: B006 - never changed
    """Store a measured window, judge it, and record its alerts and incidents; the same state again only restates it.

    Args:
        window: What its job measured.
        blobs: Its stored profile and score rows.
    """
    monitor = get(tx, deployment=window.deployment)
    known = sql.find_window(tx, window.deployment, window.start_at)
    if known is not None and known.state == "settled" and window.state == "closed":
        return known  # a job of the close that was late must not undo what matured labels said
    before = sql.list_windows(tx, window.deployment, end_at=window.start_at, limit=_HISTORY)
    window = mark_drift(window, before, monitor.spec.persist)
    tx.keep_blobs(*blobs)
    sql.save_window(tx, window)
    # Judged once as it closes and once as it settles, and again only where there was too little to judge by: measuring
    # history again must not raise last year's alerts anew.
    closes = known is None or _gained(known, window)
    is_first = known is None or known.state == "closed"
    settles = window.state == "settled" and (is_first or (known is not None and _matured(known, window, monitor)))
    ref = tx.ref("deployment", window.deployment)
    if closes:
        tx.emit(_told(WindowClosed, window, monitor), ref)
        _judge(tx, window, before, monitor, CLOSE_KINDS, findings_on_close(window, before, monitor))
    if settles:
        tx.emit(_told(WindowSettled, window, monitor), ref)
        _judge(tx, window, before, monitor, SETTLE_KINDS, findings_on_settle(window, monitor))
    if not closes and not settles and known != window:
        tx.emit(_told(WindowRestated, window, monitor), ref)
    return window


def _gained(known: Window, window: Window) -> bool:
    """Say whether a window closed too empty to be judged, or before there was a reference, and no longer is."""
    lacked = known.predictions < LEAST_ROWS or not known.reference
    return lacked and (window.predictions, bool(window.reference)) > (known.predictions, bool(known.reference))


def _matured(known: Window, window: Window, monitor: Monitor) -> bool:
    """Say whether a window settled with too few labels to be judged, and no longer has."""
    served = served_variant(monitor)
    before, after = (
        sum(performance.labels for performance in each.span if performance.variant == served)
        for each in (known, window)
    )
    return any(before < limit.least_labels <= after for limit in decay_limits(monitor))


@query("monitoring.newest_windows")
def newest_windows(tx: Tx) -> list[Window]:
    """Return the newest window of every deployment that has one, by the deployment's name."""
    return sql.newest_windows(tx)


@query("monitoring.windows")
def list_windows(
    tx: Tx,
    *,
    deployment: str,
    start_at: int | str | None = None,
    end_at: int | str | None = None,
    state: Literal["closed", "settled"] | None = None,
    limit: int = 100,
) -> list[Window]:
    """Return windows that begin in ``[start_at, end_at)``, newest first."""
    begin = None if start_at is None else parse_moment(start_at, "start_at")
    end = None if end_at is None else parse_moment(end_at, "end_at")
    return sql.list_windows(tx, deployment, start_at=begin, end_at=end, state=state, limit=min(limit, 1000))


def oldest_closed(tx: Tx, *, deployment: str) -> int | None:
    """Return when the oldest window begins whose labels have not matured; None where there is none."""
    return sql.oldest_window(tx, deployment, "closed")


@query("monitoring.window")
def window(tx: Tx, *, deployment: str, start_at: int) -> Window:
    """Return one window by its start."""
    found = sql.find_window(tx, deployment, start_at)
    if found is None:
        raise NotFound(f"{deployment} has no such window", field="start_at", value=start_at)
    return found


def _judge(
    tx: Tx, window: Window, before: list[Window], monitor: Monitor, kinds: tuple[str, ...], findings: list[Finding]
) -> None:
    """Raise an alert for each finding, and resolve incidents of these kinds that were quiet for three judged windows.

    Windows in which a rule had too little to go by heal nothing.
    """
    subject = tx.ref("deployment", window.deployment)
    for finding in findings:
        raise_alert(
            tx,
            subject=subject,
            kind=finding.kind,
            message=finding.message,
            facts={**finding.facts, "start_at": window.start_at, "end_at": window.end_at},
            needs_person=finding.needs_person,
            severity=finding.severity,
            at=window.end_at,
            key=_alert_key(window, finding.kind),
        )
    firing = {finding.kind for finding in findings}
    line = [window, *before]
    for incident in sql.list_incidents(tx, states=sql.LIVE_STATES, subject=subject):
        if incident.kind not in kinds or incident.kind in firing:
            continue
        judged = [
            window
            for index, window in enumerate(line, 1)
            if window.end_at > incident.last_at and incident.kind in judged_kinds(window, line[index:], monitor)
        ]
        if len(judged) >= HEALTHY_WINDOWS and window in judged:
            reason = f"{HEALTHY_WINDOWS} healthy windows in a row"
            resolve(tx, incident_id=incident.incident_id, reason=reason, at=window.end_at)


def _alert_key(window: Window, kind: str) -> str:
    return f"{window.deployment}/{window.start_at}/{kind}"


def alert_of(tx: Tx, window: Window, kind: str) -> Alert | None:
    """Return the alert that a rule of this kind raised about a window; None if it found nothing."""
    return sql.find_alert_by_key(tx, _alert_key(window, kind))


def _told(kind: type[WindowFacts], window: Window, monitor: Monitor) -> WindowFacts:
    """Return what answers to a window need to know."""
    return kind(
        deployment=window.deployment,
        start_at=window.start_at,
        end_at=window.end_at,
        state=window.state,
        predictions=window.predictions,
        labels=window.labels,
        errors=window.errors,
        latency_p99_ms=window.latency_p99_ms,
        drifted=sorted(drift.feature for drift in window.drift if drift.is_drifted),
        beyond=sorted(drift.feature for drift in window.drift if is_beyond(drift)),
        span=window.span,
        model_version=window.model_version,
        held_out=monitor.metrics,
    )
