"""A child that is tended: whoever waits for one that cannot be started is told."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from loopwright.gateway.children.messages import Settle
from loopwright.gateway.children.tended import Tended
from loopwright.kernel.errors import Unavailable


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), Unavailable("there is no process to be had")])
def test_whoever_waits_is_told_why_a_child_cannot_be_started(error: Exception) -> None:
    def hello() -> Any:
        raise error

    async def ask() -> None:
        duty: Any = SimpleNamespace(hello=hello, refusal=Unavailable)
        tended = Tended("the reader of rows", SimpleNamespace(), 3600.0, duty)  # type: ignore[arg-type]
        with pytest.raises(Unavailable, match=str(getattr(error, "strerror", None) or error)):
            await tended.put(Settle(tended.next_number()))
        assert tended.failure
        tended.close()

    asyncio.run(asyncio.wait_for(ask(), 60))
