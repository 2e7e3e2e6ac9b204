"""What data is there, and how did it come to be?"""

import logging

from loopwright import data, features
from loopwright.data import DatasetVersion, Preview, SourceSpec, Suggestion
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import LoopwrightError
from loopwright.loop import suggesting
from loopwright.ui.kit.asking import PAGE_ROWS, Ask
from loopwright.ui.kit.rendering import View, page
from loopwright.ui.pages.data.versions import cells_of, column_looks, look_at_rows, without_personal

VERSIONS_SHOWN = 25
"""Of a dataset at once: its rows are to be seen without a long way."""

log = logging.getLogger("loopwright.ui")


def show_datasets(ask: Ask) -> View:
    """Return the datasets with their newest versions."""
    found = ask(data.list_datasets)
    newest = {
        dataset.name: ask.find(data.get_version, dataset=dataset.name, version=dataset.latest)
        for dataset in found[:PAGE_ROWS]
        if dataset.latest
    }
    rows = {
        name: None if dataset_version is None else _without_fragments(dataset_version)
        for name, dataset_version in newest.items()
    }
    return View("data/datasets.html", "Data", "Data", {"datasets": found[:PAGE_ROWS], "newest": rows})


def _without_fragments(version: DatasetVersion) -> dict[str, object]:
    return {
        "version": version.version,
        "state": version.state,
        "rows": version.rows,
        "size_bytes": version.size_bytes,
        "event_at": version.event_at,
        "failed": sum(not result.passed for result in version.checks),
        "checks": len(version.checks),
    }


def _written(source: SourceSpec) -> list[tuple[str, str]]:
    """Return what of a source's way of writing is not as usual, each with its words."""
    usual = {"zone": source.zone, "sheet": source.sheet, **to_builtins(source.dialect)}
    told = [(name.replace("_", " "), how) for name, how in usual.items() if how]
    return [
        (name, " ".join(how) if isinstance(how, list) else str(how)) for name, how in (*told, *source.types.items())
    ]


def show_dataset(ask: Ask) -> View:
    """Return the versions of a dataset, newest first, rows of the newest, and the checks that its rows suggest."""
    name, before = ask.part("dataset"), ask.asked_number("before")
    suggestions = _suggestions(ask, name)
    rows = look_at_rows(ask, name, None)
    dataset = ask(data.get, dataset=name)
    versions = ask(data.list_versions, dataset=name, limit=VERSIONS_SHOWN + 1, before=before)
    origins = ask(data.list_origins, dataset=name, limit=VERSIONS_SHOWN, before=before)
    shown, personal = versions[:VERSIONS_SHOWN], data.masked_columns(dataset.spec)
    looked_at = _looked_at(ask, name, rows["preview"], shown)
    definitions = ask(features.list_definitions, kind="view")
    facts = {
        "dataset": dataset,
        "versions": [without_personal(version, personal) for version in shown],
        "origins": origins,
        "written": _written(dataset.spec.source),
        "next": shown[-1].version if len(versions) > VERSIONS_SHOWN else None,
        "suggestions": suggestions,
        "views": [definition for definition in definitions if definition.spec.get("dataset") == name],
        "rows": rows,
        "columns": {} if looked_at is None else column_looks(ask, dataset.spec, looked_at, rows["preview"]),
    }
    tags: dict[int, list[str]] = {}
    for tag in ask(data.list_tags, dataset=name):
        tags.setdefault(tag.version, []).append(tag.tag)
    facts["tags"] = tags
    drawn = {"cells": cells_of(rows["preview"]), "origin_of": {origin.version: origin for origin in origins}}
    return View("data/dataset.html", name, "Data", facts, drawn)


def _looked_at(ask: Ask, dataset: str, preview: Preview | None, listed: list[DatasetVersion]) -> DatasetVersion | None:
    """Return the version whose rows are shown, without its fragments."""
    if preview is None:
        return None
    found = [version for version in listed if version.version == preview.version]
    found = found or ask(data.list_versions, dataset=dataset, limit=1, before=preview.version + 1)
    return found[0] if found else None


def _suggestions(ask: Ask, dataset: str) -> list[Suggestion]:
    """Return suggested checks; none where there is nothing to read them from."""
    try:
        return ask.operate(suggesting.suggest_checks, dataset=dataset)
    except LoopwrightError:  # there is no version yet, or no profile any more
        return []
    except Exception:  # over rows that nobody thought of; whoever imports some closes the page to nobody
        log.exception("no checks could be suggested for dataset %s of project %s", dataset, ask.project)
        return []


ROUTES = [
    *page("/data", show_datasets),
    *page("/data/{dataset}", show_dataset),
]
