"""Statements of merged chunks: what may become one, and what each one was."""

from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, delete, func, not_, select, text, tuple_, update

from loopwright.store.intervals import SPAN_CLASSES
from loopwright.store.sql.chunks import EARLIEST, LATEST, read_chunk
from loopwright.store.sql.rows import upsert
from loopwright.store.tables import chunks, merged_chunks, stream_cursors
from loopwright.store.types import Chunk, MergeGroup, StoredChunk

_is_unread = (
    select(stream_cursors.c.until)
    .where(
        stream_cursors.c.project_id == chunks.c.project_id,
        stream_cursors.c.kind == chunks.c.kind,
        stream_cursors.c.stream == chunks.c.stream,
        stream_cursors.c.until < chunks.c.recorded_at,
    )
    .exists()
)
"""Whoever takes each row of the stream once has not come to this chunk: merged, it would hold rows that were taken."""


class Small(NamedTuple):
    """Which chunks of a project are to be merged.

    Args:
        project: Whose.
        level: That of what they become; they are below it.
        stretch_us: How long a stretch of event time is; a chunk belongs to the one in which it begins.
        before_us: They were stored before, wall time.
        most_rows: Those that have more are large enough.
    """

    project: str
    level: int
    stretch_us: int
    before_us: int
    most_rows: int

    @property
    def stretch(self) -> ColumnElement[int]:
        """Where the stretch of a chunk begins."""
        return chunks.c.event_at_min - chunks.c.event_at_min % self.stretch_us

    @property
    def conditions(self) -> ColumnElement[bool]:
        """What each of them meets."""
        return and_(
            chunks.c.project_id == self.project,
            chunks.c.level + 0 < self.level,  # the sum keeps SQLite from reading whole streams by their levels
            chunks.c.recorded_at < self.before_us,
            chunks.c.rows <= self.most_rows,
            not_(_is_unread),
        )


def merge_groups(
    connection: Connection, small: Small, *, least: int, after: MergeGroup | None, limit: int
) -> list[MergeGroup]:
    """Return what ``least`` or more of some chunks have in common, by time, from behind one group on."""
    named = (chunks.c.kind, chunks.c.stream, chunks.c.writer)
    statement = (
        select(*named, small.stretch.label("stretch"))
        .where(small.conditions)
        .group_by(*named, text("stretch"))
        .having(func.count() >= least)
        .order_by(text("stretch"), *named)
        .limit(limit)
    )
    if after is not None:
        here = tuple_(after.start_at, after.kind, after.stream, after.writer)
        statement = statement.where(tuple_(small.stretch, *named) > here)
    return [
        MergeGroup(small.level, row.kind, row.stream, row.writer, row.stretch) for row in connection.execute(statement)
    ]


def chunks_of_group(
    connection: Connection, small: Small, group: MergeGroup, *, after: tuple[str, int], limit: int
) -> list[Chunk]:
    """Return chunks of a group in the order of their ids, those behind an id and its writer's number."""
    statement = select(chunks).where(
        small.conditions,
        small.stretch == group.start_at,
        chunks.c.kind == group.kind,
        chunks.c.stream == group.stream,
        chunks.c.writer == group.writer,
        # For the index; every class is named, for it leads with them.
        chunks.c.span_class.in_(range(SPAN_CLASSES)),
        chunks.c.event_at_min > max(EARLIEST, group.start_at - small.stretch_us),
        chunks.c.event_at_min < min(LATEST, group.start_at + small.stretch_us),
        tuple_(chunks.c.id_first, chunks.c.seq) > tuple_(*after),
    )
    rows = connection.execute(statement.order_by(chunks.c.id_first, chunks.c.seq).limit(limit))
    return [read_chunk(row) for row in rows]


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


def next_seq(connection: Connection, project: str, told: StoredChunk) -> int:
    """Return the next number of the writer of a chunk in its stream."""
    numbers = [-1]
    for table in (chunks, merged_chunks):
        of = [table.c[name] == getattr(told, name) for name in ("writer", "kind", "stream")]
        newest = select(func.max(table.c.seq)).where(table.c.project_id == project, *of)
        found = connection.execute(newest).scalar()
        numbers += [] if found is None else [int(found)]
    return 1 + max(numbers)


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
