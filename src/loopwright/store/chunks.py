"""Verbs of chunks: sealed runs of bulk rows."""

import msgspec

from loopwright.kernel.errors import Conflict
from loopwright.kernel.verbs import query, verb
from loopwright.store import sql
from loopwright.store.tx import Tx
from loopwright.store.types import BlobRef, Chunk, StoredChunk


@verb("chunks.register", changes=Chunk, internal=True)
def register(
    tx: Tx,
    *,
    kind: str,
    stream: str,
    writer: str,
    seq: int,
    digest: str,
    rows: int,
    size_bytes: int,
    id_first: str,
    id_last: str,
    event_at_min: int,
    event_at_max: int,
) -> Chunk:
    """Record one sealed chunk whose blob is stored. Sending it again returns the first record; no event is written.

    Raises:
        Conflict: This writer sent other rows under the same number.
    """
    tx.keep_blobs(BlobRef(digest, size_bytes))
    chunk = Chunk(
        project=tx.project,
        chunk_id=tx.new_id("chunk"),
        kind=kind,
        stream=stream,
        writer=writer,
        seq=seq,
        digest=digest,
        rows=rows,
        size_bytes=size_bytes,
        id_first=id_first,
        id_last=id_last,
        event_at_min=event_at_min,
        event_at_max=event_at_max,
        recorded_at=tx.wall_us,
    )
    found = sql.insert_chunk(tx.connection, chunk)
    if (found.rows, found.id_first, found.id_last) != (rows, id_first, id_last):
        raise Conflict(
            f"{writer} sent other rows under this number before",
            field="seq",
            value=seq,
            rule=f"{found.rows} rows from {found.id_first} to {found.id_last}",
            next_step="two gateways share a writer's name, or a state folder was put back: give one an empty folder",
        )
    return found


@verb("chunks.register_all", changes=Chunk, internal=True)
def register_all(tx: Tx, *, chunks: list[StoredChunk]) -> list[Chunk]:
    """Record sealed chunks as ``chunks.register`` does each, all or none."""
    return [register(tx, **msgspec.structs.asdict(chunk)) for chunk in chunks]


@query("chunks.find", internal=True)
def find(
    tx: Tx,
    *,
    kind: str,
    stream: str | None = None,
    item_id: str | None = None,
    start_at: int | None = None,
    end_at: int | None = None,
) -> list[Chunk]:
    """Return the chunks of a kind, by stream, by an id in their range, or by event time in ``[start_at, end_at)``."""
    return sql.find_chunks(
        tx.connection, tx.project, kind, stream=stream, item_id=item_id, start_at=start_at, end_at=end_at
    )


@verb("blobs.keep", changes=Chunk, internal=True)
def keep_blobs(tx: Tx, *, blobs: list[BlobRef]) -> None:
    """Record that the project refers to stored blobs; no event is written."""
    tx.keep_blobs(*blobs)
