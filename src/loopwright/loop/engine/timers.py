"""Firing timers: the planned call and the removal of its timer commit together; what comes again is planned before.

A call that fails is tried again after growing pauses of the wall clock. In the end a person is told, and whatever comes
again goes on with the next time: one window that cannot be closed is one incident, not the end of all windows. Where
the next time itself cannot be planned the timer stays: the wall clock tries it again every hour, a replay clock stands
still and says so, for what it went past would be missing from the history that it plays.
"""

import logging

import msgspec

from loopwright.governance import SERVICE_ACTOR, Actor, Dispatcher, find_verb, projects
from loopwright.kernel.clock import HOUR_US, format_moment
from loopwright.kernel.documents import convert
from loopwright.kernel.errors import Conflict, LoopwrightError, StorageFull, Unavailable
from loopwright.loop.engine.retries import next_try, says, settle_incident, tell_person
from loopwright.loop.events import TimerFailed
from loopwright.store import sql
from loopwright.store.engine import Connection
from loopwright.store.timers import PLANNERS
from loopwright.store.tx import Tx
from loopwright.store.types import Timer

log = logging.getLogger("loopwright.timers")

TIMER_ACTOR = Actor("service:timers", SERVICE_ACTOR.roles)
MOST_AT_ONCE = 1000
"""Timers that are read at once; the rest is due in the next round."""
_SUBJECTS = {"deployment": "deployment", "pipeline": "pipeline", "rollout_id": "rollout", "view": "view"}
"""Arguments of timers that name what they are about, and its kind."""


def fire(dispatcher: Dispatcher, timer: Timer, *, moves_clock: bool) -> bool:
    """Call the verb of a due timer in one transaction with its removal; return whether that timer is history.

    It is not where another process took it, or where its call failed and is tried again. Where the database takes
    nothing at all the timer stays as it is, and so on a replay clock where any part of the platform was not there.

    Args:
        dispatcher: Opens the transactions.
        timer: As it was read.
        moves_clock: The project is on a replay clock, which moves to the timer's moment with its call.

    Raises:
        Conflict: What comes after it could not be planned, and the replay clock goes no further than its moment.
        Unavailable: The timer stays.
    """
    try:
        if _has_to_plan(timer):
            planned = dispatcher.write(
                timer.project, TIMER_ACTOR, lambda tx: _plan_next(dispatcher, tx, timer, moves_clock)
            )
            if planned is None:
                return False
            timer = planned
        return bool(dispatcher.write(timer.project, TIMER_ACTOR, lambda tx: _call(dispatcher, tx, timer, moves_clock)))
    except StorageFull:
        raise
    except Exception as failed:
        error = failed
        if moves_clock and isinstance(error, Unavailable):
            raise
        if not isinstance(error, LoopwrightError):
            log.exception("timer %s failed", timer.key)
        # Where this cannot be written either, nothing can, or another session holds this very timer.
        is_last = dispatcher.write(
            timer.project, TIMER_ACTOR, lambda tx: _put_off(dispatcher, tx, timer, moves_clock, error)
        )
        if is_last and moves_clock and _has_to_plan(timer):
            raise _standing_still(timer, says(error)) from error
        return bool(is_last)


def _has_to_plan(timer: Timer) -> bool:
    """Say whether the timer comes again and the one after it is not there yet."""
    return timer.verb in PLANNERS and not timer.has_successor


def _standing_still(timer: Timer, message: str) -> Conflict:
    return Conflict(
        f"the clock of {timer.project} stands still at {format_moment(timer.due_at)}: "
        f"what comes after {timer.verb} cannot be planned: {message}",
        field="to",
        rule="a replay passes no moment whose successor is missing, or its result would be another",
        next_step="correct the cause and advance again; loopwright incidents tells of it",
    )


def _plan_next(dispatcher: Dispatcher, tx: Tx, timer: Timer, moves_clock: bool) -> Timer | None:
    """Plan the timer after this one and return this one as it is then; None if another process took it."""
    if not sql.set_aside(tx.connection, timer):
        return None
    tx = _moved(dispatcher, tx, timer) if moves_clock else tx
    PLANNERS[timer.verb](tx, **_arguments(timer))
    return msgspec.structs.replace(timer, key=f"{timer.key}@{timer.due_at}", has_successor=True)


def _call(dispatcher: Dispatcher, tx: Tx, timer: Timer, moves_clock: bool) -> bool:
    if not sql.take_timer(tx.connection, timer):
        return False
    tx = _moved(dispatcher, tx, timer) if moves_clock else tx
    find_verb(timer.verb).function(tx, **_arguments(timer))
    if timer.has_successor or timer.failures:
        settle_incident(tx, _subject(tx, timer), timer.verb, "the same went well again")
    return True


def _put_off(dispatcher: Dispatcher, tx: Tx, timer: Timer, moves_clock: bool, error: Exception) -> bool:
    """Try a timer again later, or no more; tell a person where it is time. Return whether that was the last try."""
    retry_at, is_told = next_try(tx, timer.failures, error)
    is_last = retry_at is None
    tx = _moved(dispatcher, tx, timer) if moves_clock and is_last else tx
    if retry_at is None and _has_to_plan(timer):
        # The one after it cannot be planned: dropped, it would be the last one for ever.
        retry_at = tx.wall_us + (0 if moves_clock else HOUR_US)
    is_ours = sql.take_timer(tx.connection, timer) if retry_at is None else sql.put_off(tx.connection, timer, retry_at)
    if not is_ours:
        return False
    if is_told:
        if is_last:
            tx.emit(TimerFailed(timer.verb, timer.key), tx.ref("timer", "timer"), reason=says(error))
        facts = {"verb": timer.verb, "args": timer.args, "tries": timer.failures + 1, "due_at": timer.due_at}
        end = "failed for good" if is_last else "cannot be done and is tried again and again"
        tell_person(tx, _subject(tx, timer), timer.verb, f"{timer.verb} {end}: {says(error)}", facts)
    return is_last


def _moved(dispatcher: Dispatcher, tx: Tx, timer: Timer) -> Tx:
    """Set the replay clock to the timer's moment and return a transaction that sees it."""
    if timer.due_at > tx.now_us:
        projects.set_clock(tx, to=timer.due_at)
    return dispatcher.tx(tx.connection, timer.project, TIMER_ACTOR)


def _arguments(timer: Timer) -> dict[str, object]:
    types = find_verb(timer.verb).types
    return {name: convert(value, types[name], name) for name, value in timer.args.items()}


def _subject(tx: Tx, timer: Timer) -> str:
    """Return the ref of what a timer is about."""
    named = next((name for name in _SUBJECTS if name in timer.args), None)
    return tx.ref("timer", timer.verb) if named is None else tx.ref(_SUBJECTS[named], str(timer.args[named]))


def fire_due(dispatcher: Dispatcher) -> int:
    """Fire the due timers of every project on the wall clock; return how many.

    Raises:
        Unavailable: The database takes nothing; or one timer could neither be fired nor put off, and all others were.
    """
    count, refused = 0, None
    wall_us = dispatcher.wall.now_us()
    for timer in dispatcher.database.read(lambda connection: _due_on_wall(connection, wall_us)):
        try:
            count += fire(dispatcher, timer, moves_clock=False)
        except Unavailable as error:
            if isinstance(error, StorageFull) or dispatcher.database.failure:
                raise
            log.error("the timer %s waits: %s", timer.key, error)
            refused = error
    if refused is not None:
        raise refused
    return count


def _due_on_wall(connection: Connection, wall_us: int) -> list[Timer]:
    return sql.due_timers_on_wall(connection, projects.on_wall_clock(connection), wall_us, limit=MOST_AT_ONCE)
