"""Statements of blobs: which a project refers to."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sqlalchemy import Connection, select

from loopwright.store.sql.rows import upsert
from loopwright.store.tables import blobs
from loopwright.store.types import BlobRef

if TYPE_CHECKING:
    from loopwright.store.tx import Tx


def upsert_blobs(tx: "Tx", refs: Iterable[BlobRef]) -> None:
    """Record blobs a project refers to."""
    rows = [
        {"project_id": tx.project, "digest": ref.digest, "size_bytes": ref.size_bytes, "recorded_at": tx.wall_us}
        for ref in refs
    ]
    upsert(tx.connection, blobs, rows, key=("project_id", "digest"), do_update=False)


def find_blob(connection: Connection, project: str, digest: str) -> BlobRef | None:
    """Return the blob if the project refers to it."""
    row = connection.execute(select(blobs).where(blobs.c.project_id == project, blobs.c.digest == digest)).first()
    return None if row is None else BlobRef(row.digest, row.size_bytes)


def all_blobs(connection: Connection) -> list[tuple[str, BlobRef]]:
    """Return (project, blob) of every recorded blob."""
    return [(row.project_id, BlobRef(row.digest, row.size_bytes)) for row in connection.execute(select(blobs))]
