"""A child that is tended: whoever waits for one that cannot be started is told."""

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loopwright.features import online
from loopwright.gateway.children.messages import Settle, Take
from loopwright.gateway.children.surroundings import Place
from loopwright.gateway.children.tended import Tended
from loopwright.gateway.taking.taker import Taker
from loopwright.kernel.errors import InvalidInput, LoopwrightError, Unavailable


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), Unavailable("there is no process to be had")])
def test_whoever_waits_is_told_why_a_child_cannot_be_started(error: Exception) -> None:
    async def hello() -> Any:
        raise error

    async def ask() -> None:
        duty: Any = SimpleNamespace(hello=hello, refusal=Unavailable)
        tended = Tended("the reader of rows", SimpleNamespace(), 3600.0, duty)  # type: ignore[arg-type]
        with pytest.raises(Unavailable, match=str(getattr(error, "strerror", None) or error)):
            await tended.put(Settle(tended.next_number()))
        assert tended.failure
        tended.close()

    asyncio.run(asyncio.wait_for(ask(), 60))


class SlowStores(online.OnlineStores, frozen=True):
    """One that does not answer for a while, and then says that it does not."""

    def address_for_code(self, project: str) -> str:
        time.sleep(1.0)
        raise Unavailable("the online store did not answer", details=online.OF_STORE)


def test_a_store_that_does_not_answer_keeps_nobody_else_waiting(tmp_path: Path) -> None:
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0.01)
            beats += 1

    async def ask() -> None:
        taker = Taker("p", Any, Place(tmp_path, SlowStores(tmp_path), None), Any)  # type: ignore[arg-type]
        beating = asyncio.create_task(beat())
        with pytest.raises(Unavailable, match="did not answer") as refused:
            await taker.take(Take(taker.tended.next_number(), "pushes", b"[]", bytes(16), 0, False), "d")
        beating.cancel()
        assert online.is_of_store(refused.value), "it is told as what is wrong with this store"
        taker.tended.close()

    asyncio.run(asyncio.wait_for(ask(), 60))
    assert beats > 5


def test_who_reads_no_features_waits_for_no_store(tmp_path: Path) -> None:
    place = Place(tmp_path, SlowStores(tmp_path), None)
    assert place.around("p", has_store=False).online_url == ""


@pytest.mark.parametrize(
    ("error", "is_of_store"),
    [
        (InvalidInput("nobody is asked for a password", field="LOOPWRIGHT_ONLINE"), True),
        (Unavailable("gone", details=online.OF_STORE), True),
        (Unavailable("there is no process to be had"), False),
    ],
)
def test_whom_to_blame_is_told_as_long_as_a_child_cannot_be_started(error: LoopwrightError, is_of_store: bool) -> None:
    async def hello() -> Any:
        raise error

    async def ask() -> None:
        duty: Any = SimpleNamespace(hello=hello, refusal=Unavailable)
        tended = Tended("the reader of rows", SimpleNamespace(), 3600.0, duty)  # type: ignore[arg-type]
        for _ in range(4):  # the last of them is refused at once
            with pytest.raises(Unavailable) as refused:
                await tended.put(Settle(tended.next_number()))
            assert online.is_of_store(refused.value) is is_of_store
        tended.close()

    asyncio.run(asyncio.wait_for(ask(), 60))
