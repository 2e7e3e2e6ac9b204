"""A request that comes again under its key gets the first answer, and adds nothing."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from loopwright.gateway.once import Call, Once, key_of
from loopwright.gateway.stamps import Stamp
from loopwright.kernel.clock import FixedClock
from loopwright.kernel.errors import Conflict, InvalidInput, StorageFull

CALL = Call("flights", "k1", "v1/flights/deployments/late/predict")


class Worker:
    """Answers with how often it was asked, and remembers under which stamps."""

    def __init__(self, error: Exception | None = None, size: int = 1) -> None:
        self.stamps: list[Stamp | None] = []
        self.error, self.size = error, size

    async def __call__(self, stamp: Stamp | None) -> bytes:
        self.stamps.append(stamp)
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return b"%d" % len(self.stamps) * self.size


@pytest.fixture
def once() -> Once:
    return Once(FixedClock(1_772_366_400_000_000))


def running(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def test_the_same_request_is_answered_once_also_while_it_is_under_way(once: Once) -> None:
    work = Worker()

    async def test() -> None:
        together = await asyncio.gather(*(once.answer(CALL, b"body", work) for _ in range(5)))
        assert {*together, await once.answer(CALL, b"body", work)} == {b"1"}

    running(test)
    assert len(work.stamps) == 1


@pytest.mark.parametrize(
    ("call", "body"), [(CALL, b"other"), (CALL._replace(what="v1/flights/deployments/late/labels"), b"body")]
)
def test_a_key_belongs_to_one_request(once: Once, call: Call, body: bytes) -> None:
    work = Worker()

    async def test() -> None:
        await once.answer(CALL, b"body", work)
        with pytest.raises(Conflict, match="belongs to another request"):
            await once.answer(call, body, work)
        assert await once.answer(call._replace(project="other"), body, work) == b"2"

    running(test)


def test_what_was_refused_leaves_its_key_free(once: Once) -> None:
    async def test() -> None:
        with pytest.raises(InvalidInput):
            await once.answer(CALL, b"wrong", Worker(InvalidInput("no")))
        assert await once.answer(CALL, b"right", Worker()) == b"1"

    running(test)


def test_what_failed_on_our_side_is_done_again_under_the_same_ids(once: Once) -> None:
    work = Worker(StorageFull("full"))

    async def test() -> None:
        with pytest.raises(StorageFull):
            await once.answer(CALL, b"body", work)
        work.error = None
        assert await once.answer(CALL, b"body", work) == b"2"
        with pytest.raises(Conflict):
            await once.answer(CALL, b"other", work)

    running(test)
    assert work.stamps[0] == work.stamps[1] is not None


def test_memory_is_bounded_and_the_oldest_goes_first() -> None:
    once = Once(FixedClock(0), most_keys=3, most_bytes=10_000)

    async def ask(key: str, work: Worker) -> bytes:
        return await once.answer(CALL._replace(key=key), b"body", work)

    async def test() -> None:
        work = Worker()
        for key in "abcd":
            await ask(key, work)
        assert [await ask(key, work) for key in "bcd"] == [b"2", b"3", b"4"]
        assert await ask("a", work) == b"5"
        await ask("large", Worker(size=9_000))
        assert await ask("d", work) == b"6"

    running(test)


def test_a_project_that_sends_many_keys_has_none_of_another_forgotten() -> None:
    once = Once(FixedClock(0), most_keys=10, most_bytes=100_000)

    async def test() -> None:
        work, flood = Worker(), Worker()
        await once.answer(Call("quiet", "key", "predict"), b"body", work)
        for number in range(50):
            await once.answer(Call("loud", f"key-{number}", "predict"), b"body", flood)
        await once.answer(Call("quiet", "key", "predict"), b"body", work)
        assert len(work.stamps) == 1
        assert len(once._kept) == 10
        assert sum(share.size_bytes for share in once._of.values()) == once._bytes

    running(test)


@pytest.mark.parametrize("given", [b"", b"x" * 256, b"a\nb", "ü".encode()])
def test_a_key_is_short_and_plain(given: bytes) -> None:
    with pytest.raises(InvalidInput):
        key_of({b"idempotency-key": given})
    assert key_of({b"idempotency-key": b"9f-1"}) == "9f-1"
    assert key_of({}) is None
