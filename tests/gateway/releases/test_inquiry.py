"""Asking the server for what nobody here knows holds few strangers, and none where it says nothing."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from loopwright.gateway.releases import inquiry as inquiries
from loopwright.gateway.releases.inquiry import MOST_NEIGHBOURS, MOST_STRANGERS, Inquiry
from loopwright.kernel.errors import Unavailable


class Keeper:
    """Asks a server that says nothing before it is let."""

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.asked = 0
        self.error: Exception | None = None

    def refresh(self) -> None:
        self.asked += 1
        self.may_answer.wait()
        if self.error is not None:
            raise self.error


@pytest.fixture
def keeper(monkeypatch: pytest.MonkeyPatch) -> Keeper:
    monkeypatch.setattr(inquiries, "_REASK_S", 0.0)
    return Keeper()


async def until(is_so: Callable[[], Any]) -> None:
    while not is_so():
        await asyncio.sleep(0.002)


def test_few_strangers_wait_at_an_address_and_in_all(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inquiries, "PROMPT_S", 1000.0)

    async def run() -> None:
        inquiry = Inquiry(keeper)  # type: ignore[arg-type]
        ask = inquiry.ask_for_stranger
        waiting = [asyncio.create_task(ask("10.0.0.1")) for _ in range(MOST_NEIGHBOURS)]
        await asyncio.sleep(0)
        assert [await ask("10.0.0.1") for _ in range(20)] == [False] * 20
        waiting += [asyncio.create_task(ask(f"10.0.1.{number}")) for number in range(MOST_STRANGERS - MOST_NEIGHBOURS)]
        await asyncio.sleep(0)
        assert await ask("10.0.2.1") is False
        keeper.may_answer.set()
        assert await asyncio.gather(*waiting) == [True] * MOST_STRANGERS
        assert await ask("10.0.0.1") is True
        assert keeper.asked <= 3

    asyncio.run(run())


def test_nobody_waits_for_a_server_that_said_nothing_before_it_was_prompt_again(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inquiries, "PROMPT_S", 0.05)

    async def run() -> None:
        inquiry = Inquiry(keeper)  # type: ignore[arg-type]
        assert await inquiry.ask_for_stranger("10.0.0.1") is False
        monkeypatch.setattr(inquiries, "PROMPT_S", 1000.0)
        assert [await inquiry.ask_for_stranger(f"10.0.0.{number}") for number in range(20)] == [False] * 20
        keeper.may_answer.set()
        await until(lambda: inquiry._is_prompt)
        assert await inquiry.ask_for_stranger("10.0.0.1") is True

    asyncio.run(run())


def test_a_server_that_cannot_be_asked_settles_it_by_what_was_known(keeper: Keeper) -> None:
    keeper.may_answer.set()
    keeper.error = Unavailable("nobody listens there")

    async def run() -> None:
        inquiry = Inquiry(keeper)  # type: ignore[arg-type]
        assert await inquiry.ask_for_stranger("10.0.0.1") is True
        with pytest.raises(Unavailable):
            await inquiry.ask()

    asyncio.run(run())
