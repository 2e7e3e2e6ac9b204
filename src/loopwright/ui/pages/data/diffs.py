"""What changed between two versions of a dataset?"""

import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from loopwright import data
from loopwright.data import DatasetVersion, Diff
from loopwright.kernel.errors import LoopwrightError, NotFound
from loopwright.store import jobs
from loopwright.ui.kit.asking import Ask
from loopwright.ui.kit.rendering import View, page
from loopwright.ui.pages.data.looks import Cell, ColumnPair, cell, is_number, look_at, pair, written

_SPAN = re.compile(r"^(\d{1,9})\.\.(\d{1,9})$")
MOST_COLUMNS = 100
"""Columns whose distributions a page shows, those that changed in most rows first."""
MOST_CHANGES = 12
"""Columns of one changed row that a page shows."""


def show_diff(ask: Ask) -> View:
    """Return what changed between two versions, or the button that starts the comparison."""
    name, text = ask.part("dataset"), ask.part("span")
    match = _SPAN.match(text)
    if match is None:
        raise NotFound("this names no two versions", field="span", value=text, rule="before..after, such as 3..4")
    before, after = int(match[1]), int(match[2])
    versions = [_head(ask, name, number) for number in (before, after)]
    spec = ask(data.get, dataset=name).spec
    job_id = f"job_diff-{name}-{before}-{after}"
    job = ask.find(jobs.get, job_id=job_id)
    problem, found = None, None
    if job is not None:
        try:
            found = ask(data.diff_result, job_id=job_id)
        except LoopwrightError as error:
            problem = error.to_dict()
    pairs = _pairs(ask, versions, found, data.masked_columns(spec, *versions)) if found is not None else []
    key = (versions[1].spec or spec).key
    facts = {
        "dataset": name,
        "before": before,
        "after": after,
        "rows": [version.rows for version in versions],
        "diff": found,
        "columns": pairs[:MOST_COLUMNS],
        "columns_count": len(pairs),
        "job": None
        if job is None
        else {"state": job.state, "progress": job.progress, "job_id": job_id, "finished_at": job.finished_at},
        "problem": problem,
        "key": key,
    }
    drawn = {} if found is None else _drawn(found, versions, key)
    return View("data/diff.html", f"{name} {before}..{after}", "Data", facts, drawn)


def _head(ask: Ask, dataset: str, number: int) -> DatasetVersion:
    """Return a version without its fragments; one that is not there is told as what it is."""
    found = ask(data.list_versions, dataset=dataset, limit=1, before=number + 1)
    return found[0] if found and found[0].version == number else ask(data.get_version, dataset=dataset, version=number)


def _pairs(ask: Ask, versions: list[DatasetVersion], diff: Diff, personal: set[str]) -> list[ColumnPair]:
    """Return the columns that changed, those first that did in most rows, with both profiles beside each other."""
    profiles: list[Any] = []
    for version in versions:
        profile = None
        with suppress(LoopwrightError):
            profile = data.read.read_profile(version, ask.blobs)
        profiles.append(profile)
    looks = [look_at(version.schema, profile, personal) for version, profile in zip(versions, profiles, strict=True)]
    counted = [{} if profile is None else profile.columns for profile in profiles]
    changed = diff.changed_columns or {}
    names = dict.fromkeys(
        [
            *sorted(_in_order(changed, versions), key=lambda name: -changed[name]),
            *(one.column for one in diff.schema),
            *(one.column for one in diff.statistics if one.what != "rows"),
        ]
    )
    return [
        pair(
            name,
            None if diff.changed_columns is None else changed.get(name, 0),
            (looks[0].get(name), looks[1].get(name)),
            (counted[0].get(name), counted[1].get(name)),
        )
        for name in names
    ]


def _in_order(names: Iterable[str], versions: list[DatasetVersion]) -> list[str]:
    """Return columns as they stand in the newer version, then in the older one: kept documents sort them by name."""
    places = {one.name: place for place, one in enumerate([*versions[0].schema, *versions[1].schema])}
    return sorted(names, key=lambda name: places.get(name, -1))


def _drawn(diff: Diff, versions: list[DatasetVersion], key: list[str]) -> dict[str, Any]:
    """Return the sampled rows as cells."""
    return {
        "changed": [_changed(sample, key, versions) for sample in diff.samples.get("changed", [])],
        "added": _table(diff.samples.get("added", []), key, versions[1]),
        "removed": _table(diff.samples.get("removed", []), key, versions[0]),
    }


def _changed(sample: dict[str, Any], key: list[str], versions: list[DatasetVersion]) -> dict[str, Any]:
    old, new = ({column.name: column.dtype for column in version.schema} for version in versions)
    changes = sample.get("changes")
    told: dict[str, dict[str, Any]] = changes if isinstance(changes, dict) else {}
    names = _in_order(told, versions)
    return {
        "key": [_cell(sample.get(name), new.get(name, "")) for name in key],
        "changes": [
            {
                "column": name,
                "before": _cell(told[name].get("before"), old.get(name, "")),
                "after": _cell(told[name].get("after"), new.get(name, "")),
                "difference": _difference(told[name].get("before"), told[name].get("after")),
            }
            for name in names[:MOST_CHANGES]
        ],
        "more": max(0, len(names) - MOST_CHANGES),
    }


def _difference(before: Any, after: Any) -> str:
    """Return by how much a number changed, nothing of what is no number."""
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in (before, after)):
        return ""
    moved = written(float(after - before), "")
    return moved if moved.startswith("−") else f"+{moved}"


def _table(samples: list[dict[str, Any]], key: list[str], version: DatasetVersion) -> dict[str, Any]:
    """Return sampled rows as cells, the key first."""
    dtypes = {column.name: column.dtype for column in version.schema}
    there = {name for sample in samples for name in sample}
    names = [name for name in dict.fromkeys([*key, *dtypes, *sorted(there)]) if name in there]
    return {
        "columns": [{"name": name, "is_number": is_number(dtypes.get(name, ""))} for name in names],
        "rows": [[_cell(sample.get(name), dtypes.get(name, "")) for name in names] for sample in samples],
    }


def _cell(value: Any, dtype: str) -> Cell:
    return cell(value, dtype, is_masked=data.is_masked(value))


ROUTES = [*page("/data/{dataset}/diff/{span}", show_diff)]
