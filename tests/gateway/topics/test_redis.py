"""What only a Redis does: streams that are trimmed, and libraries that swallow that they are cancelled."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loopwright.data import SourceSpec
from loopwright.gateway.releases.known import Known
from loopwright.gateway.topics import redis as module
from loopwright.gateway.topics.base import Message, Reading, open_topic
from loopwright.gateway.topics.topics import Topics
from loopwright.kernel.errors import Unavailable
from tests.gateway.topics.conftest import read_all
from tests.redis_server import running_redis
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.slow
redis = pytest.importorskip("redis")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[str, Any]]:
    with running_redis(tmp_path) as url, redis.Redis.from_url(url) as client:
        yield url, client


def fill(client: Any, count: int, size: int = 0) -> None:
    """Add messages; what they say takes so many bytes more."""
    pipeline = client.pipeline(transaction=False)
    for number in range(count):
        pipeline.xadd("s", {"row": b'{"n": %d, "more": "%s"}' % (number, b"x" * size)})
    pipeline.execute()


async def read_until_empty(url: str) -> list[Message]:
    topic = open_topic(Reading(url, "s", "g", "one"))
    found: list[Message] = []
    while came := await topic.read(200, 0.05):
        found += came
        await topic.done()
    await topic.close()
    return found


def test_a_stream_is_made_by_who_writes_to_it_and_read_from_its_beginning(running: tuple[str, Any]) -> None:
    """A name that no stream has yet may be that of a key which others are about to make."""
    url, client = running

    async def play() -> list[Message]:
        topic = open_topic(Reading(url, "s", "g", "one"))
        assert await topic.read(200, 0.01) == []
        assert client.keys() == []
        fill(client, 3)
        found = await read_all(topic, 3)
        await topic.done()
        client.delete("s")
        with pytest.raises(Unavailable):
            await topic.read(200, 0.01)
        assert await topic.read(200, 0.01) == []
        await topic.close()
        return found

    assert len(asyncio.run(play())) == 3
    assert client.keys() == []


@pytest.mark.parametrize("left", [0, 10])
def test_what_was_trimmed_before_it_was_read_is_told(running: tuple[str, Any], left: int) -> None:
    url, client = running
    fill(client, 3)
    assert len(asyncio.run(read_until_empty(url))) == 3
    fill(client, 100)
    client.xtrim("s", maxlen=left, approximate=False)
    found = asyncio.run(read_until_empty(url))
    assert [each.body is None for each in found] == [True, *[False] * left]
    if left:
        assert all(each.body is not None for each in asyncio.run(read_until_empty(url)))


def test_what_was_trimmed_after_it_was_read_is_not_lost(running: tuple[str, Any]) -> None:
    url, client = running
    fill(client, 50)
    client.xtrim("s", maxlen=20, approximate=False)  # before anybody read: nobody missed it
    assert len(asyncio.run(read_until_empty(url))) == 20
    fill(client, 30)
    client.xtrim("s", maxlen=30, approximate=False)
    assert [each.body is None for each in asyncio.run(read_until_empty(url))] == [False] * 30
    client.xtrim("s", maxlen=0, approximate=False)
    assert asyncio.run(read_until_empty(url)) == []


def test_what_was_trimmed_after_a_reader_that_died_had_it_is_told(
    running: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, client = running

    async def play() -> list[bytes | None]:
        topic = open_topic(Reading(url, "s", "g", "dies"))
        await read_all(topic, 10)
        await topic.close()
        client.xtrim("s", maxlen=4, approximate=False)
        monkeypatch.setattr(module, "_LEFT_BEHIND_MS", 0)
        monkeypatch.setattr(module, "_LOOK_S", 0.0)  # not before: it would take over what it has itself
        topic = open_topic(Reading(url, "s", "g", "other"))
        found: list[Message] = []
        while client.xpending("s", "g")["pending"]:
            found += await topic.read(200, 0.05) or []
            await topic.done()
        await topic.close()
        return [each.body for each in found]

    fill(client, 10)
    bodies = asyncio.run(play())
    assert (bodies.count(None), len(bodies)) == (6, 10)


def test_a_reader_that_is_overtaken_tells_so(running: tuple[str, Any]) -> None:
    url, client = running

    async def play() -> None:
        topic = open_topic(Reading(url, "s", "g", "one"))
        await topic.read(200, 0.05)
        client.xtrim("s", maxlen=100, approximate=False)
        found = await read_all(topic, 101)
        assert [each.body for each in found].count(None) == 1
        await topic.close()

    fill(client, 300)
    asyncio.run(play())


def test_large_messages_are_read_one_by_one_and_small_ones_together(running: tuple[str, Any]) -> None:
    url, client = running

    async def play() -> list[int]:
        topic = open_topic(Reading(url, "s", "g", "one"))
        counts = []
        while came := await topic.read(200, 0.05):
            counts.append(len(came))
            await topic.done()
        await topic.close()
        return counts

    fill(client, 10, size=5_000_000)
    fill(client, 2_000)
    counts = asyncio.run(play())
    assert counts[:7] == [4, 1, 1, 1, 1, 1, 1]
    assert max(counts) == 200


def test_followers_of_a_busy_stream_end(running: tuple[str, Any]) -> None:
    url, client = running
    known = Known(topics={"p/d": SourceSpec("topic", "ev/s")})

    async def push(project: str, dataset: str, body: bytes) -> int:
        return 1

    async def write() -> None:
        while True:
            client.xadd("s", {"row": b"{}"}, maxlen=1_000)
            await asyncio.sleep(0.001)

    async def play() -> None:
        writing = asyncio.get_running_loop().create_task(write())
        for _ in range(8):
            topics = Topics({("p", "ev"): url}, lambda: known, push, "gw", lambda: 1)
            topics.start()
            await asyncio.sleep(0.1)
            await topics.close()
            assert all(task.done() for task in topics._ending.values())
        writing.cancel()

    asyncio.run(asyncio.wait_for(play(), PATIENCE_S))
