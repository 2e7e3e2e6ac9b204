"""What only a NATS does: durable consumers that keep the subject that they were made for."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from loopwright.gateway.topics.base import Reading, open_topic
from loopwright.kernel.errors import InvalidInput
from tests.nats_server import running_nats

pytestmark = pytest.mark.slow
nats = pytest.importorskip("nats")
GROUP = "loopwright:p:orders"


async def read(url: str, topic: str, group: str) -> list[bytes | None]:
    reader = open_topic(Reading(url, topic, group, "gw"))
    try:
        found = [each.body for _ in range(3) for each in await reader.read(100, 0.2) or []]
        await reader.done()
    finally:
        await reader.close()
    return found


async def prepare(url: str) -> tuple[Any, Any]:
    client = await nats.connect(url)
    stream = client.jetstream()
    await stream.add_stream(name="all", subjects=["events.>"])
    await stream.publish("events.a", b'{"a": 1}')
    await stream.publish("events.b", b'{"b": 1}')
    return client, stream


def test_a_changed_declaration_reads_the_subject_that_it_names(tmp_path: Path) -> None:
    async def play(url: str) -> None:
        client, _ = await prepare(url)
        assert await read(url, "events.a", GROUP) == [b'{"a": 1}']
        assert await read(url, "events.b", GROUP) == [b'{"b": 1}']
        await client.close()

    with running_nats(tmp_path) as url:
        asyncio.run(play(url))


def test_names_that_look_alike_are_readers_of_their_own(tmp_path: Path) -> None:
    async def play(url: str) -> None:
        client, _ = await prepare(url)
        for group in ("loopwright:p_x:y", "loopwright:p:x_y", "loopwright:p:x.y", "loopwright:p.x:y"):
            assert await read(url, "events.a", group) == [b'{"a": 1}']
        await client.close()

    with running_nats(tmp_path) as url:
        asyncio.run(play(url))


def test_a_consumer_of_another_subject_is_refused(tmp_path: Path) -> None:
    async def play(url: str) -> None:
        client, stream = await prepare(url)
        named = f"loopwright-{Reading(url, 'events.a', GROUP, 'gw').digest}"
        await stream.pull_subscribe("events.b", durable=named)
        with pytest.raises(InvalidInput, match="another subject"):
            await read(url, "events.a", GROUP)
        await client.close()

    with running_nats(tmp_path) as url:
        asyncio.run(play(url))
