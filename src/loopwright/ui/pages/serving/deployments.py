"""What is serving, and is it safe to widen?"""

from collections.abc import Sequence

import msgspec

from loopwright import loop, monitoring, serving
from loopwright.governance import approvals, audit
from loopwright.monitoring import Window
from loopwright.serving import Rollout, StepVerdict
from loopwright.ui.kit.asking import Ask
from loopwright.ui.kit.rendering import View, page
from loopwright.ui.kit.sentences import recent_changes
from loopwright.ui.kit.words import State, month_of_year, state
from loopwright.ui.pages.serving.shapes import (
    MOST_RELEASES,
    deployment_row,
    live_rollout,
    quality_of,
    quality_series,
    release_marks,
    shares,
    step_words,
    windows_a_point,
)

MOST_WINDOWS = 400
MOST_SHOWN = 100
MOST_EVENTS = 25
MOST_READ = 300
_QUIET = ("monitoring.window_", "monitoring.alert_fired", "jobs.done")
"""Beginnings of event types that the page tells elsewhere, or an incident does."""


class StepRow(msgspec.Struct, frozen=True):
    """One step of a rollout: what it does, and whether it is behind, present or ahead."""

    number: int
    words: str
    state: State
    is_now: bool


class VerdictRow(msgspec.Struct, frozen=True):
    """One verdict with its look, and the axis on which its interval is drawn."""

    verdict: StepVerdict
    state: State
    bound: float


class MonthRow(msgspec.Struct, frozen=True):
    """Mean quality of each variant over the windows of one month."""

    month: str
    windows: int
    values: dict[str, float | None]


def show_deployments(ask: Ask) -> View:
    """Return the deployments of the project."""
    names = [deployment.name for deployment in ask(serving.list_deployments)]
    rows = [deployment_row(ask, name) for name in names[:MOST_SHOWN]]
    return View("serving/deployments.html", "Deployments", "Deployments", {"deployments": rows, "count": len(names)})


def show_deployment(ask: Ask) -> View:
    """Return traffic, rollout with its verdicts, what happened, and the quality of every variant."""
    name = ask.part("deployment")
    status = ask(serving.status, deployment=name)
    windows = ask(monitoring.list_windows, deployment=name, limit=MOST_WINDOWS)
    releases = ask(serving.list_releases, deployment=name, limit=MOST_RELEASES)
    live = live_rollout(status)
    shown = live or status.rollout
    subjects = [f"{ask.project}/{kind}:{name}" for kind in ("deployment", "monitor", "retrain_policy")]
    waiting = [one for subject in subjects for one in ask(approvals.list_approvals, state="waiting", subject=subject)]
    if live is not None:
        waiting += ask(approvals.list_approvals, state="waiting", subject=f"{ask.project}/rollout:{live.rollout_id}")
    events = ask(audit.list_events, ref=f"{ask.project}/deployment:{name}", limit=MOST_READ)
    series = quality_series(windows, releases)
    facts = {
        "deployment": status.deployment,
        "row": deployment_row(ask, name),
        "release": status.release,
        "retired": status.retired,
        "is_watched": ask.find(monitoring.get, deployment=name) is not None,
        "rollout": shown,
        "is_live": live is not None,
        "steps": [] if shown is None else step_rows(shown),
        "verdicts": [] if shown is None else verdict_rows(shown.verdicts),
        "approvals": waiting,
        "events": recent_changes(events, _QUIET, MOST_EVENTS, read=MOST_READ),
        "rollouts": ask(serving.list_rollouts, deployment=name, limit=20),
        "retrains": ask(loop.list_retrains, deployment=name)[:20],
        "months": month_rows(windows),
        "variants": list(dict.fromkeys(one.variant for window in windows for one in window.performance)),
        "windows_a_point": windows_a_point(windows),
        "metric": next((performance.metric for window in windows if (performance := quality_of(window))), ""),
    }
    extra = {"shares": shares(status.release), "series": series, "marks": release_marks(releases)}
    return View("serving/deployment.html", name, "Deployments", facts, extra)


def step_rows(rollout: Rollout) -> list[StepRow]:
    """Return the steps of a rollout, done, present and to come."""
    rows = []
    for index, step in enumerate(rollout.steps):
        is_now = index == rollout.step and rollout.state in ("running", "paused", "aborted")
        if index < rollout.step or rollout.state == "done":
            look = state("done")
        elif is_now:
            look = state(rollout.state)
        else:
            look = state("idle", "to come")
        rows.append(StepRow(index + 1, step_words(step), look, is_now))
    return rows


def verdict_rows(verdicts: Sequence[StepVerdict]) -> list[VerdictRow]:
    """Return verdicts with their looks; those on one metric share an axis."""
    rows = []
    for step_verdict in verdicts:
        same = [
            abs(end)
            for v in verdicts
            if v.metric == step_verdict.metric
            for end in (v.low, v.high, v.difference)
            if end is not None
        ]
        rows.append(VerdictRow(step_verdict, state(step_verdict.verdict), max(same, default=0.0) * 1.1))
    return rows


def month_rows(windows: Sequence[Window]) -> list[MonthRow]:
    """Return quality by month, newest first; the mean of a month's windows that have a value."""
    grouped: dict[str, list[Window]] = {}
    for window in windows:
        grouped.setdefault(month_of_year(window.start_at), []).append(window)
    return [MonthRow(name, len(group), _means(group)) for name, group in grouped.items()]


def _means(group: Sequence[Window]) -> dict[str, float | None]:
    found: dict[str, list[float]] = {}
    for performance in (one for window in group for one in window.performance):
        found.setdefault(performance.variant, []).extend([] if performance.value is None else [performance.value])
    return {variant: sum(values) / len(values) if values else None for variant, values in found.items()}


ROUTES = [*page("/deployments", show_deployments), *page("/deployments/{deployment}", show_deployment)]
