"""The reactor: sealed events in order, and the rules that answer them. Each rule answers each event once.

A rule that fails is tried again after growing pauses, behind the others; in the end a person is told.
"""

import logging
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, overload

from loopwright.governance import SERVICE_ACTOR, SYSTEM, Actor, Dispatcher, projects
from loopwright.kernel.clock import SECOND_US
from loopwright.kernel.errors import LoopwrightError, StorageFull
from loopwright.kernel.events import Event, Facts, event_type
from loopwright.loop import sql
from loopwright.loop.engine.retries import PAUSES_S, next_try, says, settle_incident, tell_person
from loopwright.loop.events import ReactionFailed
from loopwright.store import sql as store_sql
from loopwright.store.engine import Connection
from loopwright.store.tx import Tx

log = logging.getLogger("loopwright.reactor")

A = TypeVar("A", bound=Facts)
B = TypeVar("B", bound=Facts)
Rule = Callable[[Tx, Event], None]
FactsRule = Callable[[Tx, Event, A], None]
Condition = Callable[[Tx, Event], bool]
READER = sql.READER
_PAGE = 200
_SAVE_EVERY = 1000

RULES: dict[str, list[tuple[str, Rule]]] = {}
"""``event type -> (rule name, function)``; filled by ``loop/reactions.py``."""
CONDITIONS: dict[str, Condition] = {}
"""By rule name: whether an event asks for an answer at all."""


@overload
def reaction(kind: type[A], /, *, only_if: Condition | None = None) -> Callable[[FactsRule[A]], FactsRule[A]]: ...


@overload
def reaction(
    kind: type[A], other: type[B], /, *, only_if: Condition | None = None
) -> Callable[[FactsRule[A | B]], FactsRule[A | B]]: ...


@overload
def reaction(*kinds: str) -> Callable[[Rule], Rule]: ...


def reaction(*kinds: type[Facts] | str, only_if: Condition | None = None) -> Any:
    """Mark ``(tx, event, facts)`` as the answer to events of a kind or two; it commits together with its record.

    Args:
        kinds: The structs of the events' facts, of which ``facts`` is one; or types of events that have none, for a
            function ``(tx, event)``.
        only_if: Says by reading whether there is anything to answer; for events that are many and seldom matter.
    """

    def keep(function: Callable[..., None]) -> Callable[..., None]:
        if only_if is not None:
            CONDITIONS[function.__name__] = only_if
        for kind in kinds:
            if isinstance(kind, str):
                RULES.setdefault(kind, []).append((function.__name__, function))
            else:
                RULES.setdefault(event_type(kind), []).append((function.__name__, _with_facts(function, kind)))
        return function

    return keep


def _with_facts(function: Callable[..., None], kind: type[Facts]) -> Rule:
    @wraps(function)
    def rule(tx: Tx, event: Event) -> None:
        function(tx, event, event.read(kind))

    return rule


class Reactor:
    """Reads the event log behind its cursor and applies the rules."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        self._lock = threading.Lock()
        self._position = dispatcher.database.read(lambda connection: store_sql.get_cursor(connection, READER))
        self._saved = self._position
        self._look_again_at = 0

    def drain(self) -> int:
        """Answer every event that is committed; return how many were read. Several callers take turns."""
        count = 0
        with self._lock:
            has_more = True
            self._catch_up()
            self._retry_waiting()
            while has_more:
                page = self._next_page()
                for event in page:
                    self._answer(event)
                    self._position = event.position
                count += len(page)
                # An answer may have written events of its own.
                has_more = len(page) == _PAGE or any(event.type in RULES for event in page)
            if self._position - self._saved > _SAVE_EVERY:
                self._save()
        return count

    @property
    def position(self) -> int:
        """The position up to which every event has been answered."""
        return self._position

    def _catch_up(self) -> None:
        """Go on where another server's reactor is, where that is further: it led until now."""
        saved = self._dispatcher.database.read(lambda connection: store_sql.get_cursor(connection, READER))
        self._position, self._saved = max(self._position, saved), max(self._saved, saved)

    def _next_page(self) -> list[Event]:
        self._dispatcher.database.seal()
        with self._dispatcher.database.reading() as connection:
            return store_sql.events_after(connection, self._position, limit=_PAGE)

    def _answer(self, event: Event) -> None:
        for name, rule in RULES.get(event.type, []):
            self._try(name, event, _once(name, rule, event), failures=0, only_if=CONDITIONS.get(name))

    def _retry_waiting(self) -> None:
        """Try again the rules that failed and whose pause is over; other servers' are looked for every second."""
        wall_us = self._dispatcher.wall.now_us()
        if wall_us < self._look_again_at:
            return
        for waiting in self._dispatcher.database.read(lambda connection: sql.waiting_reactions(connection, wall_us)):
            with self._dispatcher.database.reading() as connection:
                [event] = store_sql.events_after(connection, waiting.position - 1, limit=1)
            rule = dict(RULES.get(event.type, [])).get(waiting.rule, _forgotten)
            answer = _again(waiting.rule, rule, event, waiting.failures)
            self._try(waiting.rule, event, answer, failures=waiting.failures)
        first = self._dispatcher.database.read(sql.first_retry_at)
        self._look_again_at = min(wall_us + SECOND_US, wall_us + SECOND_US if first is None else first)

    def _try(
        self, name: str, event: Event, answer: Callable[[Tx], None], *, failures: int, only_if: Condition | None = None
    ) -> None:
        """Let one rule answer; where a look suffices to know that there is nothing to answer, nothing is written."""
        try:
            if only_if is None or self._dispatcher.read(
                event.project, policy_actor(name), lambda tx: only_if(tx, event)
            ):
                self._dispatcher.write(event.project, policy_actor(name), answer, event.position, lasts="closed")
        except projects.ProjectGone:  # whatever went on there has ended with it
            return
        except StorageFull:  # the event is answered once there is room
            raise
        except Exception as error:
            if not isinstance(error, LoopwrightError):
                log.exception("reaction %s failed on event %s", name, event.position)
            self._look_again_at = 0
            put_off = _put_off(name, event, error, failures)
            # Where this cannot be written either, the database takes nothing: the event is answered later.
            self._dispatcher.write(event.project, policy_actor(name), put_off, event.position)

    def _save(self) -> None:
        position = self._position

        def save(connection: Connection) -> None:
            if store_sql.get_cursor(connection, READER) < position:  # another server's may be further
                store_sql.set_cursor(connection, READER, position)

        self._dispatcher.database.write(save)
        self._saved = position


def policy_actor(rule: str) -> Actor:
    """Return the actor under which a rule acts, so that the audit trail names it."""
    return Actor(f"policy:{rule}", SERVICE_ACTOR.roles)


def _once(name: str, rule: Rule, event: Event) -> Callable[[Tx], None]:
    def work(tx: Tx) -> None:
        if tx.project == SYSTEM or not sql.take_reaction(tx, name, event.position):
            return
        rule(tx, event)

    return work


def _again(name: str, rule: Rule, event: Event, failures: int) -> Callable[[Tx], None]:
    def work(tx: Tx) -> None:
        if not sql.retake_reaction(tx, name, event.position):
            return
        if failures > len(PAUSES_S):  # a person was told
            settle_incident(tx, event.ref, name, "the same went well at a later try")
        condition = CONDITIONS.get(name)  # it may be what failed, so that nobody knows yet what it says
        if condition is None or condition(tx, event):
            rule(tx, event)

    return work


def _put_off(name: str, event: Event, error: Exception, failures: int) -> Callable[[Tx], None]:
    """Return what notes that a rule failed once more, and tells a person where it is time."""

    def work(tx: Tx) -> None:
        (retry_at, is_told), outcome = next_try(tx, failures, error), says(error)
        tries = failures + 1
        is_ours = sql.record_failed_reaction(tx, name, event.position, outcome, failures=tries, retry_at=retry_at)
        if is_ours and is_told:
            if retry_at is None:
                tx.emit(ReactionFailed(name, event.type), event.ref, reason=outcome)
            facts = {"rule": name, "answered": event.type, "position": event.position, "tries": tries}
            end = "failed for good" if retry_at is None else "cannot be done and is tried again and again"
            tell_person(tx, event.ref, name, f"what follows from {event.type} {end}: {outcome}", facts)

    return work


def _forgotten(_tx: Tx, event: Event) -> None:
    """Answer for a rule that there is no more, in this version: nothing follows."""
    log.warning("event %s waits for a rule that is no more", event.position)
