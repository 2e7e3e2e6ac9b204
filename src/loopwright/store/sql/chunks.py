"""Statements of chunks."""

from typing import Any

from sqlalchemy import Connection, Row, func, select

from loopwright.store.sql.rows import upsert
from loopwright.store.tables import chunks
from loopwright.store.types import Chunk


def insert_chunk(connection: Connection, chunk: Chunk) -> Chunk:
    """Register a chunk; the same (writer, seq, kind, stream) again returns the first one."""
    values = {field: getattr(chunk, field) for field in chunk.__struct_fields__ if field != "project"}
    values["project_id"] = chunk.project
    key = ("project_id", "writer", "seq", "kind", "stream")
    upsert(connection, chunks, [values], key=key, do_update=False)
    return _chunk(connection.execute(select(chunks).where(*(chunks.c[name] == values[name] for name in key))).one())


def find_chunks(
    connection: Connection,
    project: str,
    kind: str,
    *,
    stream: str | None = None,
    item_id: str | None = None,
    start_at: int | None = None,
    end_at: int | None = None,
) -> list[Chunk]:
    """Return the chunks of a kind, by stream, by an id in their range, or by event time in ``[start_at, end_at)``."""
    statement = select(chunks).where(chunks.c.project_id == project, chunks.c.kind == kind)
    if stream is not None:
        statement = statement.where(chunks.c.stream == stream)
    if item_id is not None:
        statement = statement.where(chunks.c.id_first <= item_id, chunks.c.id_last >= item_id)
    if start_at is not None:
        statement = statement.where(chunks.c.event_at_max >= start_at)
    if end_at is not None:
        statement = statement.where(chunks.c.event_at_min < end_at)
    return [_chunk(row) for row in connection.execute(statement.order_by(chunks.c.id_first))]


def has_chunks(connection: Connection, project: str, kind: str, stream: str) -> bool:
    """Say whether a stream has any chunk of a kind."""
    statement = (
        select(chunks.c.chunk_id)
        .where(chunks.c.project_id == project, chunks.c.kind == kind, chunks.c.stream == stream)
        .limit(1)
    )
    return connection.execute(statement).first() is not None


def count_rows(connection: Connection, project: str, kind: str, stream: str, writers: str = "") -> int:
    """Return how many rows the chunks of a stream hold, of writers whose name begins with ``writers``."""
    statement = select(func.sum(chunks.c.rows)).where(
        chunks.c.project_id == project,
        chunks.c.kind == kind,
        chunks.c.stream == stream,
        chunks.c.writer.startswith(writers, autoescape=True),
    )
    return int(connection.execute(statement).scalar() or 0)


def _chunk(row: Row[Any]) -> Chunk:
    values = dict(row._mapping)
    return Chunk(project=values.pop("project_id"), **values)


def all_chunks(connection: Connection) -> list[Chunk]:
    """Return every chunk of every project."""
    return [_chunk(row) for row in connection.execute(select(chunks))]
