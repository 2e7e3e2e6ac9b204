"""Which topics a gateway follows: those that datasets are declared with and the operator named a broker for."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pytest

from loopwright.data import SourceSpec
from loopwright.gateway.releases.known import Known
from loopwright.gateway.topics import topics as module
from loopwright.gateway.topics.base import Message
from loopwright.gateway.topics.topics import Topics
from tests.gateway.topics.test_follower import Paper, Taking
from tests.waiting import PATIENCE_S

LANDINGS = {"flights/landings": SourceSpec("topic", "events/landings")}


class Following:
    """A gateway's topics and what the server says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **brokers: str) -> None:
        self.known, self.paper, self.taking = Known(topics=dict(LANDINGS)), Paper(b'{"n": 1}'), Taking()
        self.read: list[str] = []
        monkeypatch.setattr(module, "open_topic", self._open)
        monkeypatch.setattr(module, "LOOK_AGAIN_S", 0.005)
        named = {(project, "events"): url for project, url in brokers.items()}
        self.topics = Topics(named, lambda: self.known, self.taking.push, "gw", lambda: 77)

    def _open(self, reading: object) -> Paper:
        self.read.append(str(reading))
        return self.paper.open()

    def until(self, *steps: Callable[[], object]) -> None:
        """Follow while each step in turn becomes true."""

        async def play() -> None:
            self.topics.start()
            async with asyncio.timeout(PATIENCE_S):
                for step in steps:
                    while not step():
                        await asyncio.sleep(0.001)
            await self.topics.close()

        asyncio.run(play())


def test_a_declared_topic_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    following = Following(monkeypatch, flights="redis://one")
    following.until(lambda: following.paper.is_done == 1)
    assert following.taking.numbers == [1]
    assert "url='redis://one', topic='landings', group='loopwright:flights:landings'" in following.read[0]


def test_a_broker_of_another_project_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    following = Following(monkeypatch, other="redis://one")
    following.until(lambda: list(following.topics.signs()))
    sign = next(iter(following.topics.signs()))
    assert (following.read, sign.project) == ([], "flights")
    assert "broker events, which this gateway does not know" in sign.message
    assert "LOOPWRIGHT_SOURCES=flights/events=" in sign.next_step


def test_one_may_be_for_every_project(monkeypatch: pytest.MonkeyPatch) -> None:
    following = Following(monkeypatch, **{"*": "redis://one"})
    following.until(lambda: following.paper.is_done == 1)
    assert following.taking.numbers == [1]


def test_what_is_declared_no_more_is_followed_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    following = Following(monkeypatch, flights="redis://one")

    def drop() -> bool:
        following.known = Known()
        following.paper.messages.append(following.paper.messages[0])
        return True

    followers = following.topics._followers
    following.until(lambda: following.paper.is_done == 1, drop, lambda: not followers)
    assert following.taking.numbers == [1]


def test_a_closed_project_is_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    following = Following(monkeypatch, flights="redis://one")
    following.known = Known(topics=dict(LANDINGS), closed=["flights"])

    async def play() -> None:
        following.topics.start()
        await asyncio.sleep(0.05)
        await following.topics.close()

    asyncio.run(play())
    assert following.read == []


def test_another_topic_takes_the_place_of_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    following = Following(monkeypatch, flights="redis://one")

    def move() -> bool:
        following.known = Known(topics={"flights/landings": SourceSpec("topic", "events/arrivals")})
        return True

    following.until(lambda: following.paper.is_done == 1, move, lambda: len(following.read) == 2)
    assert "topic='arrivals'" in following.read[1]


def test_a_follower_that_does_not_end_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN_S", 0.01)
    following = Following(monkeypatch, **{"*": "redis://one"})
    stuck, held, more = Paper(), asyncio.Event(), {"other/landings": SourceSpec("topic", "events/landings")}

    async def read(most: int, wait_s: float) -> list[Message]:
        while not held.is_set():
            with suppress(asyncio.CancelledError):
                await held.wait()
        return []

    monkeypatch.setattr(stuck, "read", read)
    first, following.paper = following.paper, stuck

    def move() -> bool:
        following.paper = first
        following.known = Known(topics={"flights/landings": SourceSpec("topic", "events/arrivals"), **more})
        return True

    def has_read(name: str) -> bool:
        return any(name in each for each in following.read)

    def free() -> bool:
        assert not has_read("arrivals")
        held.set()
        return True

    following.until(lambda: following.read, move, lambda: has_read("other"), free, lambda: has_read("arrivals"))
