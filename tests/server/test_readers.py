"""Who answers queries: brief ones the loop itself, long ones a thread, and nobody waits behind a long one."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from loopwright.kernel.errors import NotFound, Unavailable
from loopwright.server.mailbox import Mailbox
from loopwright.server.readers import TRIALS, Readers
from loopwright.store.failures import OverBudget


def run(ask: Callable[[Readers], Awaitable[Any]], *, may_answer_at_once: bool = True, most: int = 4) -> Any:
    async def inside() -> Any:
        mailbox = Mailbox(asyncio.get_running_loop())
        readers = Readers(mailbox, steady=1, most=most, may_answer_at_once=may_answer_at_once)
        try:
            return await ask(readers)
        finally:
            readers.close()

    return asyncio.run(inside())


def who_answers(budget_s: float | None) -> str:
    return threading.current_thread().name


def test_what_proves_brief_is_answered_where_it_was_asked() -> None:
    async def ask(readers: Readers) -> list[str]:
        return [await readers.answer("runs.get", who_answers) for _ in range(40)] + [who_answers(None)]

    names = run(ask)
    assert "loopwright-reader" in names[0]
    assert names[-2] == names[-1]
    assert set(run(ask, may_answer_at_once=False)[:-1]) == {"loopwright-reader"}


def test_what_was_sent_much_is_answered_beside_the_loop_however_brief_others_were() -> None:
    async def ask(readers: Readers) -> list[str]:
        for _ in range(40):
            await readers.answer("loop.plan", who_answers)
        return [await readers.answer("loop.plan", who_answers, is_large=is_large) for is_large in (False, True)]

    assert run(ask) == [threading.main_thread().name, "loopwright-reader"]


def test_what_exceeds_its_budget_is_begun_anew_beside_the_loop() -> None:
    budgets: list[float | None] = []

    def ask_much(budget_s: float | None) -> str:
        budgets.append(budget_s)
        if budget_s is not None:
            raise OverBudget
        return who_answers(budget_s)

    async def ask(readers: Readers) -> tuple[str, str]:
        for _ in range(40):
            await readers.answer("runs.search", who_answers)
        return await readers.answer("runs.search", ask_much), await readers.answer("runs.search", who_answers)

    assert run(ask) == ("loopwright-reader", "loopwright-reader")
    assert budgets[0] is not None
    assert budgets[1] is None


def test_a_long_query_holds_up_no_other() -> None:
    async def ask(readers: Readers) -> list[str]:
        may_end = threading.Event()
        long = [asyncio.ensure_future(readers.answer("log.read", lambda _: may_end.wait(60))) for _ in range(3)]
        answers = [await readers.answer("runs.get", lambda _: "brief") for _ in range(3)]
        may_end.set()
        await asyncio.gather(*long)
        return answers

    assert run(ask, may_answer_at_once=False) == ["brief"] * 3


def test_errors_reach_who_asked_from_wherever() -> None:
    def fail(_budget_s: float | None) -> None:
        raise NotFound("no such run")

    async def ask(readers: Readers) -> int:
        refused = 0
        for _ in range(TRIALS * 8):
            try:
                await readers.answer("runs.get", fail)
            except NotFound:
                refused += 1
        return refused

    assert run(ask) == TRIALS * 8


def test_what_still_waits_at_the_end_is_refused() -> None:
    async def ask(readers: Readers) -> None:
        is_at_it, may_end = threading.Event(), threading.Event()

        def hold(_budget_s: float | None) -> None:
            is_at_it.set()
            may_end.wait(60)

        at_it = asyncio.ensure_future(readers.answer("log.read", hold))
        await asyncio.to_thread(is_at_it.wait)
        waits = asyncio.ensure_future(readers.answer("log.read", lambda _: None))
        await asyncio.sleep(0)
        readers.close()
        may_end.set()
        with pytest.raises(Unavailable):
            await waits
        await at_it

    run(ask, may_answer_at_once=False, most=1)
