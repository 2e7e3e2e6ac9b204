"""The journal: rows go to the spool before anybody is told, and to the disk itself where that was asked for."""

import asyncio
from collections.abc import Callable, Sequence

from loopwright.gateway.log.batches import Batch, StreamKey
from loopwright.gateway.log.sealing import ChunkSealer
from loopwright.gateway.log.spool import Spool

Then = Callable[[Exception | None], None]
"""Called once rows are as safe as they must be, with the error if they are not."""


class Journal:
    """Keeps rows of every stream of one gateway.

    Args:
        spool: Where rows go.
        sealer: Told when a chunk's worth is there.
        is_durable: True where rows count as kept only when the disk has confirmed.
    """

    def __init__(self, spool: Spool, sealer: ChunkSealer, *, is_durable: bool) -> None:
        self._spool, self._sealer, self._is_durable = spool, sealer, is_durable

    def keep(self, key: StreamKey, batches: Sequence[Batch], then: Then) -> None:
        """Append batches to a stream; ``then`` is called when they are kept, perhaps before this returns.

        Raises:
            StorageFull: The disk takes no more; nothing was written and ``then`` is not called.
            Unavailable: The spool cannot be written; as above.
        """
        ticket = self._spool.append(key, batches)
        self._sealer.nudge(key)
        if not self._is_durable:
            then(None)
            return
        loop = asyncio.get_running_loop()

        def in_loop(why: Exception | None) -> None:
            loop.call_soon_threadsafe(then, why)

        self._spool.when_durable(ticket, in_loop)

    async def kept(self, key: StreamKey, batches: Sequence[Batch]) -> None:
        """Append batches to a stream and return when they are kept.

        Raises:
            StorageFull, Unavailable: As ``keep``.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def then(why: Exception | None) -> None:
            if not done.done():
                done.set_result(None) if why is None else done.set_exception(why)

        self.keep(key, batches, then)
        await done
