"""A child as its gateway hears it: it runs what a user wrote, and may say anything."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from loopwright.gateway.children.child import MOST_MESSAGE_BYTES, Child
from loopwright.gateway.children.messages import HEAD, Settled, framed


async def listening() -> tuple[Any, list[Any], list[int]]:
    """Return a child that is listened to, what was heard of it, and what was killed."""
    heard: list[Any] = []
    killed: list[int] = []
    child = Child(SimpleNamespace(kill=killed.append), heard.append, lambda *_: None)  # type: ignore[arg-type]
    return child, heard, killed


@pytest.mark.parametrize("said", [HEAD.pack(MOST_MESSAGE_BYTES + 1), HEAD.pack(1) + b"\xc1", HEAD.pack(2) + b"[]"])
def test_what_makes_no_sense_or_would_fill_the_gateway_ends_the_child(said: bytes) -> None:
    """Nothing is kept of it, and nothing more is heard: the gateway answers for other projects too."""

    async def play() -> None:
        child, heard, killed = await listening()
        child.data_received(framed(Settled(1)) + said)
        child.data_received(framed(Settled(2)))
        assert heard == [Settled(1)]
        assert killed == [0]

    asyncio.run(play())
