"""What is shown of personal values: that there is one, not which. Pure.

Samples are masked where they are made, by what was declared then. Whoever shows them later masks them again, by what is
declared now: a column may have become personal since.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from loopwright.data.types import CheckResult, ColumnChange, DatasetSpec, DatasetVersion, Diff

MASK = "•••"
TELLING = ("low", "high", "mean")
"""Statistics that say something of single values."""


def masked_columns(spec: DatasetSpec, *versions: DatasetVersion) -> set[str]:
    """Return the columns that are personal by what is declared now, or was when the rows of some versions came."""
    specs = [spec, *(version.spec for version in versions if version.spec is not None)]
    return {name for one in specs for name in one.personal}


def is_masked(value: Any) -> bool:
    """Say whether a value of a kept sample is the mask; a text that is written so is taken for it."""
    return isinstance(value, str) and value == MASK


def mask_row(row: Mapping[str, Any], masked: Collection[str]) -> dict[str, Any]:
    """Return a row whose masked columns show that there is a value.

    >>> mask_row({"id": 1, "email": "a@b.c", "phone": None}, ["email", "phone"])
    {'id': 1, 'email': '•••', 'phone': None}
    """
    return {name: MASK if name in masked and value is not None else value for name, value in row.items()}


def mask_checks(results: Sequence[CheckResult], masked: Collection[str]) -> list[CheckResult]:
    """Return results whose samples show no masked value."""
    return [
        msgspec.structs.replace(result, samples=[mask_row(row, masked) for row in result.samples]) for result in results
    ]


def mask_diff(diff: Diff, masked: Collection[str]) -> Diff:
    """Return a comparison whose samples show no masked value, and whose statistics tell of none."""
    samples = {kind: [_mask_sample(row, masked) for row in rows] for kind, rows in diff.samples.items()}
    statistics = [one for one in diff.statistics if not _tells(one, masked)]
    return msgspec.structs.replace(diff, samples=samples, statistics=statistics)


def _mask_sample(row: Mapping[str, Any], masked: Collection[str]) -> dict[str, Any]:
    shown = mask_row(row, masked)
    changes = row.get("changes")
    if isinstance(changes, dict):  # unless a column of the rows has this name
        shown["changes"] = {
            name: mask_row({**change}, ("before", "after") if name in masked else ())
            for name, change in changes.items()
        }
    return shown


def _tells(change: ColumnChange, masked: Collection[str]) -> bool:
    return change.column in masked and change.what in TELLING
