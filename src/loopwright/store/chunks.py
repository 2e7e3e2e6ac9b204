"""Verbs of chunks: sealed runs of bulk rows."""

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from loopwright.kernel.errors import Conflict, InvalidInput
from loopwright.kernel.verbs import Count, query, verb
from loopwright.store import sql
from loopwright.store.events import LabelledByKey
from loopwright.store.intervals import join_ranges
from loopwright.store.streams import KEYED_LABELS, PUSHES, STREAMS
from loopwright.store.tombstones import gone, refuse_rows_of_deleted_dataset
from loopwright.store.tx import Tx
from loopwright.store.types import BlobRef, Chunk, StoredChunk, StreamCursor

if TYPE_CHECKING:
    import polars as pl


_GROUP_ROWS = 4096
"""Rows of a Parquet group: whoever looks for one id reads the group that holds it, not the whole chunk.

Of 10,000 rows with 30 features, one row is found in 4.4 ms instead of 6.4 and the whole is read in 6.5 instead of 7.9;
groups of half the size find one row in 2.6 and make every scan a tenth slower.
"""


_MOST_RANGES = 16
"""Ranges of ids by which labels are looked for: each is a look into an index, and asks for what lies between too."""


def pack_rows(rows: "pl.DataFrame") -> bytes:
    """Return the Parquet of a chunk's rows, which are sorted by id."""
    body = io.BytesIO()
    rows.write_parquet(body, compression="zstd", compression_level=1, row_group_size=_GROUP_ROWS)
    return body.getvalue()


def describe_chunk(
    rows: "pl.DataFrame", blob: BlobRef, *, kind: str, stream: str, writer: str, seq: int
) -> StoredChunk:
    """Return what there is to tell of rows, sorted by id, that are stored as a Parquet blob."""
    declared = STREAMS[kind]
    ids, times = rows.get_column(declared.id_column), rows.get_column("event_at")
    about = None if declared.about_column is None else rows.get_column(declared.about_column)
    return StoredChunk(
        kind=kind,
        stream=stream,
        writer=writer,
        seq=seq,
        digest=blob.digest,
        rows=rows.height,
        size_bytes=blob.size_bytes,
        id_first=ids[0],
        id_last=ids[-1],
        event_at_min=times.min(),  # type: ignore[arg-type]  # whole numbers, as every event time of the log
        event_at_max=times.max(),  # type: ignore[arg-type]
        about_first="" if about is None else str(about.min()),
        about_last="" if about is None else str(about.max()),
    )


@verb("chunks.register", changes=Chunk, internal=True, parts=("gateway", "job"), lasts="closed")
def register(tx: Tx, *, chunks: list[StoredChunk]) -> list[Chunk]:
    """Record chunks, all or none. Sending one again returns the first record.

    Only the first labels of a deployment that name rows by key are told, by an event.

    Raises:
        InvalidInput: A number is below zero.
        Conflict: A writer sent other rows under the same number.
        NotFound: What they belong to was deleted, ``details.deleted`` is true: the writer lets go of them, but for
            those from the id ``details.first_kept`` on, if that is told. Of a deleted project none is let in.
    """
    return [_register(tx, chunk) for chunk in chunks]


def _register(tx: Tx, stored: StoredChunk) -> Chunk:
    if stored.seq < 0:
        rule = "0 or more: what is merged here has numbers below zero"
        raise InvalidInput("a writer's chunk has no such number", field="seq", value=stored.seq, rule=rule)
    if stored.kind == PUSHES.kind:
        refuse_rows_of_deleted_dataset(tx, stored)
    tx.keep_blobs(BlobRef(stored.digest, stored.size_bytes))
    told, recorded_at = msgspec.structs.asdict(stored), tx.wall_us
    cursor = sql.find_cursor(tx.connection, tx.project, stored.kind, stored.stream)
    if cursor is not None:  # what somebody has read up to is closed: nothing joins it, by whatever clock
        recorded_at = max(recorded_at, cursor.until + 1)
    chunk = Chunk(**told, project=tx.project, chunk_id=tx.new_id("chunk"), recorded_at=recorded_at)
    if cursor is None and stored.kind == KEYED_LABELS.kind:
        sql.save_cursor(tx, StreamCursor(stored.kind, stored.stream))
        tx.emit(LabelledByKey(stored.stream), tx.ref("deployment", stored.stream), reason="labels by key came")
    was, known = _insert(tx, chunk)
    # The same rows may come again under another digest: they are packed anew after a crash. Other rows under a number
    # that is taken would be lost if this passed, for the gateway deletes what was registered.
    if was != (stored.rows, stored.id_first, stored.id_last):
        raise Conflict(
            f"{stored.writer} sent other rows under this number before",
            field="seq",
            value=stored.seq,
            rule=f"{was[0]} rows from {was[1]} to {was[2]}",
            next_step="two gateways share a writer's name, or a state folder was put back: give one an empty folder",
        )
    if known is None:
        message = f"what {stored.writer} sent under this number was taken, and was deleted since"
        raise gone(message, field="seq", value=str(stored.seq))
    return known


def _insert(tx: Tx, chunk: Chunk) -> tuple[tuple[int, str, str], Chunk | None]:
    """Return what the writer sent under the number the first time, and the chunk that it is in now."""
    merged = sql.find_merged(tx.connection, chunk)
    if merged is not None:
        return merged
    known = sql.insert_chunk(tx.connection, chunk)
    return (known.rows, known.id_first, known.id_last), known


@query("chunks.find", internal=True)
def find(
    tx: Tx,
    *,
    kind: str,
    stream: str | None = None,
    item_id: str | None = None,
    start_at: int | None = None,
    end_at: int | None = None,
    recorded_since: int | None = None,
) -> list[Chunk]:
    """Return the chunks of a kind that meet every condition, in the order of their ids.

    Args:
        tx: The open transaction.
        kind: ``predictions``, ``labels`` or ``pushes``.
        stream: Deployment or dataset.
        item_id: An id that is in the chunk's range.
        start_at: With rows of event time from here on, microseconds UTC.
        end_at: With rows of event time before, microseconds UTC.
        recorded_since: Stored then or later, wall time, microseconds UTC.
    """
    return sql.find_chunks(
        tx.connection,
        tx.project,
        kind,
        stream=stream,
        item_id=item_id,
        start_at=start_at,
        end_at=end_at,
        recorded_since=recorded_since,
    )


@query("chunks.find_recorded", internal=True)
def find_recorded(tx: Tx, *, kind: str, stream: str, since: int, after: str = "", limit: Count) -> list[Chunk]:
    """Return the next chunks of a stream in the order in which they were stored, which merged ones keep.

    Args:
        tx: The open transaction.
        kind: ``predictions``, ``labels`` or ``pushes``.
        stream: Deployment or dataset.
        since: Stored then or later, wall time, microseconds UTC.
        after: Of those that were stored at that very time, the id of the last that is left out.
        limit: How many at most.
    """
    return sql.chunks_recorded(tx.connection, tx.project, kind, stream, since=since, after=after, limit=limit)


@query("chunks.oldest", internal=True)
def oldest(tx: Tx, *, kind: str, stream: str) -> int | None:
    """Return the oldest event time in the chunks of a stream, microseconds UTC; None where there are none.

    Args:
        tx: The open transaction.
        kind: ``predictions``, ``labels`` or ``pushes``.
        stream: Deployment or dataset.
    """
    return sql.oldest_of_ids(tx, kind, stream, ("", ""))


@query("chunks.find_ending", internal=True)
def find_ending(tx: Tx, *, kind: str, stream: str, first: str, last: str, after: str = "", limit: Count) -> list[Chunk]:
    """Return the next chunks of a stream whose last id lies in a range, in the order of their last ids.

    With those that hold ``last`` these are all that hold an id of the range.

    Args:
        tx: The open transaction.
        kind: ``predictions``, ``labels`` or ``pushes``.
        stream: Deployment or dataset.
        first: Lowest id of the range.
        last: Highest id of the range.
        after: Of those that end with ``first``, the id of the last that is left out.
        limit: How many at most.
    """
    ids = first, last
    return sql.chunks_ending(tx.connection, tx.project, kind, stream, ids=ids, after=after, limit=limit)


@query("chunks.find_labels", internal=True)
def find_labels(
    tx: Tx, *, stream: str, ids: list[tuple[str, str]], start_at: int, end_at: int | None = None
) -> list[Chunk]:
    """Return the chunks of labels that may tell of predictions whose ids lie in some ranges, in the order of their ids.

    Whenever a label came, it is in one of them: its chunk says of which predictions it tells. Chunks of before they
    said it are among them if they hold labels of event time ``start_at`` or later.

    Args:
        tx: The open transaction.
        stream: Deployment.
        ids: First and last id of each range (``id_ranges``).
        start_at: When the first of the predictions was made, event time, microseconds UTC.
        end_at: With labels of event time before; None for all.
    """
    found = sql.find_label_chunks(tx.connection, tx.project, stream, ids=ids, start_at=start_at)
    return [chunk for chunk in found if end_at is None or chunk.event_at_min < end_at]


def id_ranges(chunks: Iterable[Chunk]) -> list[tuple[str, str]]:
    """Return few ranges of ids that hold all ids of some chunks: they follow time, but for a batch or two."""
    return join_ranges(((chunk.id_first, chunk.id_last) for chunk in chunks), _MOST_RANGES)


@verb("chunks.set_profile", changes=Chunk, internal=True)
def set_profile(tx: Tx, *, chunk_id: str, profile: BlobRef) -> bool:
    """Name the stored blob of what is known of a chunk's rows; False if it was merged or removed meanwhile."""
    tx.keep_blobs(profile)
    return sql.save_profile(tx.connection, tx.project, chunk_id, profile.digest)


@verb("blobs.keep", changes=Chunk, internal=True)
def keep_blobs(tx: Tx, *, blobs: list[BlobRef]) -> None:
    """Record that the project refers to stored blobs; no event is written."""
    tx.keep_blobs(*blobs)
