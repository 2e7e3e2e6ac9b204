"""When a process that keeps dying is started again, and what is said of it."""

from loopwright.server.restarts import FIRST_PAUSE_S, LONGEST_PAUSE_S, SETTLED_S, Restarts


class Watch:
    """A clock that goes on when it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_whoever_keeps_dying_waits_ever_longer_and_each_death_is_told_once() -> None:
    watch, told, pauses = Watch(), list[str](), list[float]()
    restarts = Restarts(told.append, watch)
    for _ in range(8):
        restarts.began("worker")
        died_at = watch.now
        while not restarts.is_due("worker", lambda: "ended with status 2; its last words: no lane is named so"):
            watch.now += 0.25
        pauses.append(watch.now - died_at)
    assert pauses[0] == FIRST_PAUSE_S
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_S
    assert len(told) == 8
    assert "the worker ended with status 2; its last words: no lane is named so" in told[0]
    assert "loopwright logs worker" in told[0]
    assert list(restarts.dying()) == ["worker"]
    assert "no lane is named so" in restarts.dying()["worker"]


def test_whoever_keeps_dying_for_a_day_is_started_again_still() -> None:
    """The one that watches must not end of a number that has grown too large: server and gateway would end with it."""
    watch = Watch()
    restarts = Restarts(lambda _: None, watch)
    for _ in range(24 * 3600 // int(LONGEST_PAUSE_S)):
        restarts.began("worker")
        assert not restarts.is_due("worker", lambda: "ended with status 2")
        watch.now += LONGEST_PAUSE_S
        assert restarts.is_due("worker", lambda: "")


def test_whoever_has_run_for_a_while_is_not_said_to_keep_dying() -> None:
    watch = Watch()
    restarts = Restarts(lambda _: None, watch)
    for _ in range(3):
        restarts.began("gateway")
        assert not restarts.is_due("gateway", lambda: "ended by SIGKILL")
    restarts.began("gateway")
    assert not restarts.settle(["gateway"])
    watch.now += SETTLED_S
    assert restarts.settle(["gateway"])
    assert not restarts.dying()
    assert not restarts.is_due("gateway", lambda: "ended by SIGKILL")
    watch.now += FIRST_PAUSE_S
    assert restarts.is_due("gateway", lambda: "not asked again")


def test_what_cannot_be_started_is_tried_again_later() -> None:
    watch, told = Watch(), list[str]()
    restarts = Restarts(told.append, watch)
    restarts.began("server")
    assert not restarts.is_due("server", lambda: "ended by SIGKILL")
    watch.now += FIRST_PAUSE_S
    assert restarts.is_due("server", lambda: "")
    restarts.failed("server", "No space left on device")
    assert not restarts.is_due("server", lambda: "")
    assert "No space left" in told[-1]
    watch.now += LONGEST_PAUSE_S
    assert restarts.is_due("server", lambda: "")
