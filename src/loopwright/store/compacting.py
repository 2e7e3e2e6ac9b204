"""Merging small chunks into few large ones; readers see the same rows throughout.

A gateway seals a stream every few seconds: 43,200 chunks a day, each a file and a row. Once an hour is over the chunks
of one writer in that hour are merged, up to ``MOST_ROWS`` each, and once its day is over what is small still. How and
why so: the decision note on compaction.
"""

import io
import logging
from collections.abc import Iterable, Iterator

import msgspec

from loopwright.kernel.clock import DAY_US, HOUR_US, MINUTE_US
from loopwright.kernel.errors import Conflict
from loopwright.kernel.verbs import Count, Role, query, verb
from loopwright.store import sql
from loopwright.store.chunks import describe_chunk, pack_rows
from loopwright.store.events import ChunksMerged
from loopwright.store.streams import STREAMS
from loopwright.store.tx import Tx
from loopwright.store.types import BlobRef, Chunk, Job, MergeGroup, StoredChunk
from loopwright.store.work import JobContext, Work, job, job_kind

log = logging.getLogger("loopwright.worker")
MOST_ROWS = 250_000
"""Rows of a merged chunk: what a merge holds in memory, and a reader of one id opens."""
MOST_CELLS = 50_000_000
"""Rows times columns of a merged chunk: callers name features by the thousand, and what they repeat takes no bytes."""
MOST_BYTES = 64 * 1024 * 1024
"""Stored bytes of the chunks that are merged at once."""
_GROUPS_AT_ONCE, _CHUNKS_AT_ONCE = 200, 1_000
_LOOKS = 3
COMPACT = "chunks.compact"


class Stage(msgspec.Struct, frozen=True):
    """How chunks are merged that are of one writer and begin in one stretch of event time.

    ``below`` is the level they must be under and ``level`` that of what they become; ``settled_us`` how long ago the
    newest was stored; ``least`` how many there must be, so that a late one does not set everything in motion.
    """

    level: int
    stretch_us: int
    settled_us: int
    least: int


STAGES = (Stage(1, HOUR_US, 15 * MINUTE_US, 8), Stage(2, DAY_US, DAY_US + 2 * HOUR_US, 2))


@job_kind(COMPACT, lane="upkeep", deadline_s=6 * 3600.0, keep_days=7)
class Compact(Work, frozen=True):
    """Merge what is small and settled in every stream of a project."""


@verb("chunks.start_compaction", changes=Job, role=Role.ADMIN)
def start_compaction(tx: Tx) -> Job:
    """Start merging what is small and settled in every stream of the project; a server does so by itself every hour."""
    under_way = sql.list_jobs(tx.connection, tx.project, states=("queued", "running"), kind=COMPACT, limit=1)
    return under_way[0] if under_way else tx.start_job(Compact(), tx.ref("project", tx.project))


@query("chunks.mergeable", internal=True)
def mergeable(tx: Tx, *, limit: Count = _GROUPS_AT_ONCE, after: MergeGroup | None = None) -> list[MergeGroup]:
    """Return by what chunks may become one, level by level and in the order of event time.

    An answer is of one level: what merges hours takes chunks away that would have been merged into their day.

    Args:
        tx: The open transaction.
        limit: How many groups.
        after: The last that is known; those behind it.
    """
    for stage in STAGES:
        if after is None or stage.level >= after.level:
            known = after if after is not None and after.level == stage.level else None
            found = sql.merge_groups(tx.connection, _small(tx, stage), least=stage.least, after=known, limit=limit)
            if found:
                return found
    return []


@query("chunks.of_group", internal=True)
def of_group(
    tx: Tx, *, group: MergeGroup, limit: Count = _CHUNKS_AT_ONCE, after_id: str = "", after_seq: int = 0
) -> list[Chunk]:
    """Return chunks that may become one, in the order of their ids.

    Args:
        tx: The open transaction.
        group: What they have in common.
        limit: How many.
        after_id: First id of the last that is known; empty for the first page.
        after_seq: That one's number.
    """
    small = next((_small(tx, stage) for stage in STAGES if stage.level == group.level), None)
    if small is None:
        return []
    return sql.chunks_of_group(tx.connection, small, group, after=(after_id, after_seq), limit=limit)


def _small(tx: Tx, stage: Stage) -> sql.Small:
    return sql.Small(tx.project, stage.level, stage.stretch_us, tx.wall_us - stage.settled_us, MOST_ROWS // 2)


@verb("chunks.merge", changes=Chunk, internal=True)
def merge(tx: Tx, *, merged: StoredChunk, level: int, chunk_ids: list[str]) -> Chunk:
    """Put one chunk in the place of several that hold the same rows, at once for every reader; again changes nothing.

    What each was is kept: its digest, and its writer's number, so that a gateway which sends it again is recognised.

    Raises:
        Conflict: One of them is gone, or they do not hold what the new one holds.
    """
    before = sql.chunks_named(tx.connection, tx.project, chunk_ids)
    holders = sql.find_chunks(tx.connection, tx.project, merged.kind, item_id=merged.id_first) if not before else []
    for chunk in holders:
        if (chunk.digest, chunk.writer) == (merged.digest, merged.writer):
            return chunk
    _check_same_rows(merged, before, chunk_ids)
    cursor = sql.find_cursor(tx.connection, tx.project, merged.kind, merged.stream)
    if cursor is not None and len({chunk.recorded_at <= cursor.until for chunk in before}) > 1:
        step = "merge what was read and what was not by themselves"
        raise Conflict("some of these chunks were read by who takes each row once", field="chunk_ids", next_step=step)
    tx.keep_blobs(BlobRef(merged.digest, merged.size_bytes))
    sql.delete_chunks(tx.connection, tx.project, chunk_ids)
    told = {**msgspec.structs.asdict(merged), "seq": sql.next_merged_seq(tx.connection, tx.project, merged.writer)}
    recorded_at = max(chunk.recorded_at for chunk in before)
    chunk = Chunk(**told, project=tx.project, chunk_id=tx.new_id("chunk"), recorded_at=recorded_at, level=level)
    sql.insert_chunk(tx.connection, chunk)
    sql.remember_merged(tx.connection, chunk, before)
    return chunk


def _check_same_rows(merged: StoredChunk, before: list[Chunk], chunk_ids: list[str]) -> None:
    same = {(chunk.kind, chunk.stream, chunk.writer) for chunk in before} == {
        (merged.kind, merged.stream, merged.writer)
    }
    holds = (merged.rows, merged.id_first, merged.id_last, merged.event_at_min, merged.event_at_max)
    if len(before) != len(chunk_ids) or not same or holds != _extent(before):
        raise Conflict(
            "these chunks are no longer what was merged",
            field="chunk_ids",
            value=len(before),
            rule=f"{len(chunk_ids)} chunks with the same rows",
            next_step="look for what can be merged anew",
        )


def _extent(chunks: list[Chunk]) -> tuple[int, str, str, int, int]:
    return (
        sum(chunk.rows for chunk in chunks),
        min(chunk.id_first for chunk in chunks),
        max(chunk.id_last for chunk in chunks),
        min(chunk.event_at_min for chunk in chunks),
        max(chunk.event_at_max for chunk in chunks),
    )


@verb("chunks.tell_merged", changes=Chunk, internal=True)
def tell_merged(tx: Tx, *, facts: ChunksMerged) -> None:
    """Record in the audit trail what a round of merging made of how much."""
    tx.emit(facts, tx.ref("project", tx.project), reason="small chunks were merged")


@job(Compact)
def compact(context: JobContext, _args: Compact) -> dict[str, int]:
    """Merge group by group until nothing is left to merge; memory is bounded by ``MOST_ROWS`` and ``MOST_CELLS``."""
    before = after = rows = 0
    for group in _groups(context):
        for chunks, merged in _merge_group(context, group):
            before, after, rows = before + chunks, after + 1, rows + merged.rows
            context.progress(f"{before:,} chunks became {after:,}")
    if before:
        context.call(tell_merged, facts=ChunksMerged(before, after, rows))
    return {"before": before, "after": after, "rows": rows}


def _groups(context: JobContext) -> Iterator[MergeGroup]:
    last = None
    while page := context.call(mergeable, limit=_GROUPS_AT_ONCE, after=last):
        yield from page
        last = page[-1]


def _merge_group(context: JobContext, group: MergeGroup) -> Iterator[tuple[int, StoredChunk]]:
    """Merge what is in a group; yield how many chunks became which.

    Retention, or a deletion, may have taken some of them meanwhile: then it is looked what is left.
    """
    for look in range(_LOOKS):
        try:
            for part in _parts(context, _chunks_of(context, group)):
                stored = _merge(context, part)
                chunk_ids = [chunk.chunk_id for chunk in part]
                context.call(merge, merged=stored, level=group.level, chunk_ids=chunk_ids)
                yield len(part), stored
        except Conflict as error:
            if look == _LOOKS - 1:
                log.warning("chunks of %s %s stay small until the next round: %s", group.kind, group.stream, error)
        else:
            return


def _chunks_of(context: JobContext, group: MergeGroup) -> Iterator[Chunk]:
    """Yield the chunks of a group, read page by page: those that are merged meanwhile lie behind."""
    after_id, after_seq = "", 0
    while page := context.call(of_group, group=group, limit=_CHUNKS_AT_ONCE, after_id=after_id, after_seq=after_seq):
        yield from page
        after_id, after_seq = page[-1].id_first, page[-1].seq


def _parts(context: JobContext, chunks: Iterable[Chunk]) -> Iterator[list[Chunk]]:
    """Yield runs of two or more chunks that are small enough together and have the same columns."""
    import polars as pl

    open_runs: dict[str, list[Chunk]] = {}
    for chunk in chunks:
        schema = pl.read_parquet_schema(context.blobs.path(chunk.digest))
        most_rows = min(MOST_ROWS, MOST_CELLS // len(schema))
        columns = str(schema)
        run = open_runs.setdefault(columns, [])
        if run and (_rows(run) + chunk.rows > most_rows or _bytes(run) + chunk.size_bytes > MOST_BYTES):
            if len(run) > 1:
                yield run
            open_runs[columns] = run = []
        run.append(chunk)
    yield from (run for run in open_runs.values() if len(run) > 1)


def _merge(context: JobContext, chunks: list[Chunk]) -> StoredChunk:
    """Store the rows of several chunks as one, in the order of their ids; of equal ids the one stored first leads."""
    import polars as pl

    first = chunks[0]
    frames = [pl.read_parquet(io.BytesIO(context.blobs.get(chunk.digest))) for chunk in chunks]
    rows = pl.concat(frames).sort(STREAMS[first.kind].id_column, maintain_order=True)
    blob = context.blobs.put(pack_rows(rows))
    return describe_chunk(rows, blob, kind=first.kind, stream=first.stream, writer=first.writer, seq=first.seq)


def _rows(chunks: list[Chunk]) -> int:
    return sum(chunk.rows for chunk in chunks)


def _bytes(chunks: list[Chunk]) -> int:
    return sum(chunk.size_bytes for chunk in chunks)
