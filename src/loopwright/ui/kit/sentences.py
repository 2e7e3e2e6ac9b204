"""Events as plain sentences: who did what to which ref, and why."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from loopwright.kernel.events import Event
from loopwright.ui.kit.addresses import name_of, page_of
from loopwright.ui.kit.words import number, percent


class Sentence(msgspec.Struct, frozen=True):
    """One event as people read it. ``topic`` is its room, ``subject`` the name that links to ``href``.

    ``times`` counts the events in a row that read the same; ``first_us`` is when the oldest of them happened. There may
    be more where ``is_cut``.
    """

    position: int
    at_us: int
    recorded_at: int
    topic: str
    type: str
    text: str
    subject: str
    href: str
    ref: str
    actor: str
    reason: str
    times: int = 1
    first_us: int = 0
    is_cut: bool = False


_TEXTS = {
    "approvals.asked": "approval asked: {question}",
    "approvals.approved": "approved",
    "approvals.rejected": "rejected",
    "approvals.withdrawn": "question withdrawn",
    "data.declared": "declared",
    "data.import_started": "{operation} started",
    "data.import_unchanged": "import brought nothing new",
    "data.import_failed": "import failed",
    "data.version_ready": "ready, {rows_added} rows added, {rows} in all",
    "data.version_quarantined": "quarantined, a check failed",
    "data.diff_started": "comparison of v{before} and v{after} started",
    "features.plan_frozen": "plan frozen",
    "features.training_set_recorded": "training set frozen, {rows} rows",
    "features.materialized": "online store filled, {rows} rows",
    "jobs.retried": "job {kind} started again",
    "loop.applied": "project applied",
    "loop.reaction_failed": "reaction {rule} failed",
    "loop.retrain_started": "retrain started, cause {cause}",
    "loop.retrain_changed": "retrain {state}",
    "loop.timer_failed": "timer {verb} failed",
    "monitoring.alert_fired": "alert: {message}",
    "monitoring.declared": "monitor declared",
    "monitoring.incident_acknowledged": "incident acknowledged",
    "monitoring.incident_opened": "incident opened: {title}",
    "monitoring.incident_reopened": "incident reopened",
    "monitoring.incident_resolved": "incident resolved",
    "monitoring.opened": "windows opened",
    "monitoring.reference_set": "compared with version {model_version} from now on",
    "monitoring.window_closed": "window closed, {predictions} predictions",
    "monitoring.window_settled": "window settled, {labels} labels",
    "pipelines.failed": "execution failed",
    "pipelines.finished": "execution finished",
    "pipelines.started": "execution started",
    "pipelines.step_finished": "step {step} finished",
    "projects.created": "project created, {clock} clock",
    "registry.alias_removed": "alias {alias} removed",
    "registry.alias_set": "is now {alias}",
    "registry.gates_recorded": "gates judged",
    "registry.registered": "registered",
    "serving.declared": "deployment declared",
    "serving.release_failed": "release {number} could not be loaded, the one before serves on",
    "serving.rolled_back": "rolled back to v{version} from v{left}",
    "serving.rollout_aborted": "rollout of v{version} aborted",
    "serving.rollout_finished": "rollout finished, v{version} serves",
    "serving.rollout_paused": "rollout of v{version} paused",
    "serving.rollout_resumed": "rollout of v{version} goes on",
    "serving.rollout_started": "rollout of v{version} began",
    "serving.rollout_step_judged": "v{version} step judged",
    "serving.rollout_step_started": "v{version} began its next step",
    "tokens.created": "token for {actor} created, {role}",
    "tokens.revoked": "token revoked",
    "tracking.artifact_logged": "artifact {path} logged",
    "tracking.run_failed": "run failed",
    "tracking.run_finished": "run finished",
    "tracking.run_killed": "run killed",
    "tracking.run_started": "run started in {experiment}",
    "tracking.tags_set": "tags set",
}


def sentence(event: Event) -> Sentence:
    """Return an event as a sentence; a type without words of its own reads as its name."""
    return Sentence(
        position=event.position,
        at_us=event.event_at,
        recorded_at=event.recorded_at,
        topic=event.type.partition(".")[0],
        type=event.type,
        text=_text(event),
        subject=name_of(event.ref, event.project),
        href=page_of(event.ref, event.project),
        ref=event.ref,
        actor=event.actor,
        reason=event.reason,
    )


def recent_changes(events: Sequence[Event], quiet: tuple[str, ...], most: int, *, read: int) -> list[Sentence]:
    """Return events as at most ``most`` sentences, newest first; what is told again and again in a row is told once.

    Args:
        events: Newest first.
        quiet: Beginnings of the types that are left out.
        most: How many sentences.
        read: How many events were asked for at most.
    """
    told: list[Sentence] = []
    for one in (sentence(event) for event in events if not event.type.startswith(quiet)):
        if told and _what(told[-1]) == _what(one):
            told[-1] = msgspec.structs.replace(told[-1], times=told[-1].times + 1, first_us=one.at_us)
        elif len(told) == most:
            return told
        else:
            told.append(one)
    if told and len(events) >= read:
        told[-1] = msgspec.structs.replace(told[-1], is_cut=True)
    return told


def _what(one: Sentence) -> tuple[str, ...]:
    """Return what two sentences share that are told as one; each look at a rollout gives its own figures as reason."""
    reason = "" if one.type == "serving.rollout_step_judged" else one.reason
    return one.type, one.ref, one.text, one.actor, reason


def _text(event: Event) -> str:
    if event.type == "serving.released":
        return "now " + traffic_words(event.payload.get("variants") or [])
    template = _TEXTS.get(event.type)
    if template is None:
        return event.type.partition(".")[2].replace("_", " ")
    facts: defaultdict[str, Any] = defaultdict(lambda: "–")
    for name, value in event.payload.items():
        facts[name] = number(value) if type(value) in (int, float) and name in _COUNTS else str(value)
    return template.format_map(facts)


_COUNTS = {"rows", "rows_added", "predictions", "labels"}


def traffic_words(variants: list[dict[str, Any]]) -> str:
    """Return who serves what share, as in ``v16 90 %, v17 10 %, v2 unseen``."""
    parts = []
    for variant in variants:
        share = "unseen" if variant.get("is_shadow") else percent(variant.get("weight"))
        parts.append(f"v{variant.get('version', '–')} {share}")
    return ", ".join(parts) or "nothing"
