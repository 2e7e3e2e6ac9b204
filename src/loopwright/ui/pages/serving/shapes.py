"""Shapes of deployments that several pages show: who serves what, quality over windows."""

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from loopwright import monitoring, serving
from loopwright.monitoring import Performance, Window
from loopwright.serving import CANDIDATE, CanaryStep, DeploymentStatus, Release, Rollout, RolloutStep, ShadowStep
from loopwright.ui.kit.asking import Ask
from loopwright.ui.kit.svg import Mark, Point, Series, Share
from loopwright.ui.kit.words import State, span, state

CHAMPIONS = ("champion", "external")
"""Names of the variant that callers were answered by."""
MOST_RELEASES = 400
"""Releases that a chart looks back on."""
MOST_POINTS = 60
"""Points of a line of quality; more of them hide its course."""
COLOURS = 6
"""Colours of lines, ``s1`` to ``s6``."""
MOST_STEADY = 4
"""Lines that run all the way; more of them hide each other."""
_COLOURS = {"champion": 1, "external": 1, "candidate": 2}


class DeploymentRow(msgspec.Struct, frozen=True):
    """One deployment in a list: what it serves, how it does, with the windows behind the numbers, newest last.

    ``quality`` is that of the last window whose labels are complete; ``is_provisional`` where there is none yet and it
    is that of a window whose labels still come. ``quality_at`` and ``window_at`` are the ends of their windows.
    """

    name: str
    model: str
    state: State
    serving: str
    rollout: str | None
    released_at: int | None
    version: int | None
    predictions: int | None
    latency_p99_ms: float | None
    errors: int | None
    drifted: int | None
    worst_drift: float | None
    metric: str
    quality: float | None
    quality_at: int | None
    is_provisional: bool
    qualities: list[float | None]
    window_at: int | None
    is_external: bool


def variant_colour(name: str) -> int:
    """Return the colour of a variant, the same on every page."""
    return _COLOURS.get(name) or 3 + sum(name.encode()) % 2


def shares(release: Release | None) -> list[Share]:
    """Return the parts of a release's traffic bar."""
    variants = [] if release is None else release.variants
    return [Share(f"v{v.version}", v.name, v.weight, variant_colour(v.name)) for v in variants if not v.is_shadow]


def serving_words(status: DeploymentStatus) -> str:
    """Return who serves what share, in a few words."""
    if status.deployment.spec.is_external:
        return "served elsewhere"
    if status.release is None:
        return "nothing yet" if status.retired is None else "nothing any more"
    parts = [f"v{v.version} {round(v.weight * 100)} %" for v in status.release.variants if v.weight > 0]
    unseen = [f"v{v.version}" for v in status.release.variants if v.is_shadow]
    return " · ".join(parts) + (f" · unseen {', '.join(unseen)}" if unseen else "")


def step_words(step: RolloutStep) -> str:
    """Return a rollout step in a few words."""
    if isinstance(step, ShadowStep):
        return f"shadow {span(step.hold_us)}"
    assert isinstance(step, CanaryStep)
    return f"{round(step.weight * 100)} % for {span(step.hold_us)}"


def rollout_words(rollout: Rollout) -> str:
    """Return where a live rollout stands."""
    if rollout.state == "waiting_approval":
        return f"v{rollout.version} waits for approval"
    if 0 <= rollout.step < len(rollout.steps):
        words = step_words(rollout.steps[rollout.step])
        return f"v{rollout.version} {words}" + (", paused" if rollout.state == "paused" else "")
    return f"v{rollout.version} rolls out"


def live_rollout(status: DeploymentStatus) -> Rollout | None:
    """Return the rollout that is under way, if any."""
    rollout = status.rollout
    return rollout if rollout is not None and rollout.is_live else None


def deployment_state(status: DeploymentStatus, windows: Sequence[Window]) -> State:
    """Return how a deployment stands: a rollout is told first, then drift, else it serves."""
    rollout = live_rollout(status)
    if rollout is not None and rollout.state != "running":
        return State(rollout_words(rollout), "warn")
    if windows and (drifted := sum(drift.is_drifted for drift in windows[0].drift)):
        return State(f"{drifted} drifted", "warn")
    if rollout is not None:
        return State(rollout_words(rollout), "live")
    if status.release is None and not status.deployment.spec.is_external:
        return state("idle", "not released" if status.retired is None else "retired")
    return state("serving")


def quality_of(window: Window, variants: Sequence[str] = CHAMPIONS) -> Performance | None:
    """Return a window's quality of the variant that answers."""
    return next((performance for performance in window.performance if performance.variant in variants), None)


def settled_value(window: Window) -> float | None:
    """Return a window's quality once its labels are complete: before, it is that of the labels that came first."""
    quality = quality_of(window) if window.state == "settled" else None
    return None if quality is None else quality.value


def newest_quality(windows: Sequence[Window]) -> tuple[Window | None, bool]:
    """Return the window whose quality is told, and whether that is provisional.

    Labels that come early are no sample of those that come late, so a window that is only closed tells too little; it
    is used where no window has settled.

    Args:
        windows: Newest first.
    """
    known = [
        window
        for window in windows
        if (performance := quality_of(window)) is not None and performance.value is not None
    ]
    settled = next((window for window in known if window.state == "settled"), None)
    return (settled, False) if settled is not None else (known[0], True) if known else (None, False)


def deployment_row(ask: Ask, name: str) -> DeploymentRow:
    """Return one deployment with its last windows."""
    status = ask(serving.status, deployment=name)
    windows = ask(monitoring.list_windows, deployment=name, limit=30)
    newest = windows[0] if windows else None
    told, is_provisional = newest_quality(windows)
    quality = None if told is None else quality_of(told)
    live = live_rollout(status)
    return DeploymentRow(
        name=name,
        model=status.deployment.spec.model,
        state=deployment_state(status, windows),
        serving=serving_words(status),
        rollout=None if live is None else live.state,
        released_at=None if status.release is None else status.release.event_at,
        version=status.champion,
        predictions=None if newest is None else newest.predictions,
        latency_p99_ms=None if newest is None else newest.latency_p99_ms,
        errors=None if newest is None else newest.errors,
        drifted=None if newest is None else sum(drift.is_drifted for drift in newest.drift),
        worst_drift=max((drift.distance for drift in newest.drift), default=None) if newest else None,
        metric="" if quality is None else quality.metric,
        quality=None if quality is None else quality.value,
        quality_at=None if told is None else told.end_at,
        is_provisional=is_provisional,
        qualities=[settled_value(window) for window in reversed(windows)],
        window_at=None if newest is None else newest.end_at,
        is_external=status.deployment.spec.is_external,
    )


def windows_a_point(windows: Sequence[Window]) -> int:
    """Return how many windows one point of a chart stands for."""
    return max(1, -(-len(windows) // MOST_POINTS))


def quality_series(windows: Sequence[Window], releases: Sequence[Release]) -> list[Series]:
    """Return quality over time, oldest first: one line a variant, and of candidates one a version.

    The variant that answers comes first, with its band. Where one point stands for several windows it is their mean,
    and the band is that of the mean: rows of different windows are taken as independent, so squared half-widths add up.

    Args:
        windows: Newest first.
        releases: Newest first; they say which version was the candidate of a window.
    """
    oldest_first = [_with_candidate_named(window, releases) for window in reversed(windows)]
    names = list(dict.fromkeys(one.variant for window in oldest_first for one in window.performance))
    candidates = [name for name in names if name.startswith(CANDIDATE)]
    steady = sorted(set(names) - set(candidates), key=lambda name: (name not in CHAMPIONS, name))[:MOST_STEADY]
    left = range(len(steady) + 1, COLOURS + 1)
    colours = {name: index + 1 for index, name in enumerate(steady)}
    colours |= {name: left[index % len(left)] for index, name in enumerate(candidates)}
    width = windows_a_point(windows)
    groups = [oldest_first[start : start + width] for start in range(0, len(oldest_first), width)]
    return [
        Series(name, colour, [_point(group, name, has_band=colour == 1) for group in groups])
        for name, colour in colours.items()
    ]


def _with_candidate_named(window: Window, releases: Sequence[Release]) -> Window:
    """Return a window whose candidate is called by the version that it was then."""
    begun = (release for release in releases if release.event_at < window.end_at)
    version = next((one.version for release in begun for one in release.variants if one.name == CANDIDATE), None)
    if version is None:
        return window
    performance = [
        msgspec.structs.replace(performance, variant=f"{CANDIDATE} v{version}")
        if performance.variant == CANDIDATE
        else performance
        for performance in window.performance
    ]
    return msgspec.structs.replace(window, performance=performance)


def _point(group: Sequence[Window], name: str, *, has_band: bool) -> Point:
    found = [one for window in group if (one := quality_of(window, (name,))) is not None and one.value is not None]
    middle = (group[0].start_at + group[-1].end_at) / 2
    value = _mean([performance.value for performance in found])
    low, high = _bounds_of_mean(found) if has_band else (None, None)
    return Point(middle, value, low, high)


def _bounds_of_mean(found: Sequence[Performance]) -> tuple[float | None, float | None]:
    """Return the 95 % bounds of the mean of several windows' values; unknown where a window's own are."""
    value = _mean([performance.value for performance in found])
    below = [
        performance.value - performance.low
        for performance in found
        if performance.value is not None and performance.low is not None
    ]
    above = [
        performance.high - performance.value
        for performance in found
        if performance.value is not None and performance.high is not None
    ]
    if value is None or len(below) < len(found) or len(above) < len(found):
        return None, None
    low, high = (math.sqrt(sum(part**2 for part in parts)) / len(found) for parts in (below, above))
    return value - low, value + high


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def release_marks(releases: Sequence[Release]) -> list[Mark]:
    """Return the moments at which another version became champion."""
    marks: list[Mark] = []
    before: Any = None
    for release in reversed(releases):
        champion = next((variant.version for variant in release.variants if variant.name == "champion"), None)
        if champion is not None and before is not None and champion != before:
            marks.append(Mark(release.event_at, f"v{champion}"))
        before = champion
    return marks
