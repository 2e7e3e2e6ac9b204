"""Statements of tombstones: what was deleted, and which rows of it are still to go."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import func, select, update

from loopwright.store.rows import read_row, row_of
from loopwright.store.sql.rows import upsert
from loopwright.store.tables import tombstones
from loopwright.store.types import Tombstone

if TYPE_CHECKING:
    from loopwright.store.tx import Tx


def put_tombstones(tx: "Tx", left: Iterable[Tombstone]) -> None:
    """Write down what was deleted; a name that was declared anew and deleted again has its newest end."""
    rows = [row_of(tx, tombstones, tombstone) for tombstone in left]
    upsert(tx.connection, tombstones, rows, key=("project_id", "ref"), do_update=True)


def find_tombstone(tx: "Tx", ref: str) -> Tombstone | None:
    """Return what is left of a deleted thing, by its full ref."""
    statement = select(tombstones).where(tombstones.c.project_id == tx.project, tombstones.c.ref == ref)
    row = tx.execute(statement).first()
    return None if row is None else read_row(row, Tombstone)


def list_tombstones(tx: "Tx", *, kind: str | None = None, name: str | None = None, limit: int) -> list[Tombstone]:
    """Return what was deleted, newest first."""
    t = tombstones
    statement = select(t).where(t.c.project_id == tx.project)
    if kind is not None:
        statement = statement.where(t.c.kind == kind)
    if name is not None:
        statement = statement.where(t.c.name == name)
    return [
        read_row(row, Tombstone) for row in tx.execute(statement.order_by(t.c.deleted_at.desc(), t.c.ref).limit(limit))
    ]


def last_deleted_version(tx: "Tx", kind: str, name: str) -> int:
    """Return the highest number of the deleted versions of a thing, 0 where none was deleted."""
    t = tombstones
    statement = select(func.max(t.c.version)).where(t.c.project_id == tx.project, t.c.kind == kind, t.c.name == name)
    return int(tx.execute(statement).scalar() or 0)


def tombstones_with_rows(tx: "Tx", limit: int) -> list[Tombstone]:
    """Return deleted things whose rows are not all gone yet."""
    t = tombstones
    statement = select(t).where(t.c.project_id == tx.project, t.c.forgotten_at.is_(None))
    return [read_row(row, Tombstone) for row in tx.execute(statement.order_by(t.c.ref).limit(limit))]


def mark_forgotten(tx: "Tx", refs: Sequence[str]) -> None:
    """Write down that the rows of deleted things are gone."""
    t = tombstones
    gone = update(t).where(t.c.project_id == tx.project, t.c.ref.in_(list(refs)))
    tx.execute(gone.values(forgotten_at=tx.wall_us))
