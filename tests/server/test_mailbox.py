"""Answers from threads reach whoever awaits them, however many come at once."""

import asyncio
import threading

import pytest

from loopwright.kernel.errors import NotFound
from loopwright.server.mailbox import Mailbox


def test_answers_of_many_threads_reach_who_waits() -> None:
    async def ask() -> list[int]:
        mailbox = Mailbox(asyncio.get_running_loop())
        slips = [mailbox.slip() for _ in range(200)]

        def answer(first: int) -> None:
            for number in range(first, 200, 4):
                slips[number].set_result(number)

        threads = [threading.Thread(target=answer, args=(first,)) for first in range(4)]
        for thread in threads:
            thread.start()
        return list(await asyncio.gather(*(slip.waiting for slip in slips)))

    assert asyncio.run(ask()) == list(range(200))


def test_an_error_is_raised_where_it_is_awaited() -> None:
    async def ask() -> None:
        slip = Mailbox(asyncio.get_running_loop()).slip()
        threading.Thread(target=slip.set_exception, args=(NotFound("no such run"),)).start()
        await slip.waiting

    with pytest.raises(NotFound, match="no such run"):
        asyncio.run(ask())


def test_who_went_away_is_not_answered_and_nobody_minds() -> None:
    async def ask() -> bool:
        mailbox = Mailbox(asyncio.get_running_loop())
        gone, here = mailbox.slip(), mailbox.slip()
        gone.waiting.cancel()
        may_be_left_out = not gone.set_running_or_notify_cancel()
        gone.set_result(1)
        here.set_result(2)
        return may_be_left_out and await here.waiting == 2 and gone.done()

    assert asyncio.run(ask())
