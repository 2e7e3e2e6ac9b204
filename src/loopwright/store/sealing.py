"""Sealing: committed events get a gapless position and a hash that chains each onto the one before."""

from typing import Any

import msgspec
from sqlalchemy import Connection, Row, bindparam, select, text, update

from loopwright.kernel.documents import digest_bytes, to_json
from loopwright.kernel.events import Event
from loopwright.store.tables import events

_SEAL_LOCK = 0x10097
_pending = select(events).where(events.c.position.is_(None)).order_by(events.c.event_id)
_last = (
    select(events.c.position, events.c.chain)
    .where(events.c.position.is_not(None))
    .order_by(events.c.position.desc())
    .limit(1)
)
_stamp = (
    update(events)
    .where(events.c.event_id == bindparam("b_event_id"))
    .values(position=bindparam("b_position"), chain=bindparam("b_chain"))
)


def event_from_row(row: Row[Any]) -> Event:
    """Return the event of one table row."""
    return Event(
        event_id=row.event_id,
        project=row.project_id,
        type=row.type,
        ref=row.ref,
        actor=row.actor,
        event_at=row.event_at,
        recorded_at=row.recorded_at,
        reason=row.reason,
        payload=row.payload,
        cause=row.cause,
        position=row.position or 0,
        chain=row.chain or "",
    )


def chain_hash(before: str, event: Event) -> str:
    """Return SHA-256 over the hash before and the event's canonical JSON without its own hash."""
    return digest_bytes(before.encode() + to_json(msgspec.structs.replace(event, chain="", event_id=0)))


def seal_events(connection: Connection) -> int:
    """Give every committed event that lacks one a position and a hash; return how many were sealed.

    SQLite calls this at the end of each group commit; on PostgreSQL it runs after a commit under an advisory lock, so
    that positions follow one order although transactions end in another.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SEAL_LOCK})
    rows = connection.execute(_pending).all()
    if not rows:
        return 0
    last = connection.execute(_last).first()
    position, chain = (last.position, last.chain) if last else (0, "")
    stamps = []
    for row in rows:
        position += 1
        chain = chain_hash(chain, msgspec.structs.replace(event_from_row(row), position=position))
        stamps.append({"b_event_id": row.event_id, "b_position": position, "b_chain": chain})
    connection.execute(_stamp, stamps)
    return len(stamps)
