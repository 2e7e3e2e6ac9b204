"""Topics of every broker: in order, again until they are done, and a place for what is refused."""

import asyncio

import pytest

from loopwright.data import SourceSpec
from loopwright.gateway.topics import nats, redis
from loopwright.gateway.topics.base import Message, Reading, open_topic
from loopwright.gateway.topics.follower import MOST_BYTES, Follower
from loopwright.kernel.errors import InvalidInput, Unavailable
from tests.gateway.topics.conftest import Broker, read_all
from tests.servers import free_port
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.slow


def test_what_is_not_done_comes_again_after_a_restart(broker: Broker) -> None:
    broker.write([b'{"n": %d}' % number for number in range(5)])

    async def play() -> None:
        topic = broker.topic()
        first = await topic.read(3, 10) or []
        while len(first) < 3:
            first = [*first, *(await topic.read(3 - len(first), 10) or [])]
        await topic.done()
        second = await read_all(topic, 2)
        await topic.keep()
        await topic.close()
        assert [each.body for each in [*first, *second]] == [b'{"n": %d}' % number for number in range(5)]

    async def begin_again() -> list[Message]:
        topic = broker.topic()
        found = await read_all(topic, 2)
        await topic.done()
        await topic.close()
        return found

    asyncio.run(play())
    again = asyncio.run(begin_again())
    assert [each.body for each in again] == [b'{"n": 3}', b'{"n": 4}']
    assert all(each.at_us is not None and each.at_us > 1_500_000_000_000_000 for each in again)
    broker.write([b'{"n": 5}'])
    assert [each.body for each in asyncio.run(begin_again_with(broker, 1))] == [b'{"n": 5}']


async def begin_again_with(broker: Broker, count: int) -> list[Message]:
    topic = broker.topic()
    found = await read_all(topic, count)
    await topic.done()
    await topic.close()
    return found


def test_nothing_comes_where_nothing_is(broker: Broker) -> None:
    async def play() -> None:
        topic = broker.topic()
        await read_all(topic, 1)
        await topic.done()
        assert not await topic.read(10, 0.2)
        await topic.done()
        await topic.keep()
        await topic.close()

    broker.write([b"{}"])
    asyncio.run(play())


def test_what_is_refused_lies_in_a_topic_of_its_own(broker: Broker) -> None:
    async def play() -> None:
        topic = broker.topic()
        message = (await read_all(topic, 1))[0]
        await topic.refuse(message, "no row:\nit is a list")
        await topic.done()
        await topic.close()

    broker.write([b"[1]"])
    asyncio.run(play())
    assert broker.refused() == [b"[1]"]


def test_a_message_as_long_as_a_broker_takes_stops_nobody(broker: Broker) -> None:
    """It does not take it back with a word beside it."""
    rows: list[bytes] = []

    async def push(_project: str, _dataset: str, body: bytes) -> int:
        rows.append(body)
        return 1

    async def play() -> None:
        follower = Follower(("flights", "landings"), SourceSpec("topic", "events/landings"), broker.topic, push, int)
        task = asyncio.get_running_loop().create_task(follower.run())
        async with asyncio.timeout(PATIENCE_S):
            while not rows:
                await asyncio.sleep(0.01)
        follower.stop()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    broker.write([b"x" * broker.longest, b'{"n": 1}'])
    asyncio.run(play())
    assert (rows, [len(body) for body in broker.refused()]) == ([b'{"rows":[{"n":1}]}'], [MOST_BYTES])


@pytest.mark.parametrize("scheme", ["redis", "nats"])
def test_a_broker_that_is_away_is_told_without_what_opens_it(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nats, "_CONNECT_S", 0.2)
    url = f"{scheme}://user:sesame@127.0.0.1:{free_port()}"

    async def play() -> None:
        topic = open_topic(Reading(url, "landings", "group", "reader"))
        try:
            with pytest.raises(Unavailable) as told:
                await topic.read(1, 0.1)
        finally:
            await topic.close()
        assert "sesame" not in str(told.value)

    asyncio.run(play())


@pytest.mark.parametrize("scheme", ["redis", "nats"])
def test_who_listens_and_is_no_broker_is_let_go_of(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nats, "_CONNECT_S", 0.2)
    monkeypatch.setattr(redis, "_ANSWER_S", 0.2)
    ended = []

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass
        ended.append(True)
        writer.close()

    async def play() -> None:
        async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            topic = open_topic(Reading(f"{scheme}://127.0.0.1:{port}", "landings", "group", "reader"))
            with pytest.raises(Unavailable):
                await topic.read(1, 0.1)
            await topic.close()
            async with asyncio.timeout(PATIENCE_S):
                while not ended:
                    await asyncio.sleep(0.01)

    asyncio.run(play())


def test_an_address_that_nobody_knows() -> None:
    with pytest.raises(InvalidInput, match="no such broker") as told:
        open_topic(Reading("carrier-pigeon://x", "t", "g", "r"))
    assert "redis://" in str(told.value.rule)
