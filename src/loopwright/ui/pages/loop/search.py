"""Take me there: names of everything in the project."""

import msgspec

from loopwright import data, features, monitoring, pipelines, registry, serving, tracking
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.ids import parse_id
from loopwright.ui.kit.addresses import address, page_of, read_ref
from loopwright.ui.kit.asking import PAGE_ROWS, Ask
from loopwright.ui.kit.rendering import Elsewhere, View, page

_BY_PREFIX = {"pred": "predictions", "run": "runs", "exe": "pipelines", "inc": "incidents"}


class Hit(msgspec.Struct, frozen=True):
    """One thing whose name matches."""

    kind: str
    name: str
    detail: str
    href: str


def show_search(ask: Ask) -> View | Elsewhere:
    """Return what has the words in its name; an id or a ref leads straight to its page."""
    text = ask.asked("q")
    place = _exact(ask, text)
    if place:
        return Elsewhere(place)
    words = text.lower().split()
    hits = [hit for hit in _everything(ask) if all(word in f"{hit.kind} {hit.name}".lower() for word in words)]
    hits.sort(
        key=lambda hit: (hit.name.lower() != text.lower(), not hit.name.lower().startswith(text.lower()), hit.name)
    )
    facts = {"q": text, "hits": hits[:PAGE_ROWS] if text else [], "count": len(hits) if text else 0}
    return View("loop/search.html", "Search", "", facts)


def _exact(ask: Ask, text: str) -> str:
    try:
        prefix, _ = parse_id(text)
    except InvalidInput:
        return page_of(text, ask.project) if ":" in text and read_ref(text, ask.project) else ""
    if prefix in _BY_PREFIX:
        return address(ask.project, _BY_PREFIX[prefix], text)
    return ""


def _everything(ask: Ask) -> list[Hit]:
    def at(*parts: object) -> str:
        return address(ask.project, *parts)

    hits = [Hit("dataset", dataset.name, "", at("data", dataset.name)) for dataset in ask(data.list_datasets)]
    hits += [Hit(definition.kind, definition.name, "", at("features")) for definition in ask(features.list_definitions)]
    hits += [
        Hit("experiment", experiment.name, f"{experiment.runs} runs", at("experiments", experiment.name))
        for experiment in ask(tracking.list_experiments)
    ]
    hits += [
        Hit(
            "model",
            model.model,
            ", ".join(f"{alias} v{number}" for alias, number in sorted(model.aliases.items())),
            at("models", model.model),
        )
        for model in ask(registry.list_models)
    ]
    hits += [
        Hit("pipeline", pipeline.name, "", address(ask.project, "pipelines", pipeline=pipeline.name))
        for pipeline in ask(pipelines.list_pipelines)
    ]
    hits += [
        Hit("deployment", deployment.name, deployment.spec.model, at("deployments", deployment.name))
        for deployment in ask(serving.list_deployments)
    ]
    hits += [
        Hit("incident", incident.title, incident.state, at("incidents", incident.incident_id))
        for incident in ask(monitoring.list_incidents)
    ]
    hits += [
        Hit("run", run.name or run.run_id, run.experiment, at("runs", run.run_id))
        for run in ask(tracking.search_runs, limit=1000)
    ]
    return hits


ROUTES = page("/search", show_search)
