"""Statements of timers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, bindparam, delete, select, update

from loopwright.store.sql.rows import begins_with, upsert
from loopwright.store.tables import timers
from loopwright.store.types import Timer

if TYPE_CHECKING:
    from loopwright.store.tx import Tx


def upsert_timer(tx: "Tx", due_at: int, verb: str, args: dict[str, Any], key: str) -> None:
    """Plan a call, replacing the timer of the same key."""
    planned = {"project_id": tx.project, "due_at": due_at, "verb": verb, "args": args, "key": key}
    row = {**planned, "failures": 0, "retry_at": None, "has_successor": False}
    upsert(tx.connection, timers, [row], key=("project_id", "key"), do_update=True)


def find_due(tx: "Tx", key: str) -> int | None:
    """Return when the timer of a key is due; None where there is none."""
    statement = select(timers.c.due_at).where(timers.c.project_id == tx.project, timers.c.key == key)
    due_at: int | None = tx.execute(statement).scalar()
    return due_at


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


_due_on_wall = (
    select(timers)
    .where(timers.c.project_id.in_(bindparam("projects", expanding=True)), timers.c.due_at <= bindparam("wall_us"))
    .where(timers.c.retry_at.is_(None) | (timers.c.retry_at <= bindparam("wall_us")))
    .order_by(timers.c.due_at, timers.c.timer_id)
    .limit(bindparam("most"))
)


def due_timers_on_wall(connection: Connection, projects: Sequence[str], wall_us: int, *, limit: int) -> list[Timer]:
    """Return the timers of projects on the wall clock that are to be fired now, by (due_at, id)."""
    place = {"projects": list(projects), "wall_us": wall_us, "most": limit}
    return [_timer(row) for row in connection.execute(_due_on_wall, place)]


def set_aside(connection: Connection, timer: Timer) -> bool:
    """Free a timer's key for the one after it; False if another process did, or it was planned anew meanwhile."""
    is_timer = (timers.c.timer_id == timer.timer_id) & (timers.c.due_at == timer.due_at) & ~timers.c.has_successor
    values = {"key": f"{timer.key}@{timer.due_at}", "has_successor": True}
    return connection.execute(update(timers).where(is_timer).values(values)).rowcount == 1


def put_off(connection: Connection, timer: Timer, retry_at: int) -> bool:
    """Note that a timer's call failed once more, and when it is tried again; False if it is not as it was read."""
    is_timer = (timers.c.timer_id == timer.timer_id) & (timers.c.due_at == timer.due_at)
    values = {"failures": timer.failures + 1, "retry_at": retry_at}
    is_as_read = is_timer & (timers.c.failures == timer.failures)
    return connection.execute(update(timers).where(is_as_read).values(values)).rowcount == 1


def _timer(row: Row[Any]) -> Timer:
    values = dict(row._mapping)
    return Timer(project=values.pop("project_id"), **values)
