"""Merging small chunks into few large ones; readers see the same rows throughout.

A gateway seals a stream every few seconds: 43,200 chunks a day, each a file and a row. Once an hour is over the chunks
of one writer in that hour are merged, up to ``MOST_ROWS`` each, and once its day is over what is small still. How and
why so: the decision note on compaction.
"""

import io
from collections.abc import Iterator

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

MOST_ROWS = 250_000
"""Rows of a merged chunk: what a merge holds in memory, and a reader of one id opens."""
MOST_CELLS = 50_000_000
"""Rows times columns of a merged chunk: callers name features by the thousand, and what they repeat takes no bytes."""
MOST_BYTES = 64 * 1024 * 1024
"""Stored bytes of the chunks that are merged at once."""
_GROUPS_AT_ONCE = 200
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
def mergeable(tx: Tx, *, limit: Count = _GROUPS_AT_ONCE, skip: Count = 0) -> list[MergeGroup]:
    """Return chunks that may become one, by writer and stretch of event time, each in the order of its ids.

    Args:
        tx: The open transaction.
        limit: How many groups.
        skip: How many of the first are left out, which are known by now not to be small enough together, or not alike.
    """
    return [group for stage in STAGES for group in _groups(tx, stage, skip + limit)][skip : skip + limit]


def _groups(tx: Tx, stage: Stage, limit: int) -> list[MergeGroup]:
    keys = sql.merge_keys(
        tx.connection,
        tx.project,
        level=stage.level,
        stretch_us=stage.stretch_us,
        before_us=tx.wall_us - stage.settled_us,
        least=stage.least,
        most_rows=MOST_ROWS // 2,
        limit=limit,
    )
    return [MergeGroup(stage.level, sql.chunks_of_key(tx.connection, key)) for key in keys]


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
    before = after = rows = skip = 0
    while groups := context.call(mergeable, limit=_GROUPS_AT_ONCE, skip=skip):
        for group in groups:
            parts = list(_parts(context, group))
            skip += not parts
            for part in parts:
                stored = _merge(context, part)
                ids = [chunk.chunk_id for chunk in part]
                context.call(merge, merged=stored, level=group.level, chunk_ids=ids)
                before, after, rows = before + len(part), after + 1, rows + stored.rows
                context.progress(f"{before:,} chunks became {after:,}")
    if before:
        context.call(tell_merged, facts=ChunksMerged(before, after, rows))
    return {"before": before, "after": after, "rows": rows}


def _parts(context: JobContext, group: MergeGroup) -> Iterator[list[Chunk]]:
    """Yield runs of two or more chunks that are small enough together and have the same columns."""
    import polars as pl

    open_runs: dict[str, list[Chunk]] = {}
    for chunk in group.chunks:
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
