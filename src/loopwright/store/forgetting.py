"""Counting the rows of a project, and removing them bit by bit, so that no other call waits for it."""

from collections.abc import Iterator

from sqlalchemy import Table, delete, func, select, tuple_

from loopwright.store.columns import METADATA
from loopwright.store.tx import Tx

ROWS_AT_ONCE = 2_000
_KEPT = {"projects", "events", "jobs"}
"""Tables whose rows outlive their project: that it was there, what happened in it; jobs go when their time is over."""


def forget_rows(tx: Tx) -> int:
    """Remove at most ``ROWS_AT_ONCE`` rows of the project, of the first table that has any; return how many."""
    return next((removed for table in _tables() if (removed := _forget_some(tx, table))), 0)


def count_rows(tx: Tx) -> dict[str, int]:
    """Return how many rows of the project would be removed, by table; those without any are left out."""
    counts = {}
    for table in _tables():
        count = select(func.count()).select_from(table).where(table.c.project_id == tx.project)
        counts[table.name] = int(tx.execute(count).scalar_one())
    return {name: rows for name, rows in counts.items() if rows}


def _tables() -> Iterator[Table]:
    tables = reversed(METADATA.sorted_tables)
    return (table for table in tables if "project_id" in table.c and table.name not in _KEPT)


def _forget_some(tx: Tx, table: Table) -> int:
    keys = [column for column in table.primary_key.columns if column.name != "project_id"]
    some = select(*keys).where(table.c.project_id == tx.project).limit(ROWS_AT_ONCE)
    chosen = tuple_(*keys).in_(some) if len(keys) > 1 else keys[0].in_(some)
    return int(tx.execute(delete(table).where(table.c.project_id == tx.project, chosen)).rowcount)
