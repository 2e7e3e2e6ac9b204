"""Finding, counting and removing rows of any table by its name: of a whole project, or of one thing in it.

Rows are removed bit by bit, so that no other call waits for them.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Table, delete, func, select, tuple_

from loopwright.store.columns import METADATA
from loopwright.store.tx import Tx

ROWS_AT_ONCE = 2_000
_KEPT = {"projects", "events", "jobs"}
"""Tables whose rows outlive their project: that it was there, what happened in it; jobs go when their time is over."""


def forget_rows(tx: Tx) -> int:
    """Remove at most ``ROWS_AT_ONCE`` rows of the project, of the first table that has any; return how many."""
    return next((removed for table in _tables() if (removed := _forget_some(tx, table, {}, ROWS_AT_ONCE))), 0)


def count_rows(tx: Tx) -> dict[str, int]:
    """Return how many rows of the project would be removed, by table; those without any are left out."""
    counts = {table.name: count_matching(tx, table.name, {}) for table in _tables()}
    return {name: rows for name, rows in counts.items() if rows}


def find_matching(tx: Tx, table: str, where: Mapping[str, Any], *, limit: int) -> list[dict[str, Any]]:
    """Return rows of the project whose columns have these values, in the order of their key."""
    chosen = METADATA.tables[table]
    statement = select(chosen).where(*_matches(tx, chosen, where))
    rows = tx.execute(statement.order_by(*chosen.primary_key.columns).limit(limit))
    return [dict(row._mapping) for row in rows]


def count_matching(tx: Tx, table: str, where: Mapping[str, Any]) -> int:
    """Return how many rows of the project have these values."""
    chosen = METADATA.tables[table]
    return int(tx.execute(select(func.count()).select_from(chosen).where(*_matches(tx, chosen, where))).scalar_one())


def remove_matching(tx: Tx, table: str, where: Mapping[str, Any], *, until: int | None = None, limit: int = 0) -> int:
    """Remove rows of the project whose columns have these values; return how many.

    Args:
        tx: The open transaction.
        table: Its name.
        where: Values of columns.
        until: Leave rows that were recorded later, wall clock, where the table says when; None for all.
        limit: At most so many; 0 for all of them.
    """
    chosen = METADATA.tables[table]
    return _forget_some(tx, chosen, where, limit, until)


def _tables() -> Iterator[Table]:
    tables = reversed(METADATA.sorted_tables)
    return (table for table in tables if "project_id" in table.c and table.name not in _KEPT)


def _matches(tx: Tx, table: Table, where: Mapping[str, Any], until: int | None = None) -> list[ColumnElement[bool]]:
    conditions = [table.c.project_id == tx.project, *(table.c[name] == value for name, value in where.items())]
    if until is not None and "recorded_at" in table.c:
        conditions.append(table.c.recorded_at <= until)
    return conditions


def _forget_some(tx: Tx, table: Table, where: Mapping[str, Any], limit: int, until: int | None = None) -> int:
    conditions = _matches(tx, table, where, until)
    if not limit:
        return int(tx.execute(delete(table).where(*conditions)).rowcount)
    keys = [column for column in table.primary_key.columns if column.name != "project_id"]
    some = select(*keys).where(*conditions).limit(limit)
    chosen = tuple_(*keys).in_(some) if len(keys) > 1 else keys[0].in_(some)
    return int(tx.execute(delete(table).where(table.c.project_id == tx.project, chosen)).rowcount)
