"""Statements of retention: what is declared, what is old enough, what was removed."""

from typing import TYPE_CHECKING

from sqlalchemy import Connection, Row, delete, select

from loopwright.store.rows import read_row, row_of
from loopwright.store.sql.chunks import read_chunk
from loopwright.store.sql.rows import upsert
from loopwright.store.tables import chunks, merged_chunks, removals, retentions
from loopwright.store.types import Chunk, Removal, Retention

if TYPE_CHECKING:
    from loopwright.store.tx import Tx


def save_retention(tx: "Tx", declared: Retention) -> None:
    """Store a declaration in place of the one before."""
    row = row_of(tx, retentions, declared, recorded_at=tx.wall_us)
    upsert(tx.connection, retentions, [row], key=("project_id", "kind", "stream"), do_update=True)


def list_retentions(tx: "Tx") -> list[Retention]:
    """Return every declaration, by kind and stream."""
    statement = select(retentions).where(retentions.c.project_id == tx.project)
    ordered = statement.order_by(retentions.c.kind, retentions.c.stream)
    return [read_row(row, Retention) for row in tx.execute(ordered)]


def expired_chunks(
    connection: Connection, project: str, kind: str, stream: str, *, end_at: int, recorded_before: int, limit: int
) -> list[Chunk]:
    """Return the oldest chunks whose rows all lie before a moment of event time, stored before one of wall time."""
    statement = select(chunks).where(
        chunks.c.project_id == project,
        chunks.c.kind == kind,
        chunks.c.stream == stream,
        chunks.c.event_at_max < end_at,
        chunks.c.recorded_at < recorded_before,
    )
    rows = connection.execute(statement.order_by(chunks.c.event_at_min, chunks.c.chunk_id).limit(limit))
    return [read_chunk(row) for row in rows]


def remove_chunks(tx: "Tx", removal: Removal, chunk_ids: list[str]) -> None:
    """Remove chunks, what they were merged from, and write down that it was done."""
    for table in (chunks, merged_chunks):
        is_one = (table.c.project_id == tx.project, table.c.chunk_id.in_(chunk_ids))
        tx.execute(delete(table).where(*is_one))
    keep_removal(tx, removal)


def keep_removal(tx: "Tx", removal: Removal) -> None:
    """Write down what was removed."""
    tx.execute(removals.insert(), row_of(tx, removals, removal))


def list_removals(tx: "Tx", *, kind: str | None = None, stream: str | None = None, limit: int = 1000) -> list[Removal]:
    """Return what was removed, newest first."""
    statement = select(removals).where(removals.c.project_id == tx.project)
    if kind is not None:
        statement = statement.where(removals.c.kind == kind)
    if stream is not None:
        statement = statement.where(removals.c.stream == stream)
    return [_removal(row) for row in tx.execute(statement.order_by(removals.c.removal_id.desc()).limit(limit))]


def find_removal(tx: "Tx", kind: str, item_id: str) -> Removal | None:
    """Return the removal whose ids range around one."""
    holds = (removals.c.id_first <= item_id, removals.c.id_last >= item_id)
    statement = select(removals).where(removals.c.project_id == tx.project, removals.c.kind == kind, *holds)
    row = tx.execute(statement.order_by(removals.c.removal_id).limit(1)).first()
    return None if row is None else _removal(row)


def _removal(row: "Row[tuple[object, ...]]") -> Removal:
    return read_row(row, Removal)
