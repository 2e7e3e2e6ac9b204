"""Is the loop healthy, and what needs me?"""

from typing import Any

import msgspec

from loopwright import data, features, loop, monitoring, pipelines, registry, serving, tracking
from loopwright.data import Dataset
from loopwright.governance import Approval, approvals, audit
from loopwright.loop import RetrainRecord
from loopwright.monitoring import Incident
from loopwright.registry import Model
from loopwright.ui.kit.addresses import address, page_of
from loopwright.ui.kit.asking import Ask
from loopwright.ui.kit.rendering import View, page
from loopwright.ui.kit.sentences import recent_changes
from loopwright.ui.kit.words import State, number, percent, plural, state
from loopwright.ui.pages.serving.shapes import DeploymentRow, deployment_row

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


class Stage(msgspec.Struct, frozen=True):
    """One of the seven stages of the loop: what it holds now, in which state, since when."""

    name: str
    subject: str
    state: State
    detail: str
    at_us: int | None
    href: str


class Need(msgspec.Struct, frozen=True):
    """Something that waits for a person, with the verbs that answer it."""

    state: State
    kind: str
    what: str
    ref: str
    href: str
    at_us: int
    next_step: str
    verbs: list[str]
    args: dict[str, Any]


class Closing(msgspec.Struct, frozen=True):
    """When the loop last closed, trigger to promotion, and how long it took."""

    at_us: int | None
    took_us: int | None
    median_us: int | None
    times: int


def show_overview(ask: Ask) -> View:
    """Return the loop strip, what needs a person, the deployments and what changed last."""
    names = [one.name for one in ask(serving.list_deployments)]
    rows = [deployment_row(ask, name) for name in names[:MOST_DEPLOYMENTS]]
    rows.sort(key=lambda row: _URGENCY.index(row.state.tone))
    states = ["open", "acknowledged"]
    incidents = ask(monitoring.incidents, states=states, needs_person=True)
    datasets = ask(data.list_datasets)
    retrains = ask(loop.list_retrains)
    executions = ask(pipelines.list_executions, limit=20)
    waiting = ask(approvals.list_approvals, state="waiting")
    stages = [
        _data_stage(ask, datasets),
        _features_stage(ask),
        _training_stage(ask, executions),
        _gates_stage(ask),
        _deployment_stage(ask, rows),
        _monitoring_stage(ask, rows, incidents),
        _feedback_stage(ask, rows, retrains),
    ]
    quarantines, failures = _quarantine_needs(ask, datasets), _execution_needs(ask, executions)
    told, called = {need.ref for need in quarantines}, {one.subject for one in incidents}
    needs = [need for need in _incident_needs(ask, incidents) if need.ref not in told]
    needs += [*_approval_needs(ask, waiting), *quarantines, *failures]
    counted = {
        "incident": len(incidents),
        "approval": len(waiting),
        "quarantined version": sum(need.ref not in called for need in quarantines),
        "failed pipeline": len(failures),
    }
    needs.sort(key=lambda need: _URGENCY.index(need.state.tone))
    facts = {
        "stages": stages,
        "closing": _closing(retrains),
        "needs": needs[:MOST_NEEDS],
        "needs_count": len(needs),
        "needs_words": " · ".join(plural(count, noun) for noun, count in counted.items() if count),
        "deployments": rows,
        "deployments_count": len(names),
        "changes": recent_changes(ask(audit.list_events, limit=MOST_READ), _QUIET, MOST_CHANGES, read=MOST_READ),
    }
    return View("loop/overview.html", "Overview", "Overview", facts)


def _data_stage(ask: Ask, datasets: list[Dataset]) -> Stage:
    href = address(ask.project, "data")
    if not datasets:
        return Stage("Data", "no dataset", state("idle", "empty"), "loopwright apply declares one", None, href)
    held = [one for one in datasets if one.latest_state == "quarantined"]
    shown = held[0] if held else max(datasets, key=lambda one: one.changed_at)
    version = ask.find(data.get_version, dataset=shown.name, version=shown.latest) if shown.latest else None
    detail = f"{plural(len(datasets), 'dataset')}" + (f" · {number(version.rows)} rows" if version else "")
    subject = shown.name + (f" v{shown.latest}" if shown.latest else "")
    look = state(shown.latest_state or "idle", "" if shown.latest_state else "no version yet")
    return Stage(
        "Data", subject, look, detail, version.event_at if version else None, address(ask.project, "data", shown.name)
    )


def _features_stage(ask: Ask) -> Stage:
    definitions = ask(features.list_definitions)
    services = [one for one in definitions if one.kind == "service"]
    views = [one for one in definitions if one.kind == "view"]
    fills = ask(features.materializations, limit=1)
    newest = fills[0] if fills else None
    href = address(ask.project, "features")
    if not definitions:
        return Stage("Features", "none declared", state("idle", "empty"), "", None, href)
    look = state("fine", "materialized") if newest else state("fine", "declared")
    at_us = newest.event_at if newest else max(one.event_at for one in definitions)
    subject = services[0].name if services else views[0].name if views else definitions[0].name
    return Stage(
        "Features", subject, msgspec.structs.replace(look, tone="fine"), plural(len(views), "view"), at_us, href
    )


def _training_stage(ask: Ask, executions: list[Any]) -> Stage:
    href = address(ask.project, "pipelines")
    if executions:
        newest = executions[0]
        running = sum(one.state in ("queued", "running") for one in executions)
        failed = sum(one.state == "failed" for one in executions)
        detail = f"{running} running · {failed} failed of the last {len(executions)}"
        page = address(ask.project, "pipelines", newest.execution_id)
        return Stage("Training", newest.pipeline, state(newest.state), detail, newest.event_at, page)
    runs = ask(tracking.search_runs, limit=1)
    if not runs:
        return Stage("Training", "no run", state("idle", "empty"), "", None, href)
    page = address(ask.project, "runs", runs[0].run_id)
    return Stage("Training", runs[0].name or runs[0].experiment, state(runs[0].state), "", runs[0].event_at, page)


def _gates_stage(ask: Ask) -> Stage:
    models: list[Model] = [one for one in ask(registry.list_models) if one.versions]
    if not models:
        return Stage("Gates", "no model", state("idle", "empty"), "", None, address(ask.project, "models"))
    newest = max(models, key=lambda one: one.last_recorded_at)
    for version in ask(registry.versions, model=newest.model, limit=5):
        report = ask.find(registry.gate_report, model=newest.model, version=version.version)
        if report is None:
            continue
        passed = sum(one.verdict == "passed" for one in report.results)
        word = f"{passed} of {len(report.results)} passed" if report.results else "none was tried"
        look = State(word, "fine" if report.passed else "warn")
        detail = (
            "forced by a person"
            if report.forced_by
            else next((one.message for one in report.results if one.verdict != "passed"), "all gates hold")
        )
        page = address(ask.project, "models", newest.model, version.version)
        return Stage("Gates", f"{newest.model} v{version.version}", look, detail, report.event_at, page)
    page = address(ask.project, "models", newest.model)
    return Stage("Gates", newest.model, state("idle", "not judged"), plural(newest.versions, "version"), None, page)


def _deployment_stage(ask: Ask, rows: list[DeploymentRow]) -> Stage:
    href = address(ask.project, "deployments")
    if not rows:
        return Stage("Deployment", "none", state("idle", "empty"), "", None, href)
    first = rows[0]
    served = ask(serving.list_releases, deployment=first.name, limit=1)
    look = state("serving") if "drifted" in first.state.word else first.state
    at_us = served[0].event_at if served else None
    return Stage("Deployment", first.name, look, first.serving, at_us, address(ask.project, "deployments", first.name))


def _monitoring_stage(ask: Ask, rows: list[DeploymentRow], incidents: list[Incident]) -> Stage:
    watched = [row for row in rows if row.window_at is not None]
    if not watched:
        page = address(ask.project, "monitoring")
        return Stage("Monitoring", "no window yet", state("idle", "waits"), "", None, page)
    worst = max(watched, key=lambda row: (row.drifted or 0, row.worst_drift or 0))
    page = address(ask.project, "monitoring", worst.name)
    detail = f"largest distance {number(worst.worst_drift)}"
    if incidents:
        word = plural(len(incidents), "incident needs you", "incidents need you")
        return Stage("Monitoring", worst.name, State(word, "bad"), detail, incidents[0].last_at, page)
    if worst.drifted:
        word = f"{worst.drifted} drifted"
        return Stage("Monitoring", worst.name, State(word, "warn"), detail, worst.window_at, page)
    return Stage("Monitoring", worst.name, state("stable"), detail, worst.window_at, page)


def _feedback_stage(ask: Ask, rows: list[DeploymentRow], retrains: list[RetrainRecord]) -> Stage:
    live = next((one for one in retrains if one.state in ("training", "rolling_out")), None)
    name = live.deployment if live else rows[0].name if rows else ""
    settled = ask(monitoring.windows, deployment=name, state="settled", limit=1) if name else []
    page = address(ask.project, "monitoring", name) if name else address(ask.project, "monitoring")
    joined = "no labels yet"
    if settled and settled[0].predictions:
        joined = f"{percent(settled[0].labels / settled[0].predictions)} of a window labelled"
    if live is not None:
        return Stage(
            "Feedback", name, state(live.state, f"retrain {state(live.state).word}"), joined, live.event_at, page
        )
    if not settled:
        return Stage("Feedback", name or "none", state("idle", "waits for labels"), "", None, page)
    return Stage("Feedback", name, state("settled", "labels joined"), joined, settled[0].end_at, page)


def _closing(retrains: list[RetrainRecord]) -> Closing:
    ended = [one for one in retrains if one.state == "promoted" and one.finished_at is not None]
    took = sorted((one.finished_at or 0) - one.event_at for one in ended)
    if not took:
        return Closing(None, None, None, 0)
    newest = max(ended, key=lambda one: one.finished_at or 0)
    return Closing(newest.finished_at, (newest.finished_at or 0) - newest.event_at, took[len(took) // 2], len(took))


def _incident_needs(ask: Ask, incidents: list[Incident]) -> list[Need]:
    found = []
    for one in sorted(incidents, key=lambda one: (one.severity != "critical", -one.last_at)):
        verbs = ["monitoring.acknowledge"] if one.state == "open" else ["monitoring.resolve"]
        step = f"owned by {one.owner}" if one.owner else "nobody owns it yet"
        page = address(ask.project, "incidents", one.incident_id)
        args = {"incident_id": one.incident_id}
        found.append(Need(state(one.severity), one.kind, one.title, one.subject, page, one.last_at, step, verbs, args))
    return found


def _approval_needs(ask: Ask, approvals: list[Approval]) -> list[Need]:
    return [
        Need(
            State("waits", "warn"),
            "approval",
            one.question,
            one.subject,
            page_of(one.subject, ask.project),
            one.asked_at,
            f"asked by {one.asked_by}",
            ["approvals.approve", "approvals.reject"],
            {"approval_id": one.approval_id},
        )
        for one in approvals
    ]


def _quarantine_needs(ask: Ask, datasets: list[Dataset]) -> list[Need]:
    found = []
    for one in datasets:
        version = (
            one.latest
            and one.latest_state == "quarantined"
            and ask(data.get_version, dataset=one.name, version=one.latest)
        )
        if not version:
            continue
        why = next((result.message for result in version.checks if not result.passed), version.reason)
        found.append(
            Need(
                state("quarantined"),
                "data",
                why or "a check failed",
                f"{ask.project}/dataset:{one.name}/{one.latest}",
                address(ask.project, "data", one.name, one.latest),
                version.event_at,
                "correct the source, or use it anyway",
                ["data.release_quarantine"],
                {"dataset": one.name, "version": one.latest},
            )
        )
    return found


def _execution_needs(ask: Ask, executions: list[Any]) -> list[Need]:
    newest: dict[str, Any] = {}
    for one in executions:
        newest.setdefault(one.pipeline, one)
    return [
        Need(
            state("failed"),
            "pipeline",
            str((one.error or {}).get("message") or one.reason or "execution failed"),
            f"{ask.project}/execution:{one.execution_id}",
            address(ask.project, "pipelines", one.execution_id),
            one.event_at,
            str((one.error or {}).get("next_step") or "read its steps"),
            ["pipelines.retry"],
            {"execution_id": one.execution_id},
        )
        for one in newest.values()
        if one.state == "failed"
    ]


ROUTES = page("", show_overview)
