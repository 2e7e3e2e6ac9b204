"""Moving a replay clock: timers fire at their own moments, and the world comes to rest before the next one."""

import time

import msgspec

from loopwright.governance import SERVICE_ACTOR, projects
from loopwright.kernel.clock import format_moment, parse_moment
from loopwright.kernel.errors import InvalidInput, Unavailable
from loopwright.kernel.verbs import Role, operation
from loopwright.loop.operations import OperationContext
from loopwright.loop.timers import TIMER_ACTOR, fire
from loopwright.serving import is_acknowledged
from loopwright.store import sql

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
    """
    until = parse_moment(to, "to")
    found = context.read(lambda tx: projects.get(tx, name=context.project))
    if found.clock != "replay":
        raise InvalidInput("only a replay clock can be moved", field="project", value=found.name, rule="clock: replay")
    if until < found.clock_at:
        rule = f"from {format_moment(found.clock_at)} on"
        raise InvalidInput("a clock does not go back", field="to", value=format_moment(until), rule=rule)
    fired = 0
    while True:
        come_to_rest(context)
        with context.dispatcher.database.reading() as connection:
            due = sql.due_timers(connection, context.project, until)
        if not due:
            break
        fired += fire(context.dispatcher, due[0], moves_clock=True)
    context.dispatcher.write(context.project, TIMER_ACTOR, lambda tx: projects.set_clock(tx, to=until))
    return Advanced(until, fired)


def come_to_rest(context: OperationContext) -> None:
    """Return when no event waits for an answer, no job of the project is open and gateways serve its newest release."""
    deadline = time.monotonic() + REST_TIMEOUT_S
    seen = context.wait(-1, 0)
    while True:
        context.reactor.drain()
        with context.dispatcher.database.reading() as connection:
            has_jobs = sql.has_open_jobs(connection, context.project)
            is_served = is_acknowledged(context.dispatcher.tx(connection, context.project, SERVICE_ACTOR))
        if not has_jobs and is_served and context.reactor.is_idle():
            return
        if time.monotonic() > deadline:
            what = "its jobs did not end" if has_jobs else "the gateways did not load its newest release"
            raise Unavailable(
                f"{context.project} did not come to rest: {what}", next_step="loopwright status, loopwright logs worker"
            )
        seen = context.wait(seen, 0.25)
