"""Statements of retention: what is declared, what is old enough, what was removed."""

from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import ColumnElement, Row, and_, delete, func, select

from loopwright.store.rows import read_row, row_of
from loopwright.store.sql.chunks import LEVELS, read_chunk
from loopwright.store.sql.rows import upsert
from loopwright.store.streams import LABELS
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


class Expiring(NamedTuple):
    """Which chunks of a stream are old enough.

    Args:
        kind: Of rows.
        stream: Of one stream.
        end_at: All their rows lie before, event time.
        recorded_before: They were stored before, wall time.
    """

    kind: str
    stream: str
    end_at: int
    recorded_before: int

    def within(self, project: str) -> ColumnElement[bool]:
        """Return the condition on chunks of a project."""
        return and_(
            chunks.c.project_id == project,
            chunks.c.kind == self.kind,
            chunks.c.stream == self.stream,
            chunks.c.event_at_max < self.end_at,
            chunks.c.recorded_at < self.recorded_before,
        )


def sum_expired(tx: "Tx", which: Expiring) -> tuple[int, int, int]:
    """Return how many chunks are old enough, and their rows and bytes."""
    sums = (
        func.count().label("chunks"),
        func.sum(chunks.c.rows).label("rows"),
        func.sum(chunks.c.size_bytes).label("size"),
    )
    row = tx.execute(select(*sums).where(which.within(tx.project))).one()
    return int(row.chunks), int(row.rows or 0), int(row.size or 0)


def expired_chunks(tx: "Tx", which: Expiring, *, limit: int, most_merged: int) -> list[Chunk]:
    """Return the oldest chunks that are old enough, one at least where there is any.

    Args:
        tx: The open transaction.
        which: Of which stream, and how old.
        limit: How many at most.
        most_merged: From how many they were merged, together.
    """
    oldest = select(chunks).where(which.within(tx.project)).order_by(chunks.c.event_at_min, chunks.c.chunk_id)
    found = [read_chunk(row) for row in tx.execute(oldest.limit(limit))]
    own = (merged_chunks.c.project_id == tx.project, merged_chunks.c.chunk_id.in_([each.chunk_id for each in found]))
    of = merged_chunks.c.chunk_id
    counted = select(of, func.count().label("merged")).where(*own).group_by(of)
    merged = {row.chunk_id: row.merged for row in tx.execute(counted)}
    until = list(accumulate(merged.get(each.chunk_id, 0) for each in found))
    return [each for place, each in enumerate(found) if place == 0 or until[place] <= most_merged]


def oldest_stored(tx: "Tx", kind: str, stream: str, *, since: int, before: int) -> int | None:
    """Return the oldest event time in the chunks of a stream that were stored from one moment to another, wall time."""
    of, told = _stored(tx, kind, stream, since, before), func.min(chunks.c.event_at_min)
    found = tx.execute(select(told).where(of)).scalar()
    return None if found is None else int(found)


def told_of(tx: "Tx", stream: str, *, since: int, before: int) -> tuple[str, str] | None:
    """Return between which ids lies what labels tell of that were stored from one moment to another, wall time."""
    ends = func.min(chunks.c.about_first).label("begin"), func.max(chunks.c.about_last).label("end")
    row = tx.execute(select(*ends).where(_stored(tx, LABELS.kind, stream, since, before))).one()
    return None if row.begin is None else (str(row.begin), str(row.end))


def oldest_of_ids(tx: "Tx", kind: str, stream: str, ids: tuple[str, str]) -> int | None:
    """Return the oldest event time in the chunks of a stream that may hold some of the ids from one to another.

    A first id that is empty stands for ids that nobody knows.
    """
    of = (chunks.c.project_id == tx.project, chunks.c.kind == kind, chunks.c.stream == stream)
    is_met = (chunks.c.id_last >= ids[0], chunks.c.id_first <= ids[1]) if ids[0] else ()
    found = tx.execute(select(func.min(chunks.c.event_at_min)).where(*of, *is_met)).scalar()
    return None if found is None else int(found)


def _stored(tx: "Tx", kind: str, stream: str, since: int, before: int) -> ColumnElement[bool]:
    return and_(
        chunks.c.project_id == tx.project,
        chunks.c.kind == kind,
        chunks.c.stream == stream,
        # Every level is named, for the index leads with it.
        chunks.c.level.in_(LEVELS),
        chunks.c.recorded_at >= since,
        chunks.c.recorded_at < before,
    )


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
