"""Is the loop healthy, and what needs me?

The page reads four lists and adds nothing to them: ``loop.attention`` says what needs a person, the stages what each
part of the loop holds, the deployments how they do, the events what changed. What calls for somebody is decided in
``loop/attention.py`` alone; here it only gets words, a link and its buttons.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from loopwright import loop, monitoring, serving
from loopwright.governance import audit
from loopwright.kernel.refs import parse_ref
from loopwright.loop import Need, NeedKind, RetrainRecord
from loopwright.monitoring import Window
from loopwright.serving import Deployment
from loopwright.ui.kit.actions import ACTIONS
from loopwright.ui.kit.addresses import page_of
from loopwright.ui.kit.asking import Ask
from loopwright.ui.kit.rendering import View, page
from loopwright.ui.kit.sentences import recent_changes
from loopwright.ui.kit.words import State, plural
from loopwright.ui.pages.loop.stages import loop_stages
from loopwright.ui.pages.serving.shapes import deployment_row

MOST_DEPLOYMENTS = 20
MOST_CHANGES = 15
MOST_READ = 300
MOST_NEEDS = 25
_URGENCY = ("bad", "warn", "live", "fine", "idle")
_QUIET = (
    "monitoring.window_",
    "monitoring.alert_fired",
    "tracking.",
    "pipelines.step_",
    "features.materialize",
    "data.import_started",
    "jobs.done",
)
"""Beginnings of event types that are told elsewhere, or matter only when they fail."""
_WORDS: dict[NeedKind, tuple[str, str, str]] = {
    "approval": ("waits", "approval", ""),
    "background": ("failing", "failing loop of the platform", "failing loops of the platform"),
    "blobs": ("out of use", "blob store out of use", "blob stores out of use"),
    "database": ("takes nothing", "database that cannot be written", "databases that cannot be written"),
    "disk": ("nearly full", "disk nearly full", "disks nearly full"),
    "feed": ("late", "late feed", ""),
    "fill": ("failed", "failed fill", ""),
    "gateway": ("in trouble", "gateway in trouble", "gateways in trouble"),
    "import": ("failed", "failed import", ""),
    "incident": ("", "incident", ""),
    "job": ("failed", "failed job", ""),
    "pipeline": ("failed", "failed pipeline", ""),
    "quarantine": ("quarantined", "quarantined version", ""),
    "release": ("failed", "failed release", ""),
    "worker": ("missing", "lane without a worker", "lanes without a worker"),
}
"""The state of each kind of need (an incident's is how severe it is), and how so many of them are called."""
_TONES = {"critical": "bad", "warning": "warn"}


class NeedRow(msgspec.Struct, frozen=True):
    """A need with its look, the page that tells more, and the answers that have a form.

    ``wall_us`` is since when on the wall clock, where the project's clock does not know.
    """

    need: Need
    state: State
    href: str
    actions: list[tuple[str, dict[str, Any]]]
    at_us: int | None
    wall_us: int | None


class Closing(msgspec.Struct, frozen=True):
    """When the loop last closed, trigger to promotion, and how long it took."""

    at_us: int | None
    took_us: int | None
    median_us: int | None
    times: int


def show_overview(ask: Ask) -> View:
    """Return the loop strip, what needs a person, the deployments and what changed last."""
    attention = ask.attention
    declared = ask(serving.list_deployments)
    newest = {window.deployment: window for window in ask(monitoring.newest_windows)}
    rows = [deployment_row(ask, name) for name in most_urgent(declared, newest, attention.needs, ask.project)]
    rows.sort(key=lambda row: _URGENCY.index(row.state.tone))
    retrains = ask(loop.list_retrains)
    events = ask(audit.list_events, limit=MOST_READ)
    facts = {
        "stages": loop_stages(ask, rows, newest, retrains),
        "closing": closing(retrains),
        "needs": [need_row(need, ask.project) for need in attention.needs[:MOST_NEEDS]],
        "needs_count": attention.total,
        "needs_words": needs_words(attention.by_kind),
        "deployments": rows,
        "deployments_count": len(declared),
        "changes": recent_changes(events, _QUIET, MOST_CHANGES, read=MOST_READ),
        "wall_us": ask.tx.wall_us,
    }
    return View("loop/overview.html", "Overview", "Overview", facts)


def most_urgent(
    declared: Sequence[Deployment], newest: dict[str, Window], needs: Sequence[Need], project: str
) -> list[str]:
    """Return the names of the deployments to show: every one is judged, by what is cheap to know of all.

    First those that something needs a person about, then those with the most drifted features, then by name.
    """
    called = {ref.name for need in needs if (ref := parse_ref(need.ref, project)).kind in ("deployment", "release")}

    def urgency(name: str) -> tuple[bool, int, str]:
        drifted = sum(drift.is_drifted for drift in newest[name].drift) if name in newest else 0
        return name not in called, -drifted, name

    return sorted((deployment.spec.name for deployment in declared), key=urgency)[:MOST_DEPLOYMENTS]


def need_row(need: Need, project: str) -> NeedRow:
    """Return a need as a row of the table."""
    word = _WORDS[need.kind][0] or need.severity
    return NeedRow(
        need=need,
        state=State(word, _TONES[need.severity]),
        href=page_of(need.shown_at, project),
        actions=[(answer.verb, answer.args) for answer in need.answers if answer.verb in ACTIONS],
        at_us=need.event_at,
        wall_us=need.recorded_at if need.event_at is None else None,
    )


def needs_words(by_kind: dict[str, int]) -> str:
    """Return how many needs there are of which kind, in a few words."""
    return " · ".join(plural(by_kind[kind], one, many) for kind, (_, one, many) in _WORDS.items() if kind in by_kind)


def closing(retrains: Sequence[RetrainRecord]) -> Closing:
    """Return when the loop last closed by itself or by a person, and how long that took as a rule."""
    promoted = [retrain_record for retrain_record in retrains if retrain_record.state == "promoted"]
    ended = [
        (retrain_record.finished_at, retrain_record.finished_at - retrain_record.event_at)
        for retrain_record in promoted
        if retrain_record.finished_at is not None
    ]
    if not ended:
        return Closing(None, None, None, 0)
    at_us, took_us = max(ended)
    took = sorted(duration for _, duration in ended)
    return Closing(at_us, took_us, took[len(took) // 2], len(took))


ROUTES = page("", show_overview)
