"""May this version go live, and why?"""

from typing import Any

import msgspec

from loopwright import registry, serving
from loopwright.governance import approvals, lineage
from loopwright.kernel.errors import NotFound
from loopwright.registry import Alias, Evidence, GateReport, ModelVersion
from loopwright.serving import Rollout
from loopwright.store.tombstones import missing
from loopwright.ui.kit.addresses import page_of, short_ref
from loopwright.ui.kit.asking import PAGE_ROWS, Ask
from loopwright.ui.kit.rendering import View, page
from loopwright.ui.kit.words import State, state
from loopwright.ui.pages.governance.lineage import neighbourhood


class MetricRow(msgspec.Struct, frozen=True):
    """One metric of a version beside the champion's, on the same held-out rows; ``low`` and ``high`` bound 95 %."""

    metric: str
    value: float | None
    low: float | None
    high: float | None
    champion: float | None

    @property
    def difference(self) -> float | None:
        """This version minus the champion."""
        return None if self.value is None or self.champion is None else self.value - self.champion


def show_models(ask: Ask) -> View:
    """Return the models with their aliases."""
    return View("registry/models.html", "Models", "Models", {"models": ask(registry.list_models)})


def show_model(ask: Ask) -> View:
    """Return the versions of a model, newest first."""
    name = ask.part("model")
    found = ask(registry.list_versions, model=name, before=ask.asked_number("before"), limit=PAGE_ROWS + 1)
    if not found:
        unknown = NotFound(f"no model is named {name}", field="model", value=name, next_step="see the list of models")
        raise missing(ask.tx, "model", name, None, unknown)
    shown = found[:PAGE_ROWS]
    reports = {
        model_version.version: ask.find(registry.gate_report, model=name, version=model_version.version)
        for model_version in shown
    }
    metrics = list(dict.fromkeys(metric for model_version in shown for metric in model_version.metrics))[:4]
    facts = {
        "model": name,
        "versions": shown,
        "metrics": metrics,
        "aliases": ask(registry.list_aliases, model=name),
        "gates": {str(number): report and gates_state(report) for number, report in reports.items()},
        "deployments": [deployment.name for deployment in ask(serving.list_deployments, model=name)],
        "next": shown[-1].version if len(found) > PAGE_ROWS else None,
    }
    return View("registry/model.html", name, "Models", facts)


def show_version(ask: Ask) -> View:
    """Return everything that speaks for or against a version."""
    name, number = ask.part("model"), ask.part_number("version")
    model_version = ask(registry.get_version, model=name, version=number)
    aliases = ask(registry.list_aliases, model=name)
    report, judged = _report(ask, model_version)
    deployments = [deployment.name for deployment in ask(serving.list_deployments, model=name)]
    rollouts = [
        rollout
        for deployment in deployments
        for rollout in ask(serving.list_rollouts, deployment=deployment, limit=50)
        if rollout.version == number and rollout.model == name
    ]
    ref = f"{ask.project}/model:{name}/{number}"
    asked = {f"{ask.project}/rollout:{rollout.rollout_id}" for rollout in rollouts}
    decisions = [
        approval
        for approval in ask(approvals.list_approvals)
        if approval.digest == model_version.digest or approval.subject in asked
    ]
    upstream = ask(lineage.upstream, ref=ref)
    nodes, edges = neighbourhood(ask, ref, upstream, [])
    facts = {
        "version": model_version,
        "ref": ref,
        "aliases": [alias.alias for alias in aliases if alias.version == number],
        "champion": next((alias.version for alias in aliases if alias.alias == "champion"), None),
        "verdict": _verdict(model_version, report, rollouts, aliases),
        "report": report,
        "judged": judged,
        "metrics": metric_rows(model_version, report),
        "rollouts": rollouts,
        "approvals": decisions,
        "deployments": deployments,
        "lineage": upstream[:PAGE_ROWS],
        "sources": _sources(ask, model_version),
    }
    return View("registry/version.html", f"{name} v{number}", "Models", facts, {"nodes": nodes, "edges": edges})


def gates_state(report: GateReport) -> State:
    """Return what came of a version's gates in one word; a person may pass it in their place, tried or not."""
    if report.forced_by:
        return State("forced", "warn")
    return state("passed" if report.passed else "failed")


def _report(ask: Ask, model_version: ModelVersion) -> tuple[GateReport | None, int]:
    """Return the gates of a version and the version they judged: a refit stands on those of the recipe it repeats."""
    for number in (model_version.version, model_version.refit_of):
        report = None if number is None else ask.find(registry.gate_report, model=model_version.model, version=number)
        if number is not None and report is not None:
            return report, number
    return None, model_version.version


def metric_rows(model_version: ModelVersion, report: GateReport | None) -> list[MetricRow]:
    """Return the metrics the gates looked at, else those it was registered with."""
    if report is None:
        return [MetricRow(name, value, None, None, None) for name, value in model_version.metrics.items()]
    evidence: Evidence = report.evidence
    rows = []
    for name, value in evidence.metrics.items():
        ends = evidence.intervals.get(name)
        low, high = (ends[0], ends[1]) if ends else (None, None)
        rows.append(MetricRow(name, value, low, high, (evidence.champion_metrics or {}).get(name)))
    return rows


def _verdict(
    model_version: ModelVersion, report: GateReport | None, rollouts: list[Rollout], aliases: list[Alias]
) -> dict[str, Any]:
    """Return the answer to the page's question: a state and a sentence."""
    if any(alias.alias == "champion" and alias.version == model_version.version for alias in aliases):
        return _say(state("serving", "it is live"), "It is the champion.")
    live = next((rollout for rollout in rollouts if rollout.is_live), None)
    if live is not None:
        return _say(state(live.state), f"Its rollout in {live.deployment} is under way.")
    if report is None:
        return _say(
            state("idle", "not judged"), "Its gates were never run, so it may not go live without a forced reason."
        )
    if report.forced_by:
        gates = "gates failed" if report.results else "no gate was tried"
        return _say(gates_state(report), f"{report.forced_by} passed it although {gates}: {report.forced_reason}")
    if not report.passed:
        failed = [gate_result.message for gate_result in report.results if gate_result.verdict != "passed"]
        return _say(State("may not", "bad"), "; ".join(failed))
    stopped = next((rollout for rollout in rollouts if rollout.state == "aborted"), None)
    if stopped is not None:
        return _say(State("was stopped", "warn"), f"Its rollout in {stopped.deployment} was aborted.")
    return _say(State("may go live", "fine"), "Every gate passed on rows it was not trained on.")


def _say(look: State, sentence: str) -> dict[str, Any]:
    return {"state": look, "sentence": sentence}


def _sources(ask: Ask, model_version: ModelVersion) -> list[dict[str, str]]:
    """Return what the version was made from, as name, text and link."""
    rows = []
    for name, ref in (("run", model_version.run), ("training set", model_version.training_set)):
        if ref:
            rows.append({"name": name, "text": short_ref(ref, ask.project), "href": page_of(ref, ask.project)})
    if model_version.service:
        rows.append(
            {
                "name": "feature service",
                "text": model_version.service,
                "href": page_of(f"feature_service:{model_version.service}", ask.project),
            }
        )
    return rows


ROUTES = [
    *page("/models", show_models),
    *page("/models/{model}/{version}", show_version),
    *page("/models/{model}", show_model),
]
