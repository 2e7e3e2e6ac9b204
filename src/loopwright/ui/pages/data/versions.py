"""What is in one version of a dataset, and may it be used?"""

import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import msgspec

from loopwright import data
from loopwright.data import CheckResult, DatasetSpec, DatasetVersion, Preview, PreviewPart
from loopwright.governance import lineage
from loopwright.kernel.errors import LoopwrightError, NotFound, Quarantined
from loopwright.loop import previewing
from loopwright.ui.kit.asking import PAGE_ROWS, Ask
from loopwright.ui.kit.rendering import View, page
from loopwright.ui.pages.data.looks import Cell, ColumnLook, cell, look_at

ROWS_SHOWN = 20
_MOST_MARKED = 50


def look_at_rows(ask: Ask, dataset: str, version: int | None, part: PreviewPart = "rows") -> dict[str, Any]:
    """Return some rows of a version, or why they are not shown; before the first query of a page.

    The address says which: ``offset`` of the rows, ``failing`` of those that failed, ``columns`` how many come before.
    """
    offset = ask.asked_number("offset" if part == "rows" else "failing") or 0
    columns_offset = (ask.asked_number("columns") or 0) if part == "rows" else 0
    shown, problem = None, None
    try:
        shown = ask.operate(
            previewing.preview,
            dataset=dataset,
            version=version,
            part=part,
            columns_offset=columns_offset,
            offset=offset,
            limit=ROWS_SHOWN,
        )
    except (NotFound, Quarantined):  # the page says what there is instead
        pass
    except LoopwrightError as error:
        problem = error.to_dict()
    return {"preview": shown, "problem": problem, "offset": offset, "columns_offset": columns_offset}


def show_version(ask: Ask) -> View:
    """Return one version: its rows, its checks with the rows that failed, its columns, where it came from."""
    name, number = ask.part("dataset"), ask.part_number("version")
    rows, failing = look_at_rows(ask, name, number), look_at_rows(ask, name, number, "failing")
    version = ask(data.get_version, dataset=name, version=number)
    dataset = ask(data.get, dataset=name)
    ref = f"{ask.project}/dataset:{name}/{number}"
    newest_first = sorted(version.fragments, key=lambda one: one.event_at_max or 0, reverse=True)
    origins = ask(data.list_origins, dataset=name, limit=1, before=number + 1)
    downstream = ask(lineage.downstream, ref=ref, depth=1)[:PAGE_ROWS]
    looks = column_looks(ask, dataset.spec, version, rows["preview"])
    personal = data.masked_columns(dataset.spec, version)
    facts = {
        "version": without_personal(version, personal),
        "ref": ref,
        "fragments": newest_first[:PAGE_ROWS],
        "fragments_count": len(version.fragments),
        "downstream": downstream,
        "missing": {name: look.missing for name, look in looks.items() if look.missing is not None},
        "is_older": version.state == "ready" and dataset.newest != number,
        "origin": origins[0] if origins else None,
        "personal": sorted(personal),
        "rows": rows,
        "failing": failing,
        "columns": looks,
    }
    drawn = {"cells": cells_of(rows["preview"]), "failing_cells": cells_of(failing["preview"], version.checks)}
    return View("data/dataset_version.html", f"{name} v{number}", "Data", facts, drawn)


def column_looks(
    ask: Ask, spec: DatasetSpec, version: DatasetVersion, preview: Preview | None
) -> dict[str, ColumnLook]:
    """Return what a version's profile says of its columns, how they are spread of those that a preview shows.

    After the last query, for it is read from a blob.
    """
    drawn = {column.name for column in preview.columns} if preview is not None else set()
    profile = None
    with suppress(LoopwrightError):
        profile = data.read.read_profile(version, ask.blobs)
    return look_at(version.schema, profile, data.masked_columns(spec, version), drawn)


def without_personal(version: DatasetVersion, personal: Iterable[str]) -> DatasetVersion:
    """Return a version whose samples show nothing that is personal by now."""
    return msgspec.structs.replace(version, checks=data.mask_checks(version.checks, set(personal)))


Marked = tuple[Cell, bool]
"""A cell, and whether its value is what failed."""


def cells_of(preview: Preview | None, checks: Iterable[CheckResult] = ()) -> list[list[Marked]]:
    """Return the rows of a preview as cells; of failing rows those are marked whose column a failed check names."""
    if preview is None:
        return []
    names = [column.name for column in preview.columns]
    dtypes = {column.name: column.dtype for column in preview.columns}
    masked = set(preview.masked)
    checked = sorted({one.check.column for one in checks if not one.passed and one.check.column}, key=len, reverse=True)
    found = []
    for row in preview.values:
        failed = _failed_columns(str(row[0]), checked[:_MOST_MARKED]) if preview.part == "failing" else set()
        found.append(
            [
                (cell(value, dtypes[name], is_masked=name in masked), name in failed)
                for name, value in zip(names, row, strict=True)
            ]
        )
    return found


def _failed_columns(reasons: str, checked: Iterable[str]) -> set[str]:
    """Return the columns that a row's reasons name: each reason begins with its column, of two such the longer one."""
    return {
        column
        for reason in re.split(r"; ", reasons)
        if (column := next((one for one in checked if reason == one or reason.startswith(f"{one} ")), None))
    }


ROUTES = [*page("/data/{dataset}/{version}", show_version)]
