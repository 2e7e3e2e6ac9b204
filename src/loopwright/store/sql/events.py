"""Statements of the event log, except sealing."""

import heapq
from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, bindparam, insert, select

from loopwright.kernel.events import Event
from loopwright.store.news import EVENTS, tell
from loopwright.store.sealing import event_from_row
from loopwright.store.sql.rows import begins_with, upsert
from loopwright.store.statements import Statement
from loopwright.store.tables import cursors, events

if TYPE_CHECKING:
    from loopwright.store.tx import Tx

_insert_event = Statement(
    insert(events),
    ("project_id", "type", "ref", "actor", "event_at", "recorded_at", "reason", "payload", "cause"),
)


def insert_event(tx: "Tx", type: str, ref: str, reason: str, payload: dict[str, Any]) -> None:
    """Append one event, which is sealed later; who waits for events, or for those of its room, is told."""
    row = {
        "project_id": tx.project,
        "type": type,
        "ref": ref,
        "actor": tx.actor,
        "event_at": tx.now_us,
        "recorded_at": tx.wall_us,
        "reason": reason,
        "payload": payload,
        "cause": tx.cause,
    }
    _insert_event.run_each(tx.connection, [row])
    tell(tx.connection, EVENTS, type.partition(".")[0])


_sealed = select(events).where(events.c.position > bindparam("after")).order_by(events.c.position)
_sealed = _sealed.limit(bindparam("most"))
_after = Statement(_sealed)
_after_in_project = Statement(_sealed.where(events.c.project_id == bindparam("project")))


def events_after(connection: Connection, position: int, *, limit: int, project: str | None = None) -> list[Event]:
    """Return sealed events in order, those after ``position``."""
    if project is None:
        rows = _after.all(connection, after=position, most=limit)
    else:
        rows = _after_in_project.all(connection, after=position, most=limit, project=project)
    return [event_from_row(row) for row in rows]


def newest_events(
    connection: Connection,
    project: str,
    *,
    limit: int,
    before: int | None = None,
    ref: str | None = None,
    type_prefix: str | None = None,
) -> list[Event]:
    """Return sealed events of a project, newest first, with optional filters.

    Args:
        connection: Open transaction.
        project: Whose events.
        limit: How many at most.
        before: Only those before this position.
        ref: Only those of this object, and of what lies under it, such as the versions of a model.
        type_prefix: Only those whose type begins so.
    """
    statement = select(events).where(events.c.project_id == project, events.c.position.is_not(None))
    if before is not None:
        statement = statement.where(events.c.position < before)
    if type_prefix is not None:
        statement = statement.where(begins_with(events.c.type, type_prefix))
    newest_first = events.c.position.desc()
    if ref is None:
        parts = [statement.order_by(newest_first)]
    else:
        # Each half goes through the index of refs: the events of one object lie there in order, those under it side by
        # side. The sum keeps SQLite from walking back through the log of the whole project in search of the few.
        under = statement.where(events.c.ref > f"{ref}/", events.c.ref < f"{ref}0")  # 0 comes after /
        parts = [
            statement.where(events.c.ref == ref).order_by(newest_first),
            under.order_by((events.c.position + 0).desc()),
        ]
    rows = heapq.merge(
        *(connection.execute(part.limit(limit)) for part in parts), key=lambda row: row.position, reverse=True
    )
    return [event_from_row(row) for row in islice(rows, limit)]


def get_cursor(connection: Connection, reader: str) -> int:
    """Return the position a reader of the event log has reached."""
    return connection.execute(select(cursors.c.position).where(cursors.c.reader == reader)).scalar() or 0


def set_cursor(connection: Connection, reader: str, position: int) -> None:
    """Record the position a reader has reached."""
    upsert(connection, cursors, [{"reader": reader, "position": position}], key=("reader",), do_update=True)
