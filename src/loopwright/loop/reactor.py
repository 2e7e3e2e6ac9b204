"""The reactor: sealed events in order, and the rules that answer them. Each rule answers each event once."""

import logging
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, overload

from loopwright.governance import SERVICE_ACTOR, SYSTEM, Actor, Dispatcher
from loopwright.kernel.errors import LoopwrightError, Unavailable
from loopwright.kernel.events import Event, Facts, event_type
from loopwright.loop import sql
from loopwright.loop.events import ReactionFailed
from loopwright.store import sql as store_sql
from loopwright.store.tx import Tx

log = logging.getLogger("loopwright.reactor")

A = TypeVar("A", bound=Facts)
B = TypeVar("B", bound=Facts)
Rule = Callable[[Tx, Event], None]
FactsRule = Callable[[Tx, Event, A], None]
READER = "reactor"
_PAGE = 200
_SAVE_EVERY = 1000

RULES: dict[str, list[tuple[str, Rule]]] = {}
"""``event type -> (rule name, function)``; filled by ``loop.reactions``."""


@overload
def reaction(kind: type[A], /) -> Callable[[FactsRule[A]], FactsRule[A]]: ...


@overload
def reaction(kind: type[A], other: type[B], /) -> Callable[[FactsRule[A | B]], FactsRule[A | B]]: ...


@overload
def reaction(*kinds: str) -> Callable[[Rule], Rule]: ...


def reaction(*kinds: type[Facts] | str) -> Any:
    """Mark ``(tx, event, facts)`` as the answer to events of a kind or two; it commits together with its record.

    Args:
        kinds: The structs of the events' facts, of which ``facts`` is one; or types of events that have none, for a
            function ``(tx, event)``.
    """

    def keep(function: Callable[..., None]) -> Callable[..., None]:
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

    def drain(self) -> int:
        """Answer every event that is committed; return how many were read. Several callers take turns."""
        count = 0
        with self._lock:
            has_more = True
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

    def _next_page(self) -> list[Event]:
        self._dispatcher.database.seal()
        with self._dispatcher.database.reading() as connection:
            return store_sql.events_after(connection, self._position, limit=_PAGE)

    def _answer(self, event: Event) -> None:
        for name, rule in RULES.get(event.type, []):
            try:
                self._dispatcher.write(event.project, policy_actor(name), _once(name, rule, event), event.position)
            except Unavailable:  # the database was the cause: the event is answered later
                raise
            except LoopwrightError as error:
                self._record_failure(name, event, str(error))
            except Exception as error:
                log.exception("reaction %s failed on event %s", name, event.position)
                self._record_failure(name, event, f"{type(error).__name__}: {error}")

    def _record_failure(self, name: str, event: Event, outcome: str) -> None:
        def record(tx: Tx) -> None:
            sql.record_failed_reaction(tx, name, event.position, outcome)
            tx.emit(ReactionFailed(name, event.type), event.ref, reason=outcome)

        self._dispatcher.write(event.project, policy_actor(name), record, event.position)

    def _save(self) -> None:
        position = self._position
        self._dispatcher.database.write(lambda connection: store_sql.set_cursor(connection, READER, position))
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
