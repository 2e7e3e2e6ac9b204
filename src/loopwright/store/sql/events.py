"""Statements of the event log, except sealing."""

import heapq
from collections.abc import Sequence
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Text, bindparam, func, insert, select

from loopwright.kernel.events import Event, Facts, event_type
from loopwright.store.news import EVENTS, tell
from loopwright.store.sealing import event_from_row
from loopwright.store.sql.rows import upsert
from loopwright.store.statements import Statement
from loopwright.store.tables import cursors, events

if TYPE_CHECKING:
    from loopwright.store.tx import Tx

_insert_event = Statement(
    insert(events),
    (
        "project_id",
        "type",
        "ref",
        "actor",
        "event_at",
        "recorded_at",
        "reason",
        "payload",
        "cause",
        "token_id",
        "client",
    ),
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
        "token_id": tx.token_id,
        "client": tx.client,
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
    asked = {"before": before, "ref": ref, "prefix": type_prefix}
    asked = {name: value for name, value in asked.items() if value is not None}
    if ref is not None:
        asked |= {"under": f"{ref}/", "past": f"{ref}0"}  # 0 comes after /
    parts = _newest(before is not None, ref is not None, type_prefix is not None)
    rows = [part.all(connection, project=project, most=limit, **asked) for part in parts]
    newest = heapq.merge(*rows, key=lambda row: row.position, reverse=True)
    return [event_from_row(row) for row in islice(newest, limit)]


@cache
def _newest(has_before: bool, has_ref: bool, has_prefix: bool) -> list[Statement]:
    """Return the statements whose answers together are the newest events of a choice; built once for each choice."""
    base = select(events).where(events.c.project_id == bindparam("project"), events.c.position.is_not(None))
    base = base.limit(bindparam("most"))
    if has_before:
        base = base.where(events.c.position < bindparam("before"))
    if has_prefix:
        prefix = bindparam("prefix", type_=Text)
        base = base.where(func.substr(events.c.type, 1, func.length(prefix)) == prefix)
    newest_first = events.c.position.desc()
    if not has_ref:
        return [Statement(base.order_by(newest_first))]
    # Each half goes through the index of refs: the events of one object lie there in order, those under it side by
    # side. The sum keeps SQLite from walking back through the log of the whole project in search of the few.
    itself = base.where(events.c.ref == bindparam("ref")).order_by(newest_first)
    under = base.where(events.c.ref > bindparam("under"), events.c.ref < bindparam("past"))
    return [Statement(itself), Statement(under.order_by((events.c.position + 0).desc()))]


_EVENTS_OF = Statement(
    select(events)
    .where(
        events.c.project_id == bindparam("project"),
        events.c.ref == bindparam("ref"),
        events.c.type == bindparam("type"),
    )
    .order_by(events.c.event_id)
)


def events_of(tx: "Tx", facts: type[Facts], ref: str) -> list[Event]:
    """Return what was told of one object in one type of event, sealed or not, oldest first: what has happened already.

    For objects that few events tell of.
    """
    rows = _EVENTS_OF.all(tx.connection, project=tx.project, ref=ref, type=event_type(facts))
    return [event_from_row(row) for row in rows]


def events_about(tx: "Tx", refs: Sequence[str], *kinds: type[Facts]) -> list[Event]:
    """Return what was told of each of some objects in some types of event, sealed or not, oldest first."""
    table, types = events.c, [event_type(facts) for facts in kinds]
    asked = select(events).where(table.project_id == tx.project, table.ref.in_(refs), table.type.in_(types))
    return [event_from_row(row) for row in tx.execute(asked.order_by(table.event_id))]


def newest_before(tx: "Tx", facts: type[Facts], ref: str, before: Event, limit: int) -> list[Event]:
    """Return what was told of one object in one type of event before another event was, sealed or not, newest first."""
    table = events.c
    same = (table.project_id == tx.project, table.ref == ref, table.type == event_type(facts))
    asked = select(events).where(*same, table.recorded_at <= before.recorded_at).order_by(table.event_id.desc())
    return [event_from_row(row) for row in tx.execute(asked.limit(limit))]


def get_cursor(connection: Connection, reader: str) -> int:
    """Return the position a reader of the event log has reached."""
    return connection.execute(select(cursors.c.position).where(cursors.c.reader == reader)).scalar() or 0


def set_cursor(connection: Connection, reader: str, position: int) -> None:
    """Record the position a reader has reached."""
    upsert(connection, cursors, [{"reader": reader, "position": position}], key=("reader",), do_update=True)
