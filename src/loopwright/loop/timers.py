"""Firing timers: the planned call and the removal of its timer commit together."""

import logging

from loopwright.governance import SERVICE_ACTOR, Actor, Dispatcher, find_verb, projects
from loopwright.kernel.documents import convert
from loopwright.kernel.errors import LoopwrightError, Unavailable
from loopwright.loop.events import TimerFailed
from loopwright.store import sql
from loopwright.store.engine import Connection
from loopwright.store.tx import Tx
from loopwright.store.types import Timer

log = logging.getLogger("loopwright.timers")

TIMER_ACTOR = Actor("service:timers", SERVICE_ACTOR.roles)


def fire(dispatcher: Dispatcher, timer: Timer, *, moves_clock: bool) -> bool:
    """Call the verb of a due timer in one transaction with its removal; return False if another process took it.

    A call that fails is recorded as an event and not repeated, unless the database was the cause: then the timer stays.
    """

    def work(tx: Tx) -> bool:
        if not sql.take_timer(tx.connection, timer):
            return False
        if moves_clock:
            tx = _moved(dispatcher, tx, timer)
        called = find_verb(timer.verb)
        args = {name: convert(value, called.types[name], name) for name, value in timer.args.items()}
        called.function(tx, **args)
        return True

    try:
        return bool(dispatcher.write(timer.project, TIMER_ACTOR, work))
    except Unavailable:
        raise
    except Exception as error:
        if not isinstance(error, LoopwrightError):
            log.exception("timer %s failed", timer.key)
        _drop(dispatcher, timer, str(error))
        return True


def _moved(dispatcher: Dispatcher, tx: Tx, timer: Timer) -> Tx:
    """Set the replay clock to the timer's moment and return a transaction that sees it."""
    if timer.due_at > tx.now_us:
        projects.set_clock(tx, to=timer.due_at)
    return dispatcher.tx(tx.connection, timer.project, TIMER_ACTOR)


def _drop(dispatcher: Dispatcher, timer: Timer, message: str) -> None:
    def work(tx: Tx) -> None:
        if sql.take_timer(tx.connection, timer):
            tx.emit(TimerFailed(timer.verb, timer.key), tx.ref("timer", "timer"), reason=message)

    dispatcher.write(timer.project, TIMER_ACTOR, work)


def fire_due(dispatcher: Dispatcher) -> int:
    """Fire the due timers of every project on the wall clock; return how many."""
    count = 0
    wall_us = dispatcher.wall.now_us()
    for timer in dispatcher.database.read(lambda connection: _due_on_wall(connection, wall_us)):
        count += fire(dispatcher, timer, moves_clock=False)
    return count


def _due_on_wall(connection: Connection, wall_us: int) -> list[Timer]:
    found = []
    for project in projects.on_wall_clock(connection):
        found += sql.due_timers(connection, project, wall_us, limit=100)
    return found
