"""Servers whose own clocks differ tell the same time."""

import pytest

from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, SYSTEM, Dispatcher
from loopwright.kernel.clock import SECOND_US, Clock, FixedClock, WallClock
from loopwright.store.engine import Database
from loopwright.store.shared_clock import MEASURED_EVERY_US, SharedClock, wall_of


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


def test_a_clock_that_is_wrong_is_set_right_and_never_goes_back(shared: Database) -> None:
    right = SharedClock(shared, WallClock())
    for by_s in (-90, 90):
        assert abs(SharedClock(shared, Off(by_s * SECOND_US)).now_us() - right.now_us()) < 5 * SECOND_US
    own = FixedClock(WallClock().now_us())
    clock = SharedClock(shared, own)
    before = clock.now_us()
    own.at_us -= 60 * SECOND_US
    assert clock.now_us() == before
    own.at_us += 60 * SECOND_US + MEASURED_EVERY_US  # jumps ahead, and is then measured again
    clock.measure()
    assert abs(clock._offset_us + own.at_us - WallClock().now_us()) < 5 * SECOND_US


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
