"""What only a Kafka does: errors among messages, brokers that are away without a word, and a library that logs."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest

from loopwright.data import SourceSpec
from loopwright.gateway.topics import follower as module
from loopwright.gateway.topics.base import Reading, open_topic
from loopwright.gateway.topics.follower import Follower
from loopwright.kernel.errors import InvalidInput, Unavailable
from tests.servers import free_port
from tests.waiting import PATIENCE_S

kafka = pytest.importorskip("confluent_kafka")


def message(offset: int, error: object = None, at_ms: int = 1_000) -> SimpleNamespace:
    body = b'{"n": %d}' % offset
    given = {"error": error, "timestamp": (1, at_ms), "partition": 0, "offset": offset, "value": body}
    return SimpleNamespace(**{name: lambda value=value: value for name, value in given.items()})


class Consumer:
    """A consumer on paper."""

    def __init__(self, *batches: list[SimpleNamespace]) -> None:
        self.batches = list(batches)
        self.committed: list[tuple[str, int, int]] = []

    def resume(self, partitions: object) -> None:
        """Nothing was paused."""

    def assignment(self) -> list[object]:
        return []

    def consume(self, most: int, wait_s: float) -> list[SimpleNamespace]:
        return self.batches.pop(0) if self.batches else []

    def commit(self, offsets: list[Any], asynchronous: bool) -> list[Any]:
        self.committed += [(each.topic, each.partition, each.offset) for each in offsets]
        return offsets

    def close(self) -> None:
        """There is nothing to leave."""


def test_an_error_among_messages_drops_none_of_them() -> None:
    error = kafka.KafkaError(kafka.KafkaError.TOPIC_AUTHORIZATION_FAILED)
    consumer = Consumer([message(0), message(1), message(-1, error), message(2), message(3)], [], [message(4)])

    async def play() -> None:
        topic: Any = open_topic(Reading("kafka://x", "t", "g", "r"))
        topic._consumer = consumer
        assert [each.place for each in await topic.read(200, 1)] == ["0/0", "0/1", "0/2", "0/3"]
        await topic.done()
        await topic.done()
        assert consumer.committed == [("t", 0, 4)]
        with pytest.raises(Unavailable, match="does not answer"):
            await topic.read(200, 1)
        await topic.read(200, 1)
        await topic.done()
        assert consumer.committed[1:] == [("t", 0, 5)]
        await topic.close()

    asyncio.run(play())


def test_what_came_later_within_a_millisecond_is_known_later() -> None:
    burst = [message(offset) for offset in range(1_990, 2_010)]

    async def play() -> list[int | None]:
        topic: Any = open_topic(Reading("kafka://x", "t", "g", "r"))
        topic._consumer = Consumer(burst[:12], [*burst[12:], message(2_010, at_ms=1_001), message(2_011, at_ms=900)])
        found = [each.at_us for _ in range(2) for each in await topic.read(200, 1)]
        await topic.close()
        return found

    *moments, earlier = asyncio.run(play())
    assert moments == sorted(set(moments))
    assert earlier == 900_011


def test_nothing_is_no_answer_until_a_partition_said_so() -> None:
    end = kafka.KafkaError(kafka.KafkaError._PARTITION_EOF)

    async def play() -> None:
        topic: Any = open_topic(Reading("kafka://x", "t", "g", "r"))
        topic._consumer = Consumer([], [message(0, end)], [])
        assert [await topic.read(200, 1) for _ in range(3)] == [None, [], []]
        topic._answered = False
        topic._assigned(None, [])
        assert await topic.read(200, 1) == []
        await topic.close()

    asyncio.run(play())


@pytest.mark.parametrize("name", ["^((((x{1,255}){1,255}){1,255}){1,255})", "^landings", "a/b"])
def test_a_name_is_no_pattern(name: str) -> None:
    with pytest.raises(InvalidInput, match="no topic of a Kafka"):
        open_topic(Reading("kafka://x", name, "g", "r"))


@pytest.mark.slow
def test_brokers_that_are_away_are_told_and_little_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "TOLD_AFTER_S", 1.0)
    url = f"kafka://user:sesame@127.0.0.1:{free_port()}"

    async def push(project: str, dataset: str, body: bytes) -> int:
        return 0

    def opened() -> Any:
        return open_topic(Reading(url, "landings", "g", "r"))

    async def play() -> list[str]:
        follower = Follower(("p", "d"), SourceSpec("topic", "k/landings"), opened, push, lambda: 1)
        task = asyncio.get_running_loop().create_task(follower.run())
        while not (told := [sign.message for sign in follower.signs()]) or "_ALL_BROKERS_DOWN" not in told[0]:
            await asyncio.sleep(0.05)
        await asyncio.sleep(3)
        assert list(follower.signs())
        follower.stop()
        task.cancel()
        await asyncio.wait([task])
        return told

    with caplog.at_level(logging.DEBUG):
        told = asyncio.run(asyncio.wait_for(play(), PATIENCE_S))
    assert "sesame" not in told[0]
    assert len([each for each in caplog.records if each.name == "loopwright.kafka"]) < 5
