"""What fails in a server's loops is told until it works again, by whichever server, also after a restart."""

from collections.abc import Callable
from typing import Any

import pytest

from loopwright.governance import LOCAL_ACTOR, SYSTEM, Dispatcher
from loopwright.kernel.clock import HOUR_US, MINUTE_US, FixedClock
from loopwright.kernel.errors import Unavailable
from loopwright.server.loops import Loops

Call = Callable[..., Any]


@pytest.fixture(autouse=True)
def _sealed(dispatcher: Dispatcher) -> None:
    """Nothing of what the database's own set-up told waits for its sealer, which is another thread's work."""
    dispatcher.database.seal()


GARBAGE = "collecting garbage"


def fail(loops: Loops, what: str = GARBAGE, *, why: Exception | None = None, **place: Any) -> None:
    error = why or Unavailable("the bucket does not answer")
    with pytest.raises(type(error)), loops.told(what, **place):
        raise error


def work(loops: Loops, what: str = GARBAGE, **place: Any) -> None:
    with loops.told(what, **place):
        pass


def told(call: Call) -> list[tuple[str, str, int]]:
    needs = [need for need in call("loop.attention").needs if need.kind == "background"]
    return [(need.sentence, need.severity, need.recorded_at) for need in needs]


def test_a_failure_is_told_since_it_began_until_the_loop_works(
    dispatcher: Dispatcher, call: Call, wall: FixedClock
) -> None:
    loops, began_at = Loops(dispatcher.database, wall), wall.at_us
    work(loops)
    assert told(call) == []
    fail(loops)
    expected = ("collecting garbage fails: the bucket does not answer", "warning", began_at)
    assert told(call) == [expected]
    assert [line for line in call("loop.status").needs_attention if "collecting garbage" in line]
    wall.at_us += 6 * HOUR_US
    assert told(call) == [expected], "it is tried seldom, so the last word counts"
    fail(Loops(dispatcher.database, wall))  # after a restart
    work(loops, "merging and counting chunks")
    assert [sentence for sentence, _, _ in told(call)] == [expected[0]]
    work(loops)
    assert told(call) == []


def test_another_server_that_does_it_well_takes_it_back(dispatcher: Dispatcher, call: Call, wall: FixedClock) -> None:
    first, second = (Loops(dispatcher.database, wall) for _ in range(2))
    work(second)
    fail(first, "answering events")
    assert [severity for _, severity, _ in told(call)] == ["critical"]
    wall.at_us += MINUTE_US
    work(second, "answering events")
    assert told(call) == []


def test_what_each_server_does_for_itself_is_told_as_long_as_it_lives(
    dispatcher: Dispatcher, call: Call, wall: FixedClock
) -> None:
    loops = Loops(dispatcher.database, wall)
    for _ in range(10):
        fail(loops, "signing the event log", is_own=True)
        wall.at_us += MINUTE_US
    assert len(told(call)) == 1
    wall.at_us += 5 * MINUTE_US
    assert told(call) == []


def test_a_project_hears_of_its_own_failures_alone(dispatcher: Dispatcher, call: Call, wall: FixedClock) -> None:
    dispatcher.call("projects.create", {"name": "other"}, actor=LOCAL_ACTOR, project=SYSTEM)
    loops = Loops(dispatcher.database, wall)
    fail(loops, "removing old rows", project="other")
    assert told(call) == []
    [need] = dispatcher.call("loop.attention", {}, actor=LOCAL_ACTOR, project="other").needs
    assert need.sentence == "removing old rows fails: the bucket does not answer"
    work(loops, "removing old rows", project="flights")
    assert dispatcher.call("loop.attention", {}, actor=LOCAL_ACTOR, project="other").total == 1


def test_what_nobody_wrote_for_a_reader_is_not_shown(dispatcher: Dispatcher, call: Call, wall: FixedClock) -> None:
    fail(Loops(dispatcher.database, wall), why=KeyError("a row of somebody"))
    assert told(call)[0][0] == "collecting garbage fails: KeyError, see the log"


def test_a_database_that_takes_nothing_is_asked_to_take_no_word(
    dispatcher: Dispatcher, wall: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readiness tells of that, and a try would wait for what is away."""
    monkeypatch.setattr(dispatcher.database, "failure", "the database did not answer")
    asked: list[object] = []
    monkeypatch.setattr(dispatcher.database, "write", asked.append)
    fail(Loops(dispatcher.database, wall))
    assert asked == []
    monkeypatch.setattr(dispatcher.database, "failure", None)
    fail(Loops(dispatcher.database, wall))
    assert len(asked) == 1
