"""Statements of merged chunks: what may become one, and what each one was."""

from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, delete, func, select, text, update

from loopwright.store.sql.chunks import read_chunk
from loopwright.store.sql.rows import upsert
from loopwright.store.tables import chunks, merged_chunks
from loopwright.store.types import Chunk


class MergeKey(NamedTuple):
    """What chunks have in common that may become one, and the conditions each of them meets."""

    kind: str
    stream: str
    writer: str
    stretch: int
    conditions: Any


def merge_keys(
    connection: Connection,
    project: str,
    *,
    level: int,
    stretch_us: int,
    before_us: int,
    least: int,
    most_rows: int,
    limit: int,
) -> list[MergeKey]:
    """Return what chunks have in common of which there are ``least`` below a level, in one stretch of event time.

    Args:
        connection: To read on.
        project: Whose.
        level: That of what they become.
        stretch_us: How long a stretch is; a chunk belongs to the one in which it begins.
        before_us: They were stored before, wall time.
        least: How many there must be.
        most_rows: Those that have more are large enough.
        limit: How many keys.
    """
    stretch = chunks.c.event_at_min - chunks.c.event_at_min % stretch_us
    conditions = and_(
        chunks.c.project_id == project,
        chunks.c.level < level,
        chunks.c.recorded_at < before_us,
        chunks.c.rows <= most_rows,
    )
    statement = (
        select(chunks.c.kind, chunks.c.stream, chunks.c.writer, stretch.label("stretch"))
        .where(conditions)
        .group_by(chunks.c.kind, chunks.c.stream, chunks.c.writer, text("stretch"))
        .having(func.count() >= least)
        .order_by(text("stretch"))
        .limit(limit)
    )
    return [
        MergeKey(row.kind, row.stream, row.writer, row.stretch, and_(conditions, stretch == row.stretch))
        for row in connection.execute(statement)
    ]


def chunks_of_key(connection: Connection, key: MergeKey) -> list[Chunk]:
    """Return the chunks that have a key in common, in the order of their ids."""
    named = (chunks.c.kind == key.kind, chunks.c.stream == key.stream, chunks.c.writer == key.writer)
    statement = select(chunks).where(key.conditions, *named).order_by(chunks.c.id_first, chunks.c.seq)
    return [read_chunk(row) for row in connection.execute(statement)]


def chunks_named(connection: Connection, project: str, chunk_ids: list[str]) -> list[Chunk]:
    """Return those of some chunks that are there."""
    statement = select(chunks).where(chunks.c.project_id == project, chunks.c.chunk_id.in_(chunk_ids))
    return [read_chunk(row) for row in connection.execute(statement)]


def delete_chunks(connection: Connection, project: str, chunk_ids: list[str]) -> None:
    """Remove chunks; their blobs stay until they are swept."""
    connection.execute(delete(chunks).where(chunks.c.project_id == project, chunks.c.chunk_id.in_(chunk_ids)))


def next_merged_seq(connection: Connection, project: str, writer: str) -> int:
    """Return a number of a merged chunk of a writer: below zero, for its own begin above."""
    statement = select(func.min(chunks.c.seq)).where(chunks.c.project_id == project, chunks.c.writer == writer)
    return min(int(connection.execute(statement).scalar() or 0), 0) - 1


def remember_merged(connection: Connection, merged: Chunk, before: list[Chunk]) -> None:
    """Keep what the chunks were that became one; what they had been merged from is in the new one now."""
    is_in_one = merged_chunks.c.chunk_id.in_([chunk.chunk_id for chunk in before])
    moved = update(merged_chunks).where(merged_chunks.c.project_id == merged.project, is_in_one)
    connection.execute(moved.values(chunk_id=merged.chunk_id))
    names = ("kind", "stream", "writer", "seq", "digest", "rows", "id_first", "id_last")
    rows = [
        {"project_id": merged.project, "chunk_id": merged.chunk_id, **{name: getattr(chunk, name) for name in names}}
        for chunk in before
        if chunk.level == 0  # numbers of merged ones are not sent again
    ]
    upsert(connection, merged_chunks, rows, key=("project_id", "writer", "seq", "kind", "stream"), do_update=False)


def find_merged(connection: Connection, chunk: Chunk) -> tuple[tuple[int, str, str], Chunk | None] | None:
    """Return what a writer sent under a number before, and the chunk that it is in now; None if it sent nothing.

    Rows and range of ids say what it was. It is in no chunk where what it belonged to was deleted since.
    """
    names = ("writer", "seq", "kind", "stream")
    of = [merged_chunks.c.project_id == chunk.project, *(merged_chunks.c[n] == getattr(chunk, n) for n in names)]
    row = connection.execute(select(merged_chunks).where(*of)).first()
    if row is None:
        return None
    into = chunks_named(connection, chunk.project, [row.chunk_id])
    return (row.rows, row.id_first, row.id_last), into[0] if into else None


def sealed_segments(connection: Connection) -> set[tuple[str, str, str, str, int]]:
    """Return writer, project, kind, stream and number of every chunk that a writer sent, whatever became of it."""
    names = ("writer", "project_id", "kind", "stream", "seq")
    return {
        (row.writer, row.project_id, row.kind, row.stream, row.seq)
        for table in (chunks, merged_chunks)
        for row in connection.execute(select(*(table.c[name] for name in names)))
    }
