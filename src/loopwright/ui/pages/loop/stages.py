"""The strip of the overview: the seven stages of the loop, each with what it holds now, in which state, since when.

A stage shows its worst subject, else its newest, because a strip that shows the first by name is calm for the wrong
reason. Each function asks for its own stage and knows nothing of the others.
"""

from collections.abc import Sequence

import msgspec

from loopwright import data, features, monitoring, pipelines, registry, tracking
from loopwright.loop import RetrainRecord
from loopwright.monitoring import Window
from loopwright.ui.kit.addresses import address
from loopwright.ui.kit.asking import Ask
from loopwright.ui.kit.words import State, number, percent, plural, state
from loopwright.ui.pages.serving.shapes import DeploymentRow

LAST_EXECUTIONS = 20


class Stage(msgspec.Struct, frozen=True):
    """One stage: ``at_us`` is event time in microseconds UTC."""

    name: str
    subject: str
    state: State
    detail: str
    at_us: int | None
    href: str


def loop_stages(
    ask: Ask, rows: Sequence[DeploymentRow], newest: dict[str, Window], retrains: Sequence[RetrainRecord]
) -> list[Stage]:
    """Return the seven stages, in the order of the loop.

    Args:
        ask: Asks the rooms.
        rows: Deployments, the most urgent first.
        newest: The newest window of every watched deployment.
        retrains: Newest first.
    """
    return [
        _data(ask),
        _features(ask),
        _training(ask),
        _gates(ask),
        _deployment(ask, rows),
        _monitoring(ask, newest),
        _feedback(ask, rows, retrains),
    ]


def _data(ask: Ask) -> Stage:
    datasets = ask(data.list_datasets)
    if not datasets:
        href = address(ask.project, "data")
        return Stage("Data", "no dataset", state("idle", "empty"), "loopwright apply FILE declares one", None, href)
    held = [dataset for dataset in datasets if dataset.latest_state == "quarantined"]
    shown = held[0] if held else max(datasets, key=lambda one: one.changed_at)
    version = ask.find(data.get_version, dataset=shown.name, version=shown.latest) if shown.latest else None
    detail = plural(len(datasets), "dataset") + (f" · {number(version.rows)} rows" if version else "")
    subject = shown.name + (f" v{shown.latest}" if shown.latest else "")
    look = state(shown.latest_state) if shown.latest_state else state("idle", "no version yet")
    href = address(ask.project, "data", shown.name)
    return Stage("Data", subject, look, detail, version.event_at if version else None, href)


def _features(ask: Ask) -> Stage:
    definitions, href = ask(features.list_definitions), address(ask.project, "features")
    if not definitions:
        return Stage("Features", "none declared", state("idle", "empty"), "", None, href)
    views = [definition for definition in definitions if definition.kind == "view"]
    shown = next((definition for definition in definitions if definition.kind == "service"), (views or definitions)[0])
    fills = ask(features.materializations, limit=1)
    at_us = fills[0].event_at if fills else max(definition.event_at for definition in definitions)
    look = State("materialized" if fills else "declared", "fine")
    return Stage("Features", shown.name, look, plural(len(views), "view"), at_us, href)


def _training(ask: Ask) -> Stage:
    executions = ask(pipelines.list_executions, limit=LAST_EXECUTIONS)
    if executions:
        newest = executions[0]
        running = sum(execution.state in ("queued", "running") for execution in executions)
        failed = sum(execution.state == "failed" for execution in executions)
        detail = f"{running} running · {failed} failed of the last {len(executions)}"
        href = address(ask.project, "pipelines", newest.execution_id)
        return Stage("Training", newest.pipeline, state(newest.state), detail, newest.event_at, href)
    runs = ask(tracking.search_runs, limit=1)
    if not runs:
        return Stage("Training", "no run", state("idle", "empty"), "", None, address(ask.project, "pipelines"))
    run = runs[0]
    href = address(ask.project, "runs", run.run_id)
    return Stage("Training", run.name or run.experiment, state(run.state), "", run.event_at, href)


def _gates(ask: Ask) -> Stage:
    """Return the newest judgement of the model that was trained last; yardsticks, which no gate judges, are passed."""
    models = [model for model in ask(registry.list_models) if model.versions]
    if not models:
        return Stage("Gates", "no model", state("idle", "empty"), "", None, address(ask.project, "models"))
    newest = max(models, key=lambda one: one.last_recorded_at)
    for version in ask(registry.list_versions, model=newest.model, limit=5):
        report = ask.find(registry.gate_report, model=newest.model, version=version.version)
        if report is None:
            continue
        passed = sum(gate_result.verdict == "passed" for gate_result in report.results)
        word = f"{passed} of {len(report.results)} passed" if report.results else "none was tried"
        first_failed = next(
            (gate_result.message for gate_result in report.results if gate_result.verdict != "passed"), "all gates hold"
        )
        detail = "forced by a person" if report.forced_by else first_failed
        href = address(ask.project, "models", newest.model, version.version)
        subject = f"{newest.model} v{version.version}"
        look = State(word, "fine" if report.passed else "warn")
        return Stage("Gates", subject, look, detail, report.event_at, href)
    href = address(ask.project, "models", newest.model)
    return Stage("Gates", newest.model, state("idle", "not judged"), plural(newest.versions, "version"), None, href)


def _deployment(ask: Ask, rows: Sequence[DeploymentRow]) -> Stage:
    if not rows:
        href = address(ask.project, "deployments")
        return Stage("Deployment", "none", state("idle", "empty"), "", None, href)
    first = rows[0]
    # Drift is the next stage's business: this one says whether answers are given, and by which version.
    look = state("serving") if first.drifted and first.rollout is None else first.state
    return Stage(
        "Deployment",
        first.name,
        look,
        first.serving,
        first.released_at,
        address(ask.project, "deployments", first.name),
    )


def _monitoring(ask: Ask, newest: dict[str, Window]) -> Stage:
    if not newest:
        href = address(ask.project, "monitoring")
        return Stage("Monitoring", "no window yet", state("idle", "waits"), "", None, href)
    drifted = {name: sum(drift.is_drifted for drift in window.drift) for name, window in newest.items()}
    furthest = {
        name: max((drift.distance / drift.above for drift in window.drift if drift.above), default=0.0)
        for name, window in newest.items()
    }
    name = max(sorted(newest), key=lambda name: (drifted[name], furthest[name]))
    href = address(ask.project, "monitoring", name)
    detail = f"furthest feature at {percent(furthest[name])} of its limit"
    incidents = ask.attention.incidents
    if incidents:
        word = plural(incidents, "incident needs you", "incidents need you")
        return Stage("Monitoring", name, State(word, "bad"), detail, newest[name].end_at, href)
    look = State(f"{drifted[name]} drifted", "warn") if drifted[name] else state("stable")
    return Stage("Monitoring", name, look, detail, newest[name].end_at, href)


def _feedback(ask: Ask, rows: Sequence[DeploymentRow], retrains: Sequence[RetrainRecord]) -> Stage:
    live = next(
        (retrain_record for retrain_record in retrains if retrain_record.state in ("training", "rolling_out")), None
    )
    name = live.deployment if live else rows[0].name if rows else ""
    settled = ask(monitoring.list_windows, deployment=name, state="settled", limit=1) if name else []
    href = address(ask.project, "monitoring", name) if name else address(ask.project, "monitoring")
    joined = "no labels yet"
    if settled and settled[0].predictions:
        joined = f"{percent(settled[0].labels / settled[0].predictions)} of a window labelled"
    if live is not None:
        look = state(live.state, f"retrain {state(live.state).word}")
        return Stage("Feedback", name, look, joined, live.event_at, href)
    if not settled:
        return Stage("Feedback", name or "none", state("idle", "waits for labels"), "", None, href)
    return Stage("Feedback", name, state("settled", "labels joined"), joined, settled[0].end_at, href)
