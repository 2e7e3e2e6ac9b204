"""The audit trail: events read as who did what to which ref, and why; and the proof of it."""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from loopwright.governance.books import Books, Mismatch
from loopwright.governance.checkpoints import Checkpoints
from loopwright.kernel.errors import Corrupt, LoopwrightError
from loopwright.kernel.events import Event
from loopwright.kernel.verbs import Count, query
from loopwright.store import sql
from loopwright.store.engine import Connection
from loopwright.store.sealing import LogEnd, chain_hash, unsealed_events
from loopwright.store.sealing import log_end as log_end
from loopwright.store.tx import Tx

_PAGE = 1000


@query("audit.list", reads_log=True)
def list_events(
    tx: Tx, *, limit: Count = 100, before: int | None = None, ref: str | None = None, type_prefix: str | None = None
) -> list[Event]:
    """Return the events of this project, newest first.

    Args:
        limit: At most 1,000.
        before: Only events before this position.
        ref: Only events of this ref and its versions.
        type_prefix: Such as ``serving.``.
    """
    return sql.newest_events(
        tx.connection, tx.project, limit=min(limit, _PAGE), before=before, ref=ref, type_prefix=type_prefix
    )


def verify_chain(connection: Connection, see: Callable[[Event], None] = lambda _: None) -> int:
    """Recompute every hash of the event log; return how many events hold.

    Args:
        connection: One snapshot.
        see: Is shown each event that holds, in order.

    Raises:
        Corrupt: A position is missing or an event does not match its hash; names the position.
    """
    position, chain = 0, ""
    while page := sql.events_after(connection, position, limit=_PAGE):
        for event in page:
            if event.position != position + 1:
                raise Corrupt("an event is missing from the log", field="position", value=position + 1)
            chain = chain_hash(chain, event)
            if chain != event.chain:
                raise Corrupt("an event was changed after it was written", field="position", value=event.position)
            position = event.position
            see(event)
    return position


class LogReport(msgspec.Struct):
    """What was checked of the log and what it says of the tables.

    ``events`` hold, ``checkpoints`` were compared. ``problems`` are of the log and its checkpoints, ``mismatches`` rows
    that no event accounts for, ``notes`` what a person should know and is no fault.
    """

    events: int = 0
    checkpoints: int = 0
    problems: list[str] = []
    mismatches: list[Mismatch] = []
    notes: list[str] = []


class _Walk:
    """What one pass over the log gathers: where it begins and ends, hashes at some positions, and the books."""

    def __init__(self, wanted: set[int]) -> None:
        self._wanted = wanted
        self.books = Books()
        self.chains: dict[int, str] = {}
        self.first_at = 0
        self.end = LogEnd(0, "", 0)

    def see(self, event: Event) -> None:
        self.books.tell(event)
        if event.position in self._wanted:
            self.chains[event.position] = event.chain
        self.first_at = self.first_at or event.recorded_at
        self.end = LogEnd(event.position, event.chain, event.recorded_at)


def verify_log(connection: Connection, checkpoints: Checkpoints, names: list[str]) -> LogReport:
    """Recompute the chain, compare it with its checkpoints, and the tables that give power with what events say.

    Args:
        connection: One snapshot, without a deadline.
        checkpoints: Their place.
        names: What ``checkpoints.names()`` said before the snapshot began: the log of then is in it.
    """
    report, walk = LogReport(), _Walk(checkpoints.positions(names))
    try:
        verify_chain(connection, walk.see)
    except LoopwrightError as error:
        report.problems.append(str(error))
        report.notes.append("checkpoints and rows were not compared with a log that is broken")
    report.events = walk.end.position
    if report.problems:
        return report
    report.checkpoints = len(names)
    report.problems += checkpoints.problems(walk.chains, names, walk.end, walk.first_at)
    for event in unsealed_events(connection):
        walk.books.tell(event)
    report.mismatches += walk.books.compare(connection)
    return report


class NotHeld(NamedTuple):
    """Where a log ends, and the names of the checkpoints that it does not hold."""

    end: LogEnd
    names: list[str]


def not_held(connection: Connection, checkpoints: Checkpoints) -> NotHeld:
    """Return what a log that took the place of another does not hold.

    Raises:
        Corrupt: The log itself is broken, so it can take no other's place.
    """
    walk = _Walk(checkpoints.positions(checkpoints.names()))
    verify_chain(connection, walk.see)
    return NotHeld(walk.end, checkpoints.not_held_by(walk.chains))
