"""Statements of garbage collection: blobs that no row named when it was looked, until they are named again or swept."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sqlalchemy import Connection, bindparam, delete, select

from loopwright.store.sql.rows import upsert
from loopwright.store.statements import Statement
from loopwright.store.tables import blobs, condemned_blobs
from loopwright.store.types import BlobRef

if TYPE_CHECKING:
    from loopwright.store.tx import Tx

_rescue = Statement(delete(condemned_blobs).where(condemned_blobs.c.digest == bindparam("of_digest")))


def condemn_blobs(connection: Connection, refs: Iterable[BlobRef], wall_us: int) -> None:
    """Record blobs that no row names; of one that is condemned already the first moment stays."""
    rows = [{"digest": ref.digest, "size_bytes": ref.size_bytes, "condemned_at": wall_us} for ref in refs]
    upsert(connection, condemned_blobs, rows, key=("digest",), do_update=False)


def rescue_blobs(tx: "Tx", digests: Iterable[str]) -> None:
    """Take blobs that a row is about to name off the list of those that may be swept."""
    forget_condemned(tx.connection, digests)


def forget_condemned(connection: Connection, digests: Iterable[str]) -> None:
    """Take blobs off the list of those that may be swept."""
    if rows := [{"of_digest": digest} for digest in digests]:
        _rescue.run_each(connection, rows)


def all_condemned(connection: Connection) -> dict[str, tuple[int, int]]:
    """Return size and moment (wall, microseconds UTC) of every condemned blob."""
    return {row.digest: (row.size_bytes, row.condemned_at) for row in connection.execute(select(condemned_blobs))}


def take_condemned(connection: Connection, digests: list[str], before_us: int) -> list[str]:
    """Forget those of some blobs that are condemned since before a moment, and who may read them; return them."""
    is_due = (condemned_blobs.c.digest.in_(digests), condemned_blobs.c.condemned_at < before_us)
    taken = sorted(
        connection.execute(delete(condemned_blobs).where(*is_due).returning(condemned_blobs.c.digest)).scalars()
    )
    connection.execute(delete(blobs).where(blobs.c.digest.in_(taken)))
    return taken
