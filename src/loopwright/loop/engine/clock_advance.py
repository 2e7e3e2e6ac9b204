"""Moving a replay clock: timers fire at their own moments, and the world comes to rest before the next one."""

import time

import msgspec

from loopwright.governance import SERVICE_ACTOR, projects
from loopwright.kernel.clock import SECOND_US, format_moment, parse_moment
from loopwright.kernel.errors import InvalidInput, Unavailable
from loopwright.kernel.verbs import Role, operation
from loopwright.loop import sql as loop_sql
from loopwright.loop.engine.operations import OperationContext
from loopwright.loop.engine.timers import TIMER_ACTOR, fire
from loopwright.serving import is_acknowledged
from loopwright.store import sql
from loopwright.store.tx import Tx
from loopwright.store.types import Timer, Unrest

REST_TIMEOUT_S = 900.0
"""Longest time the world may take to come to rest after one timer."""


class Advanced(msgspec.Struct, frozen=True):
    """Where a replay clock stands now, and how many timers fired on the way. Microseconds UTC."""

    clock_at: int
    timers: int


@operation("clock.advance", role=Role.EDITOR)
def advance(context: OperationContext, *, to: int | str) -> Advanced:
    """Move the clock of a replay project; answer once all that was due is done and gateways serve the newest release.

    Args:
        context: The server's parts.
        to: ISO 8601 or microseconds UTC.

    Raises:
        InvalidInput: The project runs on the wall clock, or ``to`` lies before its clock.
        Unavailable: Jobs or gateways did not come to rest in time.
        Conflict: The project is closed, or what comes again on the way cannot be planned any further.
    """
    until = parse_moment(to, "to")
    fired = 0
    while (timer := _come_to_rest(context, until)) is not None:
        _sleep_until(context, timer.retry_at or 0)
        fired += fire(context.dispatcher, timer, moves_clock=True)
    context.dispatcher.write(context.project, TIMER_ACTOR, lambda tx: projects.set_clock(tx, to=until), lasts="open")
    return Advanced(until, fired)


def _come_to_rest(context: OperationContext, until: int) -> Timer | None:
    """Wait until no event waits for an answer, no job is open and gateways serve the newest release.

    Returns:
        The next timer that is due by then, None if there is none.
    """
    deadline = time.monotonic() + REST_TIMEOUT_S
    seen = context.wait(-1, 0)
    while True:
        # Asked before the snapshot: what answered the events up to here is in it.
        answered = context.reactor.position
        unrest, is_served, due, retry_at = context.dispatcher.read(
            context.project, SERVICE_ACTOR, lambda tx: _look(tx, until)
        )
        if unrest.has_unsealed:
            context.dispatcher.database.seal()
        elif unrest.position > answered:
            context.reactor.drain()
        elif retry_at is not None:  # what failed is tried again at the same moment of the project's time
            _sleep_until(context, retry_at)
            context.reactor.drain()
        elif unrest.has_jobs or not is_served:
            seen = context.wait(seen, 0.25)
        else:
            return due[0] if due else None
        if time.monotonic() > deadline:
            what = _what_keeps_it(unrest, retry_at)
            raise Unavailable(
                f"{context.project} did not come to rest: {what}", next_step="loopwright status, loopwright logs worker"
            )


def _what_keeps_it(unrest: Unrest, retry_at: int | None) -> str:
    if retry_at is not None:
        return "what follows from an event fails again and again, see loopwright incidents"
    return "its jobs did not end" if unrest.has_jobs else "the gateways did not load its newest release"


def _sleep_until(context: OperationContext, wall_us: int) -> None:
    """Wait for a moment of the wall clock; pauses in replay projects are short."""
    time.sleep(max(0.0, (wall_us - context.dispatcher.wall.now_us()) / SECOND_US))


def _look(tx: Tx, until: int) -> tuple[Unrest, bool, list[Timer], int | None]:
    """Return what is not at rest, whether gateways serve the newest release, the next timer, the next retry of a rule.

    All of them at one moment.
    """
    if tx.clock is tx.wall:
        raise InvalidInput("only a replay clock can be moved", field="project", value=tx.project, rule="clock: replay")
    if until < tx.now_us:
        rule = f"from {format_moment(tx.now_us)} on"
        raise InvalidInput("a clock does not go back", field="to", value=format_moment(until), rule=rule)
    unrest = sql.read_unrest(tx.connection, tx.project)
    due = sql.due_timers(tx.connection, tx.project, until)
    return unrest, is_acknowledged(tx), due, loop_sql.next_retry_at(tx)
