"""Brokers of each kind, with what a test needs to write and to look: real ones, on this machine."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from loopwright.gateway.topics.base import Message, Reading, Topic, open_topic
from tests.nats_server import running_nats
from tests.redis_server import running_redis


@dataclass
class Broker:
    """A running broker: its address, how to write messages, and what lies in the topic of refused ones.

    ``longest`` is about the longest message that it takes, as it is set up by itself.
    """

    url: str
    write: Callable[[Sequence[bytes]], None]
    refused: Callable[[], list[bytes]]
    longest: int = 1 << 20

    def topic(self, reader: str = "one") -> Topic:
        return open_topic(Reading(self.url, "landings", "loopwright:flights:landings", reader))


async def read_all(topic: Topic, count: int) -> list[Message]:
    """Read until so many messages came."""
    found: list[Message] = []
    async with asyncio.timeout(120):
        while len(found) < count:
            found += await topic.read(100, 0.2) or []
    return found


@pytest.fixture(params=["redis", "nats", "kafka"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    yield from {"redis": _redis, "nats": _nats, "kafka": _kafka}[request.param](tmp_path)


def _redis(folder: Path) -> Iterator[Broker]:
    redis = pytest.importorskip("redis")
    with running_redis(folder) as url, redis.Redis.from_url(url) as client:

        def write(bodies: Sequence[bytes]) -> None:
            for body in bodies:
                client.xadd("landings", {"row": body})

        def refused() -> list[bytes]:
            return [fields[b"row"] for _, fields in client.xrange("landings.refused")]

        yield Broker(url, write, refused)


def _nats(folder: Path) -> Iterator[Broker]:
    nats = pytest.importorskip("nats")

    async def publish(url: str, bodies: Sequence[bytes]) -> None:
        client = await nats.connect(url)
        for body in bodies:
            await client.jetstream().publish("landings", body)
        await client.close()

    async def fetch(url: str) -> list[bytes]:
        client = await nats.connect(url)
        stream = client.jetstream()
        count = (await stream.stream_info("refused")).state.messages
        found = [(await stream.get_msg("refused", number + 1)).data for number in range(count)]
        await client.close()
        return found

    async def prepare(url: str) -> None:
        client = await nats.connect(url)
        await client.jetstream().add_stream(name="landings", subjects=["landings"])
        await client.jetstream().add_stream(name="refused", subjects=["landings.refused"])
        await client.close()

    with running_nats(folder) as url:
        asyncio.run(prepare(url))
        yield Broker(url, lambda bodies: asyncio.run(publish(url, bodies)), lambda: asyncio.run(fetch(url)))


def _kafka(folder: Path) -> Iterator[Broker]:
    """The broker that librdkafka brings for tests: it speaks the protocol, and keeps what it has in memory."""
    del folder
    kafka = pytest.importorskip("confluent_kafka")
    cluster: Any = kafka.Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1, "log_level": 0})
    brokers = cluster.list_topics(timeout=30).brokers
    hosts = ",".join(f"{each.host}:{each.port}" for each in brokers.values())
    writer = kafka.Producer({"bootstrap.servers": hosts, "log_level": 0})

    def write(bodies: Sequence[bytes]) -> None:
        for body in bodies:
            writer.produce("landings", body, partition=0)
        assert writer.flush(60) == 0

    def refused() -> list[bytes]:
        settings = {"bootstrap.servers": hosts, "group.id": "looking", "auto.offset.reset": "earliest", "log_level": 0}
        reader = kafka.Consumer(settings)
        reader.assign([kafka.TopicPartition("landings.refused", number, 0) for number in range(4)])
        found = [each.value() for each in reader.consume(100, 3) if each.error() is None]
        reader.close()
        return found

    yield Broker(f"kafka://{hosts}?session.timeout.ms=6000", write, refused, 999_900)
    del cluster
