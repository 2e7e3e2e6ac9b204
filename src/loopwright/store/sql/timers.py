"""Statements of timers."""

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, bindparam, delete, select

from loopwright.store.sql.rows import begins_with, upsert
from loopwright.store.tables import timers
from loopwright.store.types import Timer

if TYPE_CHECKING:
    from loopwright.store.tx import Tx


def upsert_timer(tx: "Tx", due_at: int, verb: str, args: dict[str, Any], key: str) -> None:
    """Plan a call, replacing the timer of the same key."""
    row = {"project_id": tx.project, "due_at": due_at, "verb": verb, "args": args, "key": key}
    upsert(tx.connection, timers, [row], key=("project_id", "key"), do_update=True)


def delete_timers(tx: "Tx", key_prefix: str) -> int:
    """Drop timers by the beginning of their key."""
    statement = delete(timers).where(timers.c.project_id == tx.project, begins_with(timers.c.key, key_prefix))
    return int(tx.execute(statement).rowcount)


_due_timers = (
    select(timers)
    .where(timers.c.project_id == bindparam("project"), timers.c.due_at <= bindparam("until"))
    .order_by(timers.c.due_at, timers.c.timer_id)
    .limit(bindparam("most"))
)


def due_timers(connection: Connection, project: str, until: int, *, limit: int = 1) -> list[Timer]:
    """Return the timers due at or before ``until``, by (due_at, id)."""
    place = {"project": project, "until": until, "most": limit}
    return [_timer(row) for row in connection.execute(_due_timers, place)]


_take_timer = delete(timers).where(
    timers.c.project_id == bindparam("project"),
    timers.c.timer_id == bindparam("timer_id"),
    timers.c.due_at == bindparam("due_at"),
)


def take_timer(connection: Connection, timer: Timer) -> bool:
    """Delete a timer that is being fired; False if another process took it, or it was planned anew meanwhile."""
    place = {"project": timer.project, "timer_id": timer.timer_id, "due_at": timer.due_at}
    return connection.execute(_take_timer, place).rowcount == 1


def _timer(row: Row[Any]) -> Timer:
    return Timer(row.timer_id, row.project_id, row.due_at, row.verb, row.args, row.key)
