"""Rules of alerts: pure functions of a window, those before it and the monitor.

They ask for size of effect and for persistence or certainty, never for one alone.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from loopwright.monitoring.types import DecayLimit, FeatureDrift, Monitor, Performance, Window, served_variant
from loopwright.registry import LOWER_IS_BETTER

LEAST_ROWS = 100
"""Fewer rows judge nothing: of the stretch for drift and missing values, of the window for errors and latency."""
LEAST_LABELS = 200
"""A span with fewer labels says nothing about decay, where no policy says how many are enough."""
MISSING_RISE = 0.2
"""Rise of a feature's missing share over the reference's that calls for a person."""
ERROR_SHARE = 0.01
"""Share of failed predictions that calls for a person, once it is certain (two standard errors)."""
LATENCY_FACTOR, LATENCY_FLOOR_MS, LATENCY_WINDOWS = 5.0, 250.0, 7

CLOSE_KINDS = ("drift", "missing", "errors", "latency")
SETTLE_KINDS = ("decay",)


class Finding(msgspec.Struct, frozen=True):
    """One rule that fires."""

    kind: str
    message: str
    facts: dict[str, Any]
    needs_person: bool
    severity: Literal["warning", "critical"] = "warning"


def mark_drift(window: Window, before: Sequence[Window], persist: int) -> Window:
    """Return the window with ``is_drifted`` set where a feature was beyond in ``persist`` windows in a row.

    Args:
        window: Just measured.
        before: Earlier windows, newest first; those against another reference do not count.
        persist: How many windows in a row.
    """
    alike = [{drift.feature: drift for drift in other.drift} for other in _alike(window, before, persist)]
    drift = [
        msgspec.structs.replace(
            drift,
            is_drifted=len(alike) == persist - 1
            and is_beyond(drift)
            and all(is_beyond(other.get(drift.feature)) for other in alike),
        )
        for drift in window.drift
    ]
    return msgspec.structs.replace(window, drift=drift)


def _alike(window: Window, before: Sequence[Window], persist: int) -> list[Window]:
    """Return the windows before, against the same reference, that drift must have lasted through."""
    return [other for other in before if other.reference == window.reference][: persist - 1]


def is_beyond(one: FeatureDrift | None) -> bool:
    """Say whether a distance counts as drift in its window."""
    return one is not None and one.rows >= LEAST_ROWS and one.distance > one.above


def judged_kinds(window: Window, before: Sequence[Window], monitor: Monitor) -> set[str]:
    """Return the kinds whose rules had enough to go by in a window; of others, silence is no sign of health."""
    found = set() if _served(window, monitor) is None or window.state != "settled" else {"decay"}
    if not window.predictions:
        return found
    persist = monitor.spec.persist
    if window.predictions >= LEAST_ROWS:
        found.add("errors")
        if _latency_limit(window, before, monitor) is not None:
            found.add("latency")
    for kind, earlier in (("drift", _alike(window, before, persist)), ("missing", before[: persist - 1])):
        if len(earlier) == persist - 1 and all(_is_compared(one) for one in (window, *earlier)):
            found.add(kind)
    return found


def _is_compared(window: Window) -> bool:
    return any(drift.rows >= LEAST_ROWS for drift in window.drift)


def findings_on_close(window: Window, before: Sequence[Window], monitor: Monitor) -> list[Finding]:
    """Return what predictions alone say: drift and missing values over the stretch, errors and latency in the window.

    A window without predictions says nothing, however far the stretch before it was off.
    """
    if not window.predictions:
        return []
    rules = [_drift(window, monitor), _missing(window, before, monitor)]
    if window.predictions >= LEAST_ROWS:
        rules += [_errors(window), _latency(window, before, monitor)]
    return [finding for finding in rules if finding is not None]


def findings_on_settle(window: Window, monitor: Monitor) -> list[Finding]:
    """Return what the matured labels say: decay of the served variant over the span."""
    served = _served(window, monitor)
    if served is None:
        return []
    expected = monitor.metrics[monitor.spec.performance]
    judging = [limit for limit in decay_limits(monitor) if served.labels >= limit.least_labels]
    allowed = [_worst_allowed(served.metric, expected, limit) for limit in judging]
    limit = next((limit for limit in allowed if _is_worse(served, limit)), None)
    if limit is None:
        return []
    facts = {"metric": served.metric, "value": served.value, "low": served.low, "high": served.high}
    message = f"{served.metric} {served.value:.3f} on {served.labels} matured labels, held out {expected:.3f}"
    return [
        Finding(
            "decay",
            message,
            {**facts, "labels": served.labels, "expected": expected, "limit": limit},
            needs_person=monitor.policy is None or not monitor.policy.decay,
        )
    ]


def decay_limits(monitor: Monitor) -> list[DecayLimit]:
    """Return what decay is judged by: the limits of the retrain policy that answers it, else the monitor's own."""
    if monitor.policy is not None and monitor.policy.decay:
        return monitor.policy.decay
    is_share = monitor.spec.performance in LOWER_IS_BETTER
    return [DecayLimit(monitor.spec.decay, LEAST_LABELS, is_share)]


def least_labels(monitor: Monitor) -> int:
    """Return from how many matured labels on decay is judged."""
    return min(limit.least_labels for limit in decay_limits(monitor))


def _served(window: Window, monitor: Monitor) -> Performance | None:
    """Return the quality of the served variant over the span, if it can be compared with what was held out."""
    served = next((performance for performance in window.span if performance.variant == served_variant(monitor)), None)
    if served is None or served.value is None or served.labels < least_labels(monitor):
        return None
    return served if monitor.spec.performance in monitor.metrics else None


def _worst_allowed(metric: str, expected: float, limit: DecayLimit) -> float:
    """Return the value beyond which quality has decayed."""
    by = limit.by * abs(expected) if limit.is_share else limit.by
    return expected + by if metric in LOWER_IS_BETTER else expected - by


def _is_worse(performance: Performance, limit: float) -> bool:
    """Say whether even the better end of the interval is worse than the limit."""
    if performance.metric in LOWER_IS_BETTER:
        return performance.low is not None and performance.low > limit
    return performance.high is not None and performance.high < limit


def _drift(window: Window, monitor: Monitor) -> Finding | None:
    drifted = sorted((drift for drift in window.drift if drift.is_drifted), key=lambda one: -one.distance)
    if not drifted:
        return None
    names = ", ".join(drift.feature for drift in drifted[:5])
    noun = "feature drifts" if len(drifted) == 1 else "features drift"
    facts = {drift.feature: {"distance": drift.distance, "above": drift.above} for drift in drifted}
    return Finding(
        "drift",
        f"{len(drifted)} {noun}: {names}",
        {"metric": monitor.spec.drift, "features": facts},
        needs_person=monitor.policy is None or not monitor.policy.drift,
    )


def _missing(window: Window, before: Sequence[Window], monitor: Monitor) -> Finding | None:
    def risen(window: Window) -> set[str]:
        enough = (f for f in window.drift if f.rows >= LEAST_ROWS)
        return {f.feature for f in enough if f.missing - f.reference_missing > MISSING_RISE}

    stretch = [window, *before[: monitor.spec.persist - 1]]
    names = sorted(set.intersection(*(risen(window) for window in stretch)))
    if not names or len(stretch) < monitor.spec.persist:
        return None
    shares = {drift.feature: drift.missing for drift in window.drift if drift.feature in names}
    shown = ", ".join(f"{name} ({shares[name]:.0%})" for name in names[:5])
    return Finding("missing", f"values are missing: {shown}", {"features": shares}, needs_person=True)


def _errors(window: Window) -> Finding | None:
    share = window.errors / window.predictions
    error = (share * (1 - share) / window.predictions) ** 0.5
    if share - 2 * error <= ERROR_SHARE:
        return None
    message = f"{window.errors} of {window.predictions} predictions failed"
    facts = {"errors": window.errors, "predictions": window.predictions}
    return Finding("errors", message, facts, needs_person=True, severity="critical")


def _latency(window: Window, before: Sequence[Window], monitor: Monitor) -> Finding | None:
    limit = _latency_limit(window, before, monitor)
    recent = [window, *before[: monitor.spec.persist - 1]]
    if limit is None or not all(
        window.latency_p99_ms is not None and window.latency_p99_ms > limit for window in recent
    ):
        return None
    message = f"1 answer of 100 takes longer than {window.latency_p99_ms:.0f} ms, limit {limit:.0f} ms"
    return Finding("latency", message, {"p99_ms": window.latency_p99_ms, "limit_ms": limit}, needs_person=True)


def _latency_limit(window: Window, before: Sequence[Window], monitor: Monitor) -> float | None:
    """Return what is too long by what is usual; None where a latency, or what is usual, is not known."""
    earlier = before[monitor.spec.persist - 1 :][:LATENCY_WINDOWS]
    usual = sorted(window.latency_p99_ms for window in earlier if window.latency_p99_ms is not None)
    if len(usual) < LATENCY_WINDOWS or window.latency_p99_ms is None:
        return None
    return max(LATENCY_FLOOR_MS, LATENCY_FACTOR * usual[len(usual) // 2])
