"""What moved, since when, and does it hurt?"""

import msgspec

from loopwright import monitoring, serving
from loopwright.monitoring import FeatureDrift, Performance, Window
from loopwright.serving import CANDIDATE
from loopwright.ui.kit.addresses import address
from loopwright.ui.kit.asking import Ask
from loopwright.ui.kit.rendering import Elsewhere, View, page
from loopwright.ui.kit.svg import Point, Series, heat_step
from loopwright.ui.kit.words import State, state
from loopwright.ui.pages.serving.shapes import (
    MOST_RELEASES,
    deployment_row,
    quality_of,
    quality_series,
    release_marks,
    windows_a_point,
)

SHOWN_WINDOWS = 28
MOST_WINDOWS = 400
WATCH_SHARE = 0.75
"""A feature within this share of its limit is worth a look."""


class HeatCell(msgspec.Struct, frozen=True):
    """Distance of one feature in one window, with its step 0..4; None where the window lacks the feature."""

    start_at: int
    distance: float | None
    step: int | None
    is_drifted: bool


class HeatRow(msgspec.Struct, frozen=True):
    """One feature over the shown windows, oldest left."""

    feature: str
    cells: list[HeatCell]
    now: FeatureDrift | None
    state: State


class SegmentRow(msgspec.Struct, frozen=True):
    """Quality of one cohort of rows over the newest span."""

    segment: str
    performance: Performance


def show_monitors(ask: Ask) -> View | Elsewhere:
    """Return the watched deployments; the only one is shown at once."""
    found = ask(monitoring.list_monitors)
    if len(found) == 1:
        return Elsewhere(address(ask.project, "monitoring", found[0].deployment))
    rows = [deployment_row(ask, monitor.deployment) for monitor in found[:100]]
    return View("serving/deployments.html", "Monitoring", "Monitoring", {"deployments": rows, "count": len(found)})


def show_monitor(ask: Ask) -> View:
    """Return the heat map of drift, quality over time, segments and value of one deployment."""
    name = ask.part("deployment")
    monitor = ask(monitoring.get, deployment=name)
    before = ask.asked_number("before")
    windows = ask(monitoring.list_windows, deployment=name, end_at=before, limit=MOST_WINDOWS)
    shown = windows[:SHOWN_WINDOWS]
    newest = shown[0] if shown else None
    spans = [
        window
        for window in windows
        if any(part.value is not None for listed in window.segments.values() for part in listed)
    ]
    segments = [
        SegmentRow(segment, one)
        for segment, listed in (spans[0].segments if spans else {}).items()
        for one in listed
        if one.variant in ("champion", "external")
    ]
    segments.sort(key=lambda row: (row.performance.value is None, row.performance.value or 0.0, row.segment))
    releases = ask(serving.list_releases, deployment=name, limit=MOST_RELEASES)
    series = quality_series(windows, releases)
    facts = {
        "monitor": monitor,
        "deployment": name,
        "windows": shown,
        "heat": heat_rows(shown, monitor.spec.above),
        "segments": segments[:100],
        "segments_at": spans[0].end_at if spans else None,
        "variants": [one.name for one in series],
        "candidates": [one.name for one in series if one.name.startswith(CANDIDATE)],
        "windows_a_point": windows_a_point(windows),
        "metric": next(
            (performance.metric for window in windows if (performance := quality_of(window))), monitor.spec.performance
        ),
        "expected": monitor.metrics.get(monitor.spec.performance),
        "value": _total_value(windows),
        "incidents": ask(monitoring.list_incidents, subject=f"{ask.project}/deployment:{name}", limit=20),
        "before": before,
        "next": shown[-1].start_at if len(windows) > SHOWN_WINDOWS else None,
        "newest": newest,
        "current": None if before else ask(monitoring.current_window, deployment=name),
    }
    extra = {
        "series": series,
        "marks": release_marks(releases),
        "value_series": [Series("value", 3, _values(windows))],
    }
    return View("monitoring/monitor.html", f"{name} monitoring", "Monitoring", facts, extra)


def heat_rows(windows: list[Window], above: float) -> list[HeatRow]:
    """Return the features of the shown windows, those that drift first, then by their newest distance."""
    by_window = [{drift.feature: drift for drift in window.drift} for window in windows]
    features = list(dict.fromkeys(name for drifts in by_window for name in drifts))
    rows = []
    for feature in features:
        cells = []
        for window, drifts in zip(reversed(windows), reversed(by_window), strict=True):
            one = drifts.get(feature)
            limit = one.above or above if one else above
            distance = one.distance if one else None
            cells.append(HeatCell(window.start_at, distance, heat_step(distance, limit), bool(one and one.is_drifted)))
        now = by_window[0].get(feature) if by_window else None
        rows.append(HeatRow(feature, cells, now, _drift_state(now, above)))
    rows.sort(
        key=lambda row: (row.now is None or not row.now.is_drifted, -(row.now.distance if row.now else -1), row.feature)
    )
    return rows


def _drift_state(now: FeatureDrift | None, above: float) -> State:
    if now is None:
        return state(None)
    if now.is_drifted:
        return state("drift")
    return state("watch") if now.distance >= WATCH_SHARE * (now.above or above) else state("stable")


def _values(windows: list[Window]) -> list[Point]:
    points = []
    for window in reversed(windows):
        performance = quality_of(window)
        points.append(
            Point((window.start_at + window.end_at) / 2, None if performance is None else performance.value_sum)
        )
    return points


def _total_value(windows: list[Window]) -> float | None:
    sums = [
        performance.value_sum
        for window in windows
        if (performance := quality_of(window)) and performance.value_sum is not None
    ]
    return sum(sums) if sums else None


def show_window(ask: Ask) -> View:
    """Return one window: every feature and every variant with the numbers behind the colours."""
    name, start_at = ask.part("deployment"), ask.part_number("start_at")
    window = ask(monitoring.window, deployment=name, start_at=start_at)
    drift = sorted(window.drift, key=lambda drift: (not drift.is_drifted, -drift.distance))
    return View(
        "monitoring/window.html", f"{name} window", "Monitoring", {"window": window, "drift": drift, "deployment": name}
    )


ROUTES = [
    *page("/monitoring", show_monitors),
    *page("/monitoring/{deployment}/{start_at}", show_window),
    *page("/monitoring/{deployment}", show_monitor),
]
