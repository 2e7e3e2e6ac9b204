"""Where versions came from: who asked for them, who let them pass, and what they did to the rows."""

from collections.abc import Mapping
from contextlib import suppress
from typing import TypeVar

from loopwright.data import sql
from loopwright.data.events import ImportStarted, VersionQuarantined, VersionReady
from loopwright.data.types import DatasetVersion, VersionOrigin
from loopwright.data.versions import list_versions
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.events import Event, Facts, event_type
from loopwright.kernel.verbs import Count, query
from loopwright.store.sql import events as event_log
from loopwright.store.tx import Tx

F = TypeVar("F", bound=Facts)
_MOST_IMPORTS = 1000
"""Imports that are looked through for those that made the listed versions; more came to nothing in between."""


@query("data.origins")
def list_origins(tx: Tx, *, dataset: str, limit: Count = 100, before: int | None = None) -> list[VersionOrigin]:
    """Return how versions came to be, newest first; the same ones as ``data.versions`` lists."""
    versions = list_versions(tx, dataset=dataset, limit=limit, before=before)
    told = _events(tx, dataset, versions)
    askers = _askers(tx, dataset, [event for events in told.values() for event in events])
    rows = _rows(tx, dataset, versions)
    return [_origin(version, told.get(version.version, []), askers, rows) for version in versions]


def _events(tx: Tx, dataset: str, versions: list[DatasetVersion]) -> dict[int, list[Event]]:
    refs = {tx.ref("dataset", dataset, version.version): version.version for version in versions}
    told: dict[int, list[Event]] = {}
    for event in event_log.events_about(tx, list(refs), VersionReady, VersionQuarantined):
        told.setdefault(refs[event.ref], []).append(event)
    return told


def _askers(tx: Tx, dataset: str, told: list[Event]) -> dict[str, str]:
    """Return who asked for each import, by its job."""
    if not told:
        return {}
    newest = max(told, key=lambda event: event.recorded_at)
    started = event_log.newest_before(tx, ImportStarted, tx.ref("dataset", dataset), newest, _MOST_IMPORTS)
    return {facts.job_id: event.actor for event in started if (facts := _read(event, ImportStarted)) is not None}


def _read(event: Event, kind: type[F]) -> F | None:
    """Return the facts of an event, None of one whose facts were others in its day."""
    with suppress(InvalidInput):
        return event.read(kind)
    return None


def _rows(tx: Tx, dataset: str, versions: list[DatasetVersion]) -> dict[int, int]:
    """Return how many rows the versions have, and the one before the oldest of them."""
    rows = {version.version: version.rows for version in versions}
    parent = versions[-1].parent if versions else None
    if parent is not None and parent not in rows:
        rows |= {one.version: one.rows for one in sql.list_versions(tx, dataset, limit=1, before=parent + 1)}
    return rows


def _origin(
    version: DatasetVersion, told: list[Event], askers: Mapping[str, str], rows: Mapping[int, int]
) -> VersionOrigin:
    by = released_by = changed = None
    released_reason = ""
    for event in told:
        held, ready = _read(event, VersionQuarantined), _read(event, VersionReady)
        if event.type == event_type(VersionQuarantined):
            by = askers.get(held.job_id) if held is not None else None
        elif ready is not None and ready.is_released:
            released_by, released_reason = event.actor, event.reason
        elif ready is not None:
            by = event.actor if ready.restored_from is not None else askers.get(ready.job_id)
            changed = ready.rows_changed
    added, removed = _moved(version, rows)
    brings_none = version.parent is None or version.operation in ("append", "delete")
    is_whole = version.operation == "replace" and version.parent is not None
    changed = 0 if brings_none else None if is_whole else changed
    return VersionOrigin(version.version, by, released_by, released_reason, added, changed, removed)


def _moved(version: DatasetVersion, rows: Mapping[int, int]) -> tuple[int | None, int | None]:
    """Return the rows that a version added and took away; None for what cannot be told by their number."""
    if version.parent is None:
        return version.rows, 0
    before = rows.get(version.parent)
    if version.operation == "replace" or before is None:
        return None, None
    return max(0, version.rows - before), max(0, before - version.rows)
