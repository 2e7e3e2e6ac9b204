"""Statements of chunks."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, bindparam, func, not_, or_, select, union_all, update

from loopwright.store.intervals import (
    PREFIX_LENGTH,
    SPAN_CLASSES,
    longest_span,
    prefixes_of,
    shared_prefix,
    span_class,
)
from loopwright.store.sql.rows import upsert
from loopwright.store.statements import Statement
from loopwright.store.streams import LABELS
from loopwright.store.tables import chunks
from loopwright.store.types import Chunk

LEVELS = (0, 1, 2)
"""How often a chunk may have been merged: not at all, into an hour's, into a day's."""
EARLIEST, LATEST = -(1 << 62), 1 << 62
_FIELDS = [name for name in Chunk.__struct_fields__ if name != "project"]


_of_stream = and_(
    chunks.c.project_id == bindparam("of_project"),
    chunks.c.kind == bindparam("of_kind"),
    chunks.c.stream == bindparam("of_stream"),
)
_between = union_all(
    *(
        select(chunks).where(
            _of_stream,
            chunks.c.span_class == of_class,
            chunks.c.event_at_min >= bindparam(f"from_{of_class}"),
            chunks.c.event_at_min < bindparam("end_at"),
            chunks.c.event_at_max >= bindparam("start_at"),
        )
        for of_class in range(SPAN_CLASSES)
    )
)
_find_between = Statement(_between)
_find_holding = Statement(
    select(chunks).where(
        chunks.c.project_id == bindparam("of_project"),
        chunks.c.kind == bindparam("of_kind"),
        chunks.c.id_prefix.in_([bindparam(f"prefix_{length}") for length in range(PREFIX_LENGTH + 1)]),
        chunks.c.id_first <= bindparam("item_id"),
        chunks.c.id_last >= bindparam("item_id"),
    )
)
_within = select(chunks).where(
    _of_stream, chunks.c.about_first > bindparam("id_first"), chunks.c.about_first <= bindparam("id_last")
)
_around = select(chunks).where(
    _of_stream,
    chunks.c.about_prefix.in_([bindparam(f"prefix_{length}") for length in range(PREFIX_LENGTH + 1)]),
    chunks.c.about_first <= bindparam("id_first"),
    chunks.c.about_last >= bindparam("id_first"),
    chunks.c.about_first > "",
)
_find_telling = Statement(union_all(_within, _around))
"""What tells of ids in a range: it begins in the range, or holds the first of them."""
_find_untold = Statement(
    select(chunks).where(_of_stream, chunks.c.about_first == "", chunks.c.event_at_max >= bindparam("start_at"))
)


def insert_chunk(connection: Connection, chunk: Chunk) -> Chunk:
    """Register a chunk; the same (writer, seq, kind, stream) again returns the first one."""
    values = {field: getattr(chunk, field) for field in chunk.__struct_fields__ if field != "project"}
    values["project_id"] = chunk.project
    values["id_prefix"] = shared_prefix(chunk.id_first, chunk.id_last)
    values["about_prefix"] = shared_prefix(chunk.about_first, chunk.about_last)
    values["span_class"] = span_class(chunk.event_at_min, chunk.event_at_max)
    key = ("project_id", "writer", "seq", "kind", "stream")
    upsert(connection, chunks, [values], key=key, do_update=False)
    return read_chunk(connection.execute(select(chunks).where(*(chunks.c[name] == values[name] for name in key))).one())


def find_chunks(
    connection: Connection,
    project: str,
    kind: str,
    *,
    stream: str | None = None,
    item_id: str | None = None,
    start_at: int | None = None,
    end_at: int | None = None,
    recorded_since: int | None = None,
) -> list[Chunk]:
    """Return the chunks of a kind, in the order of their ids, that meet every condition that is given.

    Args:
        connection: To read on.
        project: Whose.
        kind: Which.
        stream: Of one stream.
        item_id: Whose range of ids holds this one.
        start_at: With rows of event time from here on.
        end_at: With rows of event time before.
        recorded_since: Stored then or later, wall time.
    """
    if item_id is not None:
        rows = _rows_holding(connection, project, kind, item_id)
    elif stream is not None and recorded_since is None:
        rows = _rows_between(connection, project, kind, stream, start_at, end_at)
    else:
        rows = list(connection.execute(_select(project, kind, stream, recorded_since)))
    kept = [
        row
        for row in rows
        if (stream is None or row.stream == stream)
        and (start_at is None or row.event_at_max >= start_at)
        and (end_at is None or row.event_at_min < end_at)
    ]
    return [read_chunk(row) for row in sorted(kept, key=lambda row: (row.id_first, row.chunk_id))]


def chunks_recorded(
    connection: Connection, project: str, kind: str, stream: str, *, since: int, after: str, limit: int
) -> list[Chunk]:
    """Return chunks of a stream by when they were stored: at ``since`` with an id behind ``after``, or later."""
    at, chunk_id = chunks.c.recorded_at, chunks.c.chunk_id
    is_behind = or_(at > since, and_(at == since, chunk_id > after))
    statement = _select(project, kind, stream, since).where(is_behind).order_by(at, chunk_id).limit(limit)
    return [read_chunk(row) for row in connection.execute(statement)]


def count_recorded(connection: Connection, project: str, kind: str, stream: str, first: int, last: int) -> int:
    """Return how many chunks of a stream were stored from one moment to another, microseconds UTC, both included."""
    those = _select(project, kind, stream, first).where(chunks.c.recorded_at <= last).subquery()
    return int(connection.execute(select(func.count()).select_from(those)).scalar() or 0)


def chunks_ending(
    connection: Connection, project: str, kind: str, stream: str, *, ids: tuple[str, str], after: str, limit: int
) -> list[Chunk]:
    """Return chunks by their last ids, which lie in a range; of those that end with its first some are left out."""
    end, chunk_id = chunks.c.id_last, chunks.c.chunk_id
    is_inside = and_(end >= ids[0], end <= ids[1], or_(end > ids[0], chunk_id > after))
    statement = _select(project, kind, stream, None).where(is_inside).order_by(end, chunk_id).limit(limit)
    return [read_chunk(row) for row in connection.execute(statement)]


def find_label_chunks(
    connection: Connection, project: str, stream: str, *, ids: Sequence[tuple[str, str]], start_at: int
) -> list[Chunk]:
    """Return the chunks of labels of a stream that tell of ids in some ranges, in the order of their own ids.

    Args:
        connection: To read on.
        project: Whose.
        stream: Of which stream.
        ids: First and last of each range.
        start_at: Of chunks that do not say of what they tell, those with rows of event time from here on.
    """
    of = {"of_project": project, "of_kind": LABELS.kind, "of_stream": stream}
    rows = _find_untold.all(connection, start_at=start_at, **of) if ids else []
    for first, last in ids:
        prefixes = {f"prefix_{length}": prefix for length, prefix in enumerate(prefixes_of(first))}
        rows += _find_telling.all(connection, id_first=first, id_last=last, **of, **prefixes)
    found = {row.chunk_id: row for row in rows}
    return [read_chunk(row) for row in sorted(found.values(), key=lambda row: (row.id_first, row.chunk_id))]


def _rows_holding(connection: Connection, project: str, kind: str, item_id: str) -> list[Any]:
    prefixes = {f"prefix_{length}": prefix for length, prefix in enumerate(prefixes_of(item_id))}
    return _find_holding.all(connection, of_project=project, of_kind=kind, item_id=item_id, **prefixes)


def _rows_between(
    connection: Connection, project: str, kind: str, stream: str, start_at: int | None, end_at: int | None
) -> list[Any]:
    start_at, end_at = EARLIEST if start_at is None else start_at, LATEST if end_at is None else end_at
    lowest = {f"from_{each}": max(EARLIEST, start_at - longest_span(each)) for each in range(SPAN_CLASSES)}
    stretch = {"start_at": start_at, "end_at": end_at}
    return _find_between.all(connection, of_project=project, of_kind=kind, of_stream=stream, **stretch, **lowest)


def _select(project: str, kind: str, stream: str | None, recorded_since: int | None) -> Select[Any]:
    statement = select(chunks).where(chunks.c.project_id == project, chunks.c.kind == kind)
    if stream is not None:
        statement = statement.where(chunks.c.stream == stream)
    if recorded_since is not None:
        # Every level is named, for the index leads with it.
        statement = statement.where(chunks.c.level.in_(LEVELS), chunks.c.recorded_at >= recorded_since)
    return statement


def has_chunks(connection: Connection, project: str, kind: str, stream: str) -> bool:
    """Say whether a stream has any chunk of a kind."""
    statement = (
        select(chunks.c.chunk_id)
        .where(chunks.c.project_id == project, chunks.c.kind == kind, chunks.c.stream == stream)
        .limit(1)
    )
    return connection.execute(statement).first() is not None


def unprofiled_chunks(
    connection: Connection,
    project: str,
    kind: str,
    stream: str,
    *,
    since_us: int,
    before_us: tuple[int, ...],
    limit: int,
) -> list[Chunk]:
    """Return chunks of a stream that have no profile, by level and age.

    Args:
        connection: To read on.
        project: Whose.
        kind: Which.
        stream: Of one stream.
        since_us: Stored then or later, wall time.
        before_us: For each level, stored before that.
        limit: How many at most.
    """
    is_settled = or_(
        *(
            and_(chunks.c.level == level, chunks.c.recorded_at >= since_us, chunks.c.recorded_at < before)
            for level, before in zip(LEVELS, before_us, strict=True)
        )
    )
    of = (chunks.c.project_id == project, chunks.c.kind == kind, chunks.c.stream == stream)
    statement = select(chunks).where(*of, is_settled, chunks.c.profile_digest == "")
    rows = connection.execute(statement.order_by(chunks.c.level.desc(), chunks.c.id_first).limit(limit))
    return [read_chunk(row) for row in rows]


def save_profile(connection: Connection, project: str, chunk_id: str, digest: str) -> bool:
    """Store what is known of a chunk's rows; False if it is there no longer."""
    is_this = (chunks.c.project_id == project, chunks.c.chunk_id == chunk_id)
    return connection.execute(update(chunks).where(*is_this).values(profile_digest=digest)).rowcount > 0


def count_rows(connection: Connection, project: str, kind: str, stream: str, writers: str = "") -> int:
    """Return how many rows the chunks of a stream hold, of writers whose name begins with ``writers``."""
    statement = select(func.sum(chunks.c.rows)).where(
        chunks.c.project_id == project,
        chunks.c.kind == kind,
        chunks.c.stream == stream,
        chunks.c.writer.startswith(writers, autoescape=True),
    )
    return int(connection.execute(statement).scalar() or 0)


def count_rows_from(connection: Connection, project: str, kind: str, stream: str, start_at: int, but: str) -> int:
    """Return how many rows hold the chunks of a stream whose first row is of ``start_at`` or later, microseconds UTC.

    Those of writers whose name begins with ``but`` are left out.
    """
    statement = select(func.sum(chunks.c.rows)).where(
        chunks.c.project_id == project,
        chunks.c.kind == kind,
        chunks.c.stream == stream,
        # Every class is named, for the index leads with it.
        chunks.c.span_class.in_(range(SPAN_CLASSES)),
        chunks.c.event_at_min >= start_at,
        not_(chunks.c.writer.startswith(but, autoescape=True)),
    )
    return int(connection.execute(statement).scalar() or 0)


def read_chunk(row: Row[Any]) -> Chunk:
    """Return the chunk that a row holds."""
    values = {name: getattr(row, name) for name in _FIELDS}
    return Chunk(project=row.project_id, **values)


def all_chunks(connection: Connection) -> list[Chunk]:
    """Return every chunk of every project."""
    return [read_chunk(row) for row in connection.execute(select(chunks))]
