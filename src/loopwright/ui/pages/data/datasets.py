"""What data is there, is it good, and what changed?"""

import logging
import re
from contextlib import suppress

from loopwright import data, features
from loopwright.data import DatasetVersion, Diff, SourceSpec, Suggestion
from loopwright.governance import lineage
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import LoopwrightError, NotFound
from loopwright.loop import suggesting
from loopwright.store import jobs
from loopwright.ui.kit.asking import PAGE_ROWS, Ask
from loopwright.ui.kit.rendering import View, page

log = logging.getLogger("loopwright.ui")

_SPAN = re.compile(r"^(\d{1,9})\.\.(\d{1,9})$")


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
    """Return the versions of a dataset, newest first, and the checks that its rows suggest."""
    name = ask.part("dataset")
    suggestions = _suggestions(ask, name)
    dataset = ask(data.get, dataset=name)
    versions = ask(data.list_versions, dataset=name, limit=PAGE_ROWS + 1, before=ask.asked_number("before"))
    shown = versions[:PAGE_ROWS]
    facts = {
        "dataset": dataset,
        "versions": shown,
        "written": _written(dataset.spec.source),
        "next": shown[-1].version if len(versions) > PAGE_ROWS else None,
        "suggestions": suggestions,
        "views": [
            definition
            for definition in ask(features.list_definitions, kind="view")
            if definition.spec.get("dataset") == name
        ],
    }
    return View("data/dataset.html", name, "Data", facts)


def _suggestions(ask: Ask, dataset: str) -> list[Suggestion]:
    """Return suggested checks; none where there is nothing to read them from."""
    try:
        return ask.operate(suggesting.suggest_checks, dataset=dataset)
    except LoopwrightError:  # there is no version yet, or no profile any more
        return []
    except Exception:  # over rows that nobody thought of; whoever imports some closes the page to nobody
        log.exception("no checks could be suggested for dataset %s of project %s", dataset, ask.project)
        return []


def show_version(ask: Ask) -> View:
    """Return one version: its checks with the rows that failed, its schema, where it came from."""
    name, number = ask.part("dataset"), ask.part_number("version")
    dataset_version = ask(data.get_version, dataset=name, version=number)
    ref = f"{ask.project}/dataset:{name}/{number}"
    newest_first = sorted(dataset_version.fragments, key=lambda one: one.event_at_max or 0, reverse=True)
    facts = {
        "version": dataset_version,
        "ref": ref,
        "fragments": newest_first[:PAGE_ROWS],
        "fragments_count": len(dataset_version.fragments),
        "downstream": ask(lineage.downstream, ref=ref, depth=1)[:PAGE_ROWS],
        "missing": _missing(ask, dataset_version),
        "is_older": dataset_version.state == "ready" and ask(data.get, dataset=name).newest != number,
    }
    return View("data/dataset_version.html", f"{name} v{number}", "Data", facts)


def _missing(ask: Ask, version: DatasetVersion) -> dict[str, int]:
    """Return how many values of each column are missing, by the version's profile; nothing where there is none."""
    with suppress(LoopwrightError):
        profile = data.read.read_profile(version, ask.blobs)
        return (
            {}
            if profile is None
            else {name: column_profile.nulls + column_profile.nans for name, column_profile in profile.columns.items()}
        )
    return {}


def show_diff(ask: Ask) -> View:
    """Return what changed between two versions, or the button that starts the comparison."""
    name, text = ask.part("dataset"), ask.part("span")
    match = _SPAN.match(text)
    if match is None:
        raise NotFound("this names no two versions", field="span", value=text, rule="before..after, such as 3..4")
    before, after = int(match[1]), int(match[2])
    for number in (before, after):
        ask(data.get_version, dataset=name, version=number)
    problem = None
    found: Diff | None = None
    job_id = f"job_diff-{name}-{before}-{after}"
    job = ask.find(jobs.get, job_id=job_id)
    if job is not None:
        try:
            found = ask(data.diff_result, job_id=job_id)
        except LoopwrightError as error:
            problem = error.to_dict()
    facts = {
        "dataset": name,
        "before": before,
        "after": after,
        "diff": found,
        "job": None if job is None else {"state": job.state, "progress": job.progress},
        "problem": problem,
    }
    return View("data/diff.html", f"{name} {before}..{after}", "Data", facts)


ROUTES = [
    *page("/data", show_datasets),
    *page("/data/{dataset}/diff/{span}", show_diff),
    *page("/data/{dataset}/{version}", show_version),
    *page("/data/{dataset}", show_dataset),
]
