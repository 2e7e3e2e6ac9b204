"""Servers whose own clocks differ tell the same time."""

import logging
from typing import Any, cast

import pytest

from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, SYSTEM, Dispatcher
from loopwright.kernel.clock import HOUR_US, MINUTE_US, SECOND_US, Clock, FixedClock, WallClock
from loopwright.kernel.errors import Unavailable
from loopwright.store.engine import Database
from loopwright.store.shared_clock import MEASURED_EVERY_US, MOST_STILL_US, SharedClock, wall_of


@pytest.fixture
def shared(database: Database) -> Database:
    if database.is_sqlite:
        assert isinstance(wall_of(database), WallClock), "one server alone"
        pytest.skip("SQLite has one server")
    return database


class Off:
    """A clock that is wrong."""

    def __init__(self, by_us: int) -> None:
        self.by_us = by_us

    def now_us(self) -> int:
        return WallClock().now_us() + self.by_us


class Machine:
    """A server's machine and the clock of a database: what passes passes for both, but each can be set for itself."""

    def __init__(self, own_is_off_us: int = 0) -> None:
        self.there, self.own, self.steady = (FixedClock(at) for at in (50 * HOUR_US, 50 * HOUR_US, 3 * HOUR_US))
        self.own.at_us += own_is_off_us
        self.takes_us = 0
        self.is_away = False

    def read(self, _: Any) -> int:
        if self.is_away:
            raise Unavailable("the database is away")
        at = self.there.now_us()
        self.passes(self.takes_us)
        return at

    def passes(self, by_us: int) -> None:
        for clock in (self.there, self.own, self.steady):
            clock.at_us += by_us

    def clock(self) -> SharedClock:
        return SharedClock(cast(Database, self), self.own, self.steady)


def test_a_clock_that_is_wrong_is_set_right(shared: Database) -> None:
    right = SharedClock(shared, WallClock())
    for by_s in (-90, 90):
        assert abs(SharedClock(shared, Off(by_s * SECOND_US)).now_us() - right.now_us()) < 5 * SECOND_US


@pytest.mark.parametrize("by_us", [HOUR_US, -HOUR_US])
def test_whoever_sets_the_clock_of_a_machine_moves_nothing(by_us: int) -> None:
    """Of one that was resumed it is set a moment later: the server leapt by as much, and stood still as long."""
    machine = Machine(own_is_off_us=-by_us)
    clock = machine.clock()
    assert clock.now_us() == machine.there.at_us
    machine.own.at_us += by_us
    for _ in range(3):
        machine.passes(MEASURED_EVERY_US - 1)
        assert clock.now_us() == machine.there.at_us
        clock.measure()
        assert clock.now_us() == machine.there.at_us


def test_a_database_set_back_a_little_lets_it_stand_still_and_set_back_far_takes_it_along(
    caplog: pytest.LogCaptureFixture,
) -> None:
    machine = Machine()
    clock = machine.clock()

    def set_by(by_us: int) -> int:
        before = clock.now_us()
        machine.there.at_us += by_us
        machine.passes(MEASURED_EVERY_US)
        clock.measure()
        return clock.now_us() - before

    with caplog.at_level(logging.WARNING):
        assert set_by(-MOST_STILL_US) == 0
        machine.passes(MOST_STILL_US)
        assert clock.now_us() == machine.there.at_us
        assert not caplog.records
        assert set_by(-HOUR_US) == MEASURED_EVERY_US - HOUR_US
        assert set_by(HOUR_US) == MEASURED_EVERY_US + HOUR_US
    assert [record.getMessage() for record in caplog.records] == [
        f"the time of this server moves by {by} s, to that of the database" for by in ("-3600", "+3600")
    ]


def test_who_told_a_moment_of_before_meanwhile_lets_it_stand_still_no_longer() -> None:
    machine = Machine()
    clock = machine.clock()
    clock._told = clock.now_us() + HOUR_US  # a thread that asked before it was set back, and told after
    assert clock.now_us() == machine.there.at_us


def test_an_answer_that_was_long_in_coming_sets_it_as_little_as_it_allows() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.passes(MEASURED_EVERY_US)
    machine.takes_us = HOUR_US
    clock.measure()
    assert clock.now_us() == machine.there.at_us
    machine.there.at_us += 2 * HOUR_US
    machine.passes(MEASURED_EVERY_US)
    clock.measure()
    assert machine.there.at_us - clock.now_us() == HOUR_US


def test_until_the_database_answers_the_machine_s_clock_is_believed() -> None:
    machine = Machine(own_is_off_us=5 * MINUTE_US)
    machine.is_away = True
    clock = machine.clock()
    machine.passes(SECOND_US)
    assert clock.now_us() == machine.own.at_us
    machine.is_away = False
    clock.measure()
    assert clock.now_us() == machine.there.at_us


def test_a_job_is_not_taken_from_a_worker_whose_server_is_behind(shared: Database) -> None:
    behind: Clock = SharedClock(shared, Off(-20 * SECOND_US))
    first, second = Dispatcher(shared, behind), Dispatcher(shared, SharedClock(shared, WallClock()))
    first.call("projects.create", {"name": "flights"}, actor=LOCAL_ACTOR, project=SYSTEM)
    first.call("chunks.start_compaction", {}, actor=LOCAL_ACTOR, project="flights")
    wanted = {"kinds": ["chunks.compact"], "slots": {"upkeep": 1}}
    (taken,) = first.call("jobs.claim", {"worker": "a", **wanted}, actor=SERVICE_ACTOR, project=SYSTEM)
    assert second.call("jobs.claim", {"worker": "b", **wanted}, actor=SERVICE_ACTOR, project=SYSTEM) == []
    assert taken.attempt == 1


def test_a_database_that_does_not_answer_leaves_the_clock_as_it_was(
    shared: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SharedClock(shared, Off(-90 * SECOND_US))
    monkeypatch.setattr("loopwright.store.shared_clock.MEASURED_EVERY_US", 0)
    shared.close()
    clock.measure()
    assert abs(clock.now_us() - WallClock().now_us()) < 5 * SECOND_US
