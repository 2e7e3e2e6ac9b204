"""Statements of the event log, except sealing."""

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, bindparam, insert, or_, select

from loopwright.kernel.events import Event
from loopwright.store.news import EVENTS, tell
from loopwright.store.sealing import event_from_row
from loopwright.store.sql.rows import begins_with, upsert
from loopwright.store.tables import cursors, events

if TYPE_CHECKING:
    from loopwright.store.tx import Tx

_insert_event = insert(events)


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
    tx.execute(_insert_event, row)
    tell(tx.connection, EVENTS, type.partition(".")[0])


_after = select(events).where(events.c.position > bindparam("after")).order_by(events.c.position)
_after = _after.limit(bindparam("most"))
_after_in_project = _after.where(events.c.project_id == bindparam("project"))


def events_after(connection: Connection, position: int, *, limit: int, project: str | None = None) -> list[Event]:
    """Return sealed events in order, those after ``position``."""
    statement = _after if project is None else _after_in_project
    place = {"after": position, "most": limit} | ({} if project is None else {"project": project})
    return [event_from_row(row) for row in connection.execute(statement, place)]


def newest_events(
    connection: Connection,
    project: str,
    *,
    limit: int,
    before: int | None = None,
    ref: str | None = None,
    type_prefix: str | None = None,
) -> list[Event]:
    """Return sealed events of a project, newest first, with optional filters."""
    statement = select(events).where(events.c.project_id == project, events.c.position.is_not(None))
    if before is not None:
        statement = statement.where(events.c.position < before)
    if ref is not None:
        statement = statement.where(or_(events.c.ref == ref, begins_with(events.c.ref, f"{ref}/")))
    if type_prefix is not None:
        statement = statement.where(begins_with(events.c.type, type_prefix))
    statement = statement.order_by(events.c.position.desc()).limit(limit)
    return [event_from_row(row) for row in connection.execute(statement)]


def get_cursor(connection: Connection, reader: str) -> int:
    """Return the position a reader of the event log has reached."""
    return connection.execute(select(cursors.c.position).where(cursors.c.reader == reader)).scalar() or 0


def set_cursor(connection: Connection, reader: str, position: int) -> None:
    """Record the position a reader has reached."""
    upsert(connection, cursors, [{"reader": reader, "position": position}], key=("reader",), do_update=True)
