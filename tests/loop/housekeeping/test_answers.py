"""Which rule answered which event is forgotten once no reactor reads the event again; nothing is answered twice."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from loopwright.governance import LOCAL_ACTOR, Dispatcher
from loopwright.kernel.clock import HOUR_US, FixedClock
from loopwright.kernel.errors import Conflict
from loopwright.kernel.events import Event
from loopwright.loop import Reactor
from loopwright.loop.engine import reactor as reactor_module
from loopwright.loop.engine.reactor import CONDITIONS, RULES, reaction
from loopwright.loop.housekeeping import answers
from loopwright.loop.tables import reactions
from loopwright.store.tx import Tx


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    before = {kind: list(rules) for kind, rules in RULES.items()}
    yield
    RULES.clear()
    RULES.update(before)


@pytest.fixture
def answered() -> list[int]:
    """Answer ``test.asked`` and return the positions that were."""
    seen: list[int] = []

    def answer(_tx: Tx, event: Event) -> None:
        seen.append(event.position)

    reaction("test.asked")(answer)
    return seen


def ask(dispatcher: Dispatcher, count: int) -> None:
    for _ in range(count):
        dispatcher.write("flights", LOCAL_ACTOR, lambda tx: tx.emit("test.asked", "flights/thing:a"))


def recorded(dispatcher: Dispatcher) -> list[tuple[str, int]]:
    with dispatcher.database.reading() as connection:
        rows = connection.execute(select(reactions.c.rule, reactions.c.position).order_by(reactions.c.position))
        return [(row.rule, row.position) for row in rows]


def test_answers_below_the_saved_cursor_are_forgotten_some_at_a_time(
    dispatcher: Dispatcher, wall: FixedClock, answered: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reactor_module, "_SAVE_EVERY", 0)
    reactor = Reactor(dispatcher)
    ask(dispatcher, 5)
    reactor.drain()
    monkeypatch.setattr(reactor_module, "_SAVE_EVERY", 1000)
    ask(dispatcher, 2)
    reactor.drain()
    assert answers.forget(dispatcher, 500) == 0, "a transaction may be under way that began before them"
    wall.at_us += 2 * HOUR_US
    assert [answers.forget(dispatcher, 2) for _ in range(4)] == [2, 2, 1, 0]
    assert recorded(dispatcher) == [("answer", position) for position in answered[5:]], (
        "a new reactor reads these again"
    )
    Reactor(dispatcher).drain()
    assert len(answered) == 7


def test_what_failed_is_not_forgotten(
    dispatcher: Dispatcher, wall: FixedClock, answered: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_tx: Tx, _event: Event) -> None:
        raise Conflict("no")

    monkeypatch.setattr(reactor_module, "_SAVE_EVERY", 0)
    reaction("test.asked")(fail)
    ask(dispatcher, 1)
    Reactor(dispatcher).drain()
    wall.at_us += 2 * HOUR_US
    assert answers.forget(dispatcher, 500) == 1
    assert recorded(dispatcher) == [("fail", answered[0])]


@pytest.mark.parametrize("condition_fails", [False, True])
def test_a_reactor_that_is_behind_answers_nothing_that_was_forgotten(
    dispatcher: Dispatcher,
    wall: FixedClock,
    answered: list[int],
    monkeypatch: pytest.MonkeyPatch,
    condition_fails: bool,
) -> None:
    """It read events to answer; meanwhile another server's saved that they are, and the records of that went."""

    def look(_tx: Tx, _event: Event) -> bool:
        if condition_fails and overtakings:
            raise KeyError("a fault of ours")
        return True

    overtakings: list[int] = []
    monkeypatch.setattr(reactor_module, "_SAVE_EVERY", 0)
    monkeypatch.setitem(CONDITIONS, "answer", look)
    behind = Reactor(dispatcher)
    ask(dispatcher, 5)
    read_page = behind._next_page

    def overtaken() -> Any:
        page = read_page()
        if not overtakings:
            Reactor(dispatcher).drain()
            wall.at_us += 2 * HOUR_US
            overtakings.append(answers.forget(dispatcher, 500))
        return page

    monkeypatch.setattr(behind, "_next_page", overtaken)
    behind.drain()
    condition_fails = False
    wall.at_us += 2 * HOUR_US
    behind.drain()
    assert overtakings == [5]
    assert len(answered) == 5
    assert recorded(dispatcher) == []
