"""Sealing: committed events get a gapless position and a hash that chains each onto the one before."""

from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Row, bindparam, func, select, update

from loopwright.kernel.documents import digest_bytes, to_json
from loopwright.kernel.events import Change, Event
from loopwright.store.statements import Statement
from loopwright.store.tables import events

MOST_SEALED = 1000
"""Events that one transaction seals at most, so that none takes long."""

_EVERY = 2**31 - 1
_is_unsealed = events.c.position.is_(None)
_pending = Statement(select(events).where(_is_unsealed).order_by(events.c.event_id).limit(bindparam("most")))
_newest_unsealed = Statement(select(func.max(events.c.event_id)).where(_is_unsealed))
_unsealed_up_to = Statement(
    select(events.c.event_id).where(_is_unsealed, events.c.event_id <= bindparam("up_to")).limit(1)
)
_last = Statement(
    select(events.c.position, events.c.chain, events.c.recorded_at)
    .where(events.c.position.is_not(None))
    .order_by(events.c.position.desc())
    .limit(1)
)
_chain_at = Statement(select(events.c.chain).where(events.c.position == bindparam("position")))
_stamp = Statement(
    update(events)
    .where(events.c.event_id == bindparam("b_event_id"))
    .values(position=bindparam("b_position"), chain=bindparam("b_chain"))
)


class LogEnd(NamedTuple):
    """The newest event that has a position: where, its hash, and when it was recorded (wall, microseconds UTC)."""

    position: int
    chain: str
    recorded_at: int


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
        token_id=row.token_id,
        client=row.client,
    )


def chain_hash(before: str, event: Event) -> str:
    """Return SHA-256 over the hash before and the event's canonical JSON without its own hash.

    Where a call came from is hashed where it is told: events of before have the hashes that they always had.
    """
    told: Change = msgspec.structs.replace(event, chain="", event_id=0)
    if event.token_id is None and event.client is None:
        told = Change(*(getattr(told, name) for name in Change.__struct_fields__))
    return digest_bytes(before.encode() + to_json(told))


def seal_events(connection: Connection, most: int = MOST_SEALED) -> int:
    """Give committed events that lack one a position and a hash, oldest first; return how many were sealed.

    Only one transaction may do so at a time: SQLite's writer calls it at the end of a group that wrote events, on
    PostgreSQL the holder of a lease, so that positions follow one order although transactions end in another.
    """
    rows = _pending.all(connection, most=most)
    if not rows:
        return 0
    last = _last.first(connection)
    position, chain = (last.position, last.chain) if last else (0, "")
    stamps = []
    for row in rows:
        position += 1
        chain = chain_hash(chain, msgspec.structs.replace(event_from_row(row), position=position))
        stamps.append({"b_event_id": row.event_id, "b_position": position, "b_chain": chain})
    _stamp.run_each(connection, stamps)
    return len(stamps)


def log_end(connection: Connection) -> LogEnd | None:
    """Return where the sealed log ends; None while it is empty."""
    last = _last.first(connection)
    return None if last is None else LogEnd(last.position, last.chain, last.recorded_at)


def chain_at(connection: Connection, position: int) -> str | None:
    """Return the hash at a position; None where the log does not reach it."""
    chain: str | None = _chain_at.scalar(connection, position=position)
    return chain


def unsealed_events(connection: Connection) -> list[Event]:
    """Return committed events that have no position yet, in the order they were written."""
    return [event_from_row(row) for row in _pending.all(connection, most=_EVERY)]


def newest_unsealed(connection: Connection) -> int | None:
    """Return the number of the newest committed event that has no position yet; None where every one has."""
    number: int | None = _newest_unsealed.scalar(connection)
    return number


def is_unsealed(connection: Connection, event_id: int) -> bool:
    """Say whether an event up to this number still has no position."""
    return _unsealed_up_to.first(connection, up_to=event_id) is not None
