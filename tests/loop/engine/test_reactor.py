"""Each rule answers each event once, whoever drains, and a rule that fails holds nobody up."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from loopwright.governance import LOCAL_ACTOR, Dispatcher
from loopwright.kernel.clock import DAY_US, SECOND_US, FixedClock
from loopwright.kernel.errors import Conflict, Unavailable
from loopwright.kernel.events import Event, Facts, event
from loopwright.loop import Reactor
from loopwright.loop.engine import reactor as reactor_module
from loopwright.loop.engine.reactor import CONDITIONS, RULES, reaction
from loopwright.loop.engine.retries import PAUSES_S
from loopwright.store.tx import Tx


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    before = {kind: list(rules) for kind, rules in RULES.items()}
    yield
    RULES.clear()
    RULES.update(before)


@pytest.fixture
def emit(dispatcher: Dispatcher) -> Callable[..., None]:
    return lambda type, count=1: [
        dispatcher.write("flights", LOCAL_ACTOR, lambda tx: tx.emit(type, "flights/thing:a")) for _ in range(count)
    ]


def answer(tx: Tx, event: Event) -> None:
    tx.emit("test.answered", event.ref, reason=f"to {event.position}")


def answers(call: Callable[..., Any]) -> list[Event]:
    return [event for event in call("audit.list", limit=1000) if event.type == "test.answered"]


def test_an_answer_names_its_cause_and_rule(dispatcher: Dispatcher, emit: Callable[..., None], call: Any) -> None:
    reaction("test.asked")(answer)
    emit("test.asked")
    asked = call("audit.list", limit=1)[0].position
    reactor = Reactor(dispatcher)
    assert reactor.position < asked
    reactor.drain()
    assert reactor.position > asked
    assert reactor.drain() == 0
    (found,) = answers(call)
    assert (found.cause, found.actor) == (asked, "policy:answer")


@event("test.weighed")
class Weighed(Facts, frozen=True):
    """A thing was put on the scales."""

    grams: int
    by: str = "hand"


def test_a_rule_gets_the_facts_as_their_struct(
    dispatcher: Dispatcher, emit: Callable[..., None], call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loopwright.loop.engine.retries.PAUSES_S", ())
    got: list[tuple[Weighed, int]] = []

    @reaction(Weighed)
    def note(_tx: Tx, event: Event, facts: Weighed) -> None:
        got.append((facts, event.position))

    def weigh(tx: Tx) -> None:
        tx.emit(Weighed(7), "flights/thing:a")
        tx.emit("test.weighed", "flights/thing:b", grams=8)  # recorded before the struct told who weighs
        tx.emit("test.weighed", "flights/thing:c", grams="much")

    dispatcher.write("flights", LOCAL_ACTOR, weigh)
    Reactor(dispatcher).drain()
    assert [facts for facts, _ in got] == [Weighed(7), Weighed(8)]
    failed = next(one for one in call("audit.list") if one.type == "loop.reaction_failed")
    assert (failed.payload["rule"], failed.ref) == ("note", "flights/thing:c")
    assert "grams" in failed.reason


def test_several_reactors_answer_once(dispatcher: Dispatcher, emit: Callable[..., None], call: Any) -> None:
    reaction("test.asked")(answer)
    emit("test.asked", 6)
    reactors = [Reactor(dispatcher) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda reactor: reactor.drain(), reactors))
    Reactor(dispatcher).drain()
    assert len(answers(call)) == 6


def test_a_rule_that_fails_is_tried_again_and_then_told(
    dispatcher: Dispatcher, emit: Callable[..., None], call: Any, wall: FixedClock
) -> None:
    tries: list[int] = []

    def fail(_tx: Tx, event: Event) -> None:
        tries.append(event.position)
        raise Conflict("no")

    reaction("test.asked")(fail)
    reaction("test.asked")(answer)
    emit("test.asked")
    Reactor(dispatcher).drain()
    assert len(tries) == len(answers(call)) == 1
    for place, pause_s in enumerate(PAUSES_S):
        wall.at_us += int(pause_s * SECOND_US) - 1
        Reactor(dispatcher).drain()
        assert len(tries) == place + 1
        wall.at_us += 1
        Reactor(dispatcher).drain()
        Reactor(dispatcher).drain()
        assert len(tries) == place + 2
    assert len(answers(call)) == 1
    wall.at_us += DAY_US
    Reactor(dispatcher).drain()
    assert len(tries) == len(PAUSES_S) + 1
    assert [event.payload["rule"] for event in call("audit.list") if event.type == "loop.reaction_failed"] == ["fail"]
    [incident] = call("monitoring.incidents")
    assert (incident.subject, incident.title) == ("flights/thing:a", "what follows from test.asked failed for good: no")


def test_a_rule_answers_at_a_later_try(
    dispatcher: Dispatcher, emit: Callable[..., None], call: Any, wall: FixedClock
) -> None:
    tries: list[int] = []

    def shaky(tx: Tx, event: Event) -> None:
        tries.append(event.position)
        answer(tx, event)
        if len(tries) == 1:
            raise KeyError("a fault of ours")

    reaction("test.asked")(shaky)
    emit("test.asked")
    reactor = Reactor(dispatcher)
    reactor.drain()
    assert answers(call) == []
    wall.at_us += SECOND_US
    reactor.drain()
    [found] = answers(call)
    assert (found.cause, found.actor) == (tries[0], "policy:shaky")
    wall.at_us += DAY_US
    reactor.drain()
    assert len(tries) == 2


def test_a_rule_with_nothing_to_answer_writes_nothing(
    dispatcher: Dispatcher, emit: Callable[..., None], call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    reaction("test.asked")(answer)
    monkeypatch.setitem(CONDITIONS, "answer", lambda _tx, event: event.reason == "please")
    emit("test.asked")
    before = call("audit.list", limit=1)[0].position
    Reactor(dispatcher).drain()
    assert call("audit.list", limit=1)[0].position == before


@pytest.mark.parametrize("is_asked_for", [True, False])
def test_a_condition_that_fails_is_its_rules_own_failure(
    dispatcher: Dispatcher,
    emit: Callable[..., None],
    call: Any,
    wall: FixedClock,
    monkeypatch: pytest.MonkeyPatch,
    is_asked_for: bool,
) -> None:
    looks: list[int] = []

    def shaky(_tx: Tx, event: Event) -> bool:
        looks.append(event.position)
        if len(looks) == 1:
            raise KeyError("a fault of ours")
        return is_asked_for

    def other(tx: Tx, event: Event) -> None:
        tx.emit("test.answered", event.ref, reason="by the other")

    reaction("test.asked")(answer)
    reaction("test.asked")(other)
    monkeypatch.setitem(CONDITIONS, "answer", shaky)
    emit("test.asked")
    reactor = Reactor(dispatcher)
    reactor.drain()
    assert [one.reason for one in answers(call)] == ["by the other"]
    for _ in range(2):
        wall.at_us += SECOND_US
        reactor.drain()
    assert len(looks) == 2
    assert len(answers(call)) == 1 + is_asked_for


def test_trouble_of_the_database_is_no_answer(
    dispatcher: Dispatcher, emit: Callable[..., None], call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    reaction("test.asked")(answer)
    emit("test.asked")
    reactor = Reactor(dispatcher)

    def away(*_args: Any, **_named: Any) -> None:
        raise Unavailable("the database did not answer")

    with monkeypatch.context() as patched:
        patched.setattr(dispatcher, "write", away)
        with pytest.raises(Unavailable):
            reactor.drain()
    reactor.drain()
    assert len(answers(call)) == 1


def test_a_rule_that_meets_a_part_which_is_not_there_holds_nothing_up_and_is_tried_until_it_is(
    dispatcher: Dispatcher, emit: Callable[..., None], call: Any, wall: FixedClock
) -> None:
    is_there: list[bool] = []

    def shaky(tx: Tx, event: Event) -> None:
        if not is_there:
            raise Unavailable("another session of the database holds what this call needs")
        answer(tx, event)

    reaction("test.stuck")(shaky)
    reaction("test.asked")(answer)
    emit("test.stuck")
    emit("test.asked")
    reactor = Reactor(dispatcher)
    reactor.drain()
    assert len(answers(call)) == 1
    for _ in range(20):
        wall.at_us += DAY_US
        reactor.drain()
    (alert,) = call("monitoring.alerts")
    assert "tried again and again" in alert.message
    is_there.append(True)
    wall.at_us += DAY_US
    reactor.drain()
    assert len(answers(call)) == 2
    assert [each.state for each in call("monitoring.incidents")] == ["resolved"]


def test_a_standby_goes_on_where_the_leader_was(
    dispatcher: Dispatcher, emit: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reactor_module, "_SAVE_EVERY", 10)
    reaction("test.asked")(answer)
    standby = Reactor(dispatcher)
    emit("test.asked", 30)
    leader = Reactor(dispatcher)
    assert leader.drain() >= 60
    assert standby.drain() <= 10, "only what came since the leader saved where it is"
    emit("test.asked", 1)
    assert leader.drain() >= 2
    leader._position = 0  # one that was paused for long does not move back what the other saved
    leader._saved = 0
    leader._save()
    assert Reactor(dispatcher).position >= 30


def test_a_failure_undoes_nothing_that_another_reactor_answered(
    dispatcher: Dispatcher, emit: Callable[..., None], call: Any, wall: FixedClock
) -> None:
    """Two leaders for a moment: one fails, and before it can say so the other answers."""
    tries: list[int] = []

    def shaky(tx: Tx, event: Event) -> None:
        tries.append(event.position)
        answer(tx, event)
        if len(tries) == 1:
            raise KeyError("a fault of ours")

    class Overtaken(Dispatcher):
        def write(self, *args: Any, **named: Any) -> Any:
            try:
                return super().write(*args, **named)
            except KeyError:
                Reactor(dispatcher).drain()
                raise

    reaction("test.asked")(shaky)
    emit("test.asked")
    reactor = Reactor(Overtaken(dispatcher.database, wall))
    reactor.drain()
    wall.at_us += DAY_US
    reactor.drain()
    assert len(answers(call)) == 1
    assert len(tries) == 2
