"""Removing points of metrics of runs that ended long ago: the last of each metric stays, and the run says so.

A run keeps all its points while it goes on, and while something living needs it: whoever looks into the version that
serves sees the whole course of its training.
"""

from collections.abc import Iterator

from loopwright import tracking
from loopwright.kernel.refs import parse_ref
from loopwright.loop.housekeeping.dependents import find_holds
from loopwright.loop.types import Expired, Pin
from loopwright.store import sql as store_sql
from loopwright.store.events import RowsRemoved
from loopwright.store.retention import keep_of, subject_of
from loopwright.store.tx import Tx
from loopwright.store.types import Removal

KIND = "points"
MOST_POINTS = 20_000
"""Points that are removed in one transaction."""
_MOST_RUNS = 500
_MOST_PLANNED = 100_000


def plan(tx: Tx) -> list[Expired]:
    """Return which points are old enough, by experiment, and what keeps some."""
    expired = []
    for experiment, ended_before in _declared(tx):
        old, held = _old_runs(tx, experiment, ended_before, _MOST_PLANNED)
        points = sum(
            tracking.count_points(tx, run_ids=old[first : first + _MOST_RUNS])
            for first in range(0, len(old), _MOST_RUNS)
        )
        pins = [Pin(0, why) for why in held.values()]
        if points or pins:
            expired.append(Expired(KIND, experiment, len(old), points, 0, pins))
    return expired


def apply(tx: Tx) -> list[Removal]:
    """Remove points that are old enough, at most ``MOST_POINTS``, and tell it."""
    removed: list[Removal] = []
    left = MOST_POINTS
    for experiment, ended_before in _declared(tx):
        old, _ = _old_runs(tx, experiment, ended_before, _MOST_RUNS)
        points = tracking.remove_points(tx, run_ids=old, limit=left) if left > 0 else 0
        left -= points
        if points:
            removed.append(_tell(tx, experiment, old, points))
    return removed


def _declared(tx: Tx) -> Iterator[tuple[str, int]]:
    """Yield each experiment whose points are not kept for ever, and before when its runs ended, wall clock."""
    declared = store_sql.list_retentions(tx)
    if any(each.kind == KIND and each.keep_us is not None for each in declared):
        for experiment in tracking.list_experiments(tx):
            keep_us = keep_of(declared, KIND, experiment.name)
            if keep_us is not None:
                yield experiment.name, tx.wall_us - keep_us


def _old_runs(tx: Tx, experiment: str, ended_before: int, limit: int) -> tuple[list[str], dict[str, str]]:
    """Return the runs whose points may go, and of those that something needs why."""
    found = tracking.runs_with_old_points(tx, experiment=experiment, finished_before=ended_before, limit=limit)
    refs = {tx.ref("run", run_id): run_id for run_id in found}
    holds, _ = find_holds(tx, {ref: parse_ref(ref) for ref in refs})
    held = {refs[hold.ref]: f"{hold.ref}: {hold.why}" for hold in holds}
    return [run_id for run_id in found if run_id not in held], held


def _tell(tx: Tx, experiment: str, run_ids: list[str], points: int) -> Removal:
    removal = Removal(
        removal_id=tx.new_id("rem"),
        kind=KIND,
        stream=experiment,
        chunks=len(run_ids),
        rows=points,
        size_bytes=0,
        start_at=0,
        end_at=0,
        id_first=min(run_ids),
        id_last=max(run_ids),
        removed_at=tx.wall_us,
    )
    store_sql.keep_removal(tx, removal)
    facts = RowsRemoved(KIND, experiment, len(run_ids), points, 0, 0, 0)
    tx.emit(facts, subject_of(tx, KIND, experiment), reason="older than retention.set keeps them")
    return removal
