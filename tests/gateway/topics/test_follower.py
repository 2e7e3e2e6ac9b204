"""Following a topic: every message becomes a row, is refused, or comes again; whatever fails meanwhile."""

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from loopwright.data import SourceSpec
from loopwright.gateway.topics import follower as module
from loopwright.gateway.topics.base import Message
from loopwright.gateway.topics.follower import Follower
from loopwright.kernel.errors import Conflict, InvalidInput, LoopwrightError, NotFound, TooBusy, Unavailable
from tests.waiting import PATIENCE_S

SOURCE = SourceSpec("topic", "events/landings", arrived="arrived_at")


class Paper:
    """A topic on paper: what is not done comes again as soon as it is opened anew."""

    def __init__(self, *bodies: bytes | None, fails: int = 0) -> None:
        self.messages = [Message(str(place), body, 1_000 + place) for place, body in enumerate(bodies)]
        self.fails, self.opened, self.kept = fails, 0, 0
        self.refused: list[tuple[str, str]] = []
        self.is_done = 0
        self._read = 0

    def open(self) -> "Paper":
        self.opened, self._read = self.opened + 1, self.is_done
        return self

    async def read(self, most: int, wait_s: float) -> Sequence[Message]:
        if self.fails:
            self.fails -= 1
            raise Unavailable("the broker does not answer")
        found = self.messages[self._read : self._read + most]
        self._read += len(found)
        if not found:
            await asyncio.sleep(0.01)
        return found

    async def keep(self) -> None:
        self.kept += 1

    async def done(self) -> None:
        self.is_done = self._read

    async def refuse(self, message: Message, why: str) -> None:
        self.refused.append((message.place, why))

    async def close(self) -> None:
        """There is nothing to let go of."""


class Taking:
    """A dataset of whole numbers ``n``; what stands in ``fails`` is raised by the next pushes."""

    def __init__(self, *fails: LoopwrightError) -> None:
        self.rows: list[dict[str, Any]] = []
        self.fails = list(fails)

    async def push(self, project: str, dataset: str, body: bytes) -> int:
        assert (project, dataset) == ("flights", "landings")
        if self.fails:
            raise self.fails.pop(0)
        rows = json.loads(body)["rows"]
        for index, row in enumerate(rows):
            if not isinstance(row.get("n"), int):
                raise InvalidInput("this is no number", field=f"rows[{index}].n", value=row.get("n"), rule="Int64")
        self.rows += rows
        return len(rows)

    @property
    def numbers(self) -> list[int]:
        return [row["n"] for row in self.rows]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(module, "_LONGEST_PAUSE_S", 0.01)


def follow(topic: Paper, taking: Taking, until: Callable[[], bool], source: SourceSpec = SOURCE) -> Follower:
    """Follow a topic until something is so."""
    follower = Follower(("flights", "landings"), source, topic.open, taking.push, lambda: 77)

    async def play() -> None:
        task = asyncio.get_running_loop().create_task(follower.run())
        async with asyncio.timeout(PATIENCE_S):
            while not until():
                await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(play())
    return follower


def test_rows_are_pushed_in_order_and_say_when_they_arrived() -> None:
    topic, taking = Paper(b'{"n": 1}', b'{"n": 2, "arrived_at": 5}', b'{"n": 3}'), Taking()
    follower = follow(topic, taking, lambda: topic.is_done == 3)
    assert taking.rows == [{"n": number, "arrived_at": 999 + number} for number in (1, 2, 3)]
    assert (follower.rows, list(follower.signs())) == (3, [])


def test_what_is_no_row_is_refused_and_the_others_are_taken() -> None:
    bodies = [b'{"n": %d}' % number for number in range(40)]
    bodies[3], bodies[17], bodies[18], bodies[39] = b"[1]", b'{"n": "x"}', b"\xff\xfe", b'{"n": null}'
    bodies[4] = b'{"n": 4, "more": "%s"}' % (b"x" * 300_000)
    topic, taking = Paper(*bodies), Taking()
    follower = follow(topic, taking, lambda: topic.is_done == 40)
    assert taking.numbers == [number for number in range(40) if number not in (3, 4, 17, 18, 39)]
    assert sorted(int(place) for place, _ in topic.refused) == [3, 4, 17, 18, 39]
    sign = next(iter(follower.signs()))
    assert "has messages that are no rows, such as 3: this is no JSON object" in sign.message
    assert "landings.refused" in sign.next_step


def test_what_cannot_be_taken_now_waits() -> None:
    topic = Paper(b'{"n": 1}', b'{"n": 2}')
    taking = Taking(Unavailable("the log takes nothing"), TooBusy("too much"), Conflict("the project is closed"))
    follow(topic, taking, lambda: topic.is_done == 2)
    assert (taking.numbers, topic.refused, topic.kept) == ([1, 2], [], 3)


def test_what_fails_for_long_is_told_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOLD_AFTER_S", 0.0)
    topic, taking = Paper(b'{"n": 1}', fails=10**9), Taking()
    follower = follow(topic, taking, lambda: topic.opened > 3)
    sign = next(iter(follower.signs()))
    assert sign.message == ("topic events/landings of flights/landings cannot be read: the broker does not answer")
    topic.fails = 2
    follower = follow(topic, taking, lambda: topic.is_done == 1)
    assert (taking.numbers, list(follower.signs())) == ([1], [])


@pytest.mark.parametrize("depth", [500, 940, 970, 985, 1_000, 5_000])
def test_what_is_nested_deep_stops_nobody(depth: int) -> None:
    deep = b'{"n": 1, "more": ' + b"[" * depth + b"]" * depth + b"}"
    topic, taking = Paper(b'{"n": 0}', deep, b'{"n": 2}'), Taking()
    follow(topic, taking, lambda: topic.is_done == 3)
    assert [number for number in taking.numbers if number != 1] == [0, 2]
    assert len(taking.rows) + len(topic.refused) == 3


def test_whatever_fails_at_one_message_refuses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(body: bytes) -> dict[str, Any]:
        if body == b"odd":
            raise OverflowError
        return json.loads(body)  # type: ignore[no-any-return]

    monkeypatch.setattr(module, "_read_row", SimpleNamespace(decode=read))
    topic, taking = Paper(b"odd", b'{"n": 2}'), Taking()
    follow(topic, taking, lambda: topic.is_done == 2)
    assert (taking.numbers, topic.refused) == ([2], [("0", "this is no JSON object: OverflowError")])


def test_what_fails_behind_a_good_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOLD_AFTER_S", 0.0)

    async def refuse(message: Message, why: str) -> None:
        raise Unavailable("landings.refused takes no message")

    topic, taking = Paper(b"[1]", b'{"n": 2}'), Taking()
    monkeypatch.setattr(topic, "refuse", refuse)
    told: list[str] = []
    follower = Follower(("flights", "landings"), SOURCE, topic.open, taking.push, lambda: 77)

    async def play() -> None:
        task = asyncio.get_running_loop().create_task(follower.run())
        while topic.opened < 5:
            await asyncio.sleep(0.001)
            since = follower._fails_since
            told.append(str(since))
        task.cancel()

    asyncio.run(asyncio.wait_for(play(), PATIENCE_S))
    assert len(set(told) - {"None"}) == 1
    assert "landings.refused takes no message" in next(iter(follower.signs())).message


def test_a_broker_that_has_not_answered_is_no_good_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TOLD_AFTER_S", 0.0)
    topic, taking = Paper(), Taking()
    reads = 0

    async def read(most: int, wait_s: float) -> None:
        nonlocal reads
        reads += 1
        await asyncio.sleep(0)

    monkeypatch.setattr(topic, "read", read)
    follower = follow(topic, taking, lambda: reads > 3)
    assert "cannot be read: the broker has not said yet" in next(iter(follower.signs())).message


def test_who_swallows_that_it_is_cancelled_stops_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    topic, taking = Paper(), Taking()

    async def read(most: int, wait_s: float) -> list[Message]:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0.01)
        return []

    monkeypatch.setattr(topic, "read", read)
    follower = Follower(("flights", "landings"), SOURCE, topic.open, taking.push, lambda: 77)

    async def play() -> None:
        task = asyncio.get_running_loop().create_task(follower.run())
        await asyncio.sleep(0.005)
        follower.stop()
        task.cancel()
        await asyncio.wait([task], timeout=PATIENCE_S)
        assert task.cancelled()

    asyncio.run(play())


def test_messages_that_were_lost_are_told() -> None:
    topic, taking = Paper(None, b'{"n": 2}'), Taking()
    follower = follow(topic, taking, lambda: topic.is_done == 2)
    assert taking.numbers == [2]
    assert "lost messages" in next(iter(follower.signs())).message


def test_nobody_follows_for_a_dataset_that_is_gone() -> None:
    topic, taking = Paper(b'{"n": 1}'), Taking(NotFound("no such dataset"))
    follower = Follower(("flights", "landings"), SOURCE, topic.open, taking.push, lambda: 77)
    asyncio.run(asyncio.wait_for(follower.run(), PATIENCE_S))
    assert (taking.rows, topic.is_done) == ([], 0)


def test_a_message_without_a_moment_arrives_now() -> None:
    topic, taking = Paper(b'{"n": 1}'), Taking()
    topic.messages[0] = topic.messages[0]._replace(at_us=None)
    follow(topic, taking, lambda: topic.is_done == 1)
    assert taking.rows == [{"n": 1, "arrived_at": 77}]
