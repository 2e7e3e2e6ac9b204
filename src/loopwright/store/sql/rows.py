"""Statements that rooms share: an upsert, a change of a row that is as it was read, a condition on the beginning."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, bindparam, func, update
from sqlalchemy.dialects import postgresql, sqlite

from loopwright.kernel.errors import Conflict
from loopwright.store.statements import Statement


def upsert(
    connection: Connection, table: Table, rows: list[dict[str, Any]], *, key: Sequence[str], do_update: bool
) -> int:
    """Insert rows; where the key exists, replace the other columns or leave the row. Return how many changed."""
    if not rows:
        return 0
    statement = _upsert(connection.dialect.name, table, tuple(rows[0]), tuple(key), do_update)
    return statement.run_each(connection, rows)


@cache
def _upsert(
    dialect_name: str, table: Table, columns: tuple[str, ...], key: tuple[str, ...], do_update: bool
) -> Statement:
    dialect: Any = postgresql if dialect_name == "postgresql" else sqlite
    statement = dialect.insert(table)
    if do_update:
        changed = {name: statement.excluded[name] for name in columns if name not in key}
        return Statement(statement.on_conflict_do_update(index_elements=list(key), set_=changed), columns)
    return Statement(statement.on_conflict_do_nothing(index_elements=list(key)), columns)


def update_as_read(
    connection: Connection, table: Table, key: dict[str, Any], *, seen: dict[str, Any], values: dict[str, Any]
) -> None:
    """Change one row that still is as it was read, such as in the state whose change was found legal.

    Raises:
        Conflict: Another call changed it since.
    """
    statement = _update_as_read(table, tuple(key), tuple(seen), tuple(values))
    named = {"key": key, "seen": seen, "new": values}
    bound = {f"{kind}_{name}": value for kind, values in named.items() for name, value in values.items()}
    if statement.run(connection, **bound) == 0:
        raise Conflict(
            "another call changed this at the same moment",
            value=", ".join(map(str, seen.values())),
            next_step="look how it stands now, then repeat the call",
        )


@cache
def _update_as_read(table: Table, key: tuple[str, ...], seen: tuple[str, ...], values: tuple[str, ...]) -> Statement:
    is_row = [table.c[name] == bindparam(f"key_{name}") for name in key]
    is_same = [table.c[name].is_not_distinct_from(bindparam(f"seen_{name}")) for name in seen]
    statement = update(table).where(*is_row, *is_same)
    return Statement(statement.values({name: bindparam(f"new_{name}") for name in values}))


def begins_with(column: Any, prefix: str) -> ColumnElement[bool]:
    """Return the condition that a text begins so, letter by letter (LIKE forgets the case on SQLite)."""
    return func.substr(column, 1, len(prefix)) == prefix
