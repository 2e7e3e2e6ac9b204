"""One child as its gateway sees it: a socket to speak through, and how it ended."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from typing import Any, NamedTuple, Self

from loopwright.gateway.children.messages import Frames, FromChild, Message, Senseless, framed, read_from_child
from loopwright.gateway.children.nursery import Nursery
from loopwright.gateway.marks import Page
from loopwright.wire.endings import how_ended

log = logging.getLogger("loopwright.gateway")
_LAST_NEWS_S = 2.0
MOST_MESSAGE_BYTES = 128 << 20
"""Of one message of a child: many times the largest body with its rows, and what this process can spare."""


_OWN_FAULT = {
    signal.SIGABRT,
    signal.SIGBUS,
    signal.SIGFPE,
    signal.SIGILL,
    signal.SIGSEGV,
    signal.SIGSYS,
    signal.SIGTRAP,
}
"""What ends a program for what it does itself, unlike a lack of memory or an operator."""


class End(NamedTuple):
    """How a child ended: in words, what it had marked last, and whether it was its own fault."""

    how: str
    mark: bytes | None
    is_own_fault: bool


class Child(asyncio.Protocol):
    """A forked process.

    Args:
        nursery: Whose child it is.
        on_message: Called with each message.
        on_end: Called once, when it has ended.
    """

    def __init__(
        self, nursery: Nursery, on_message: Callable[[FromChild], None], on_end: Callable[["Child", End], None]
    ) -> None:
        self._nursery, self._on_message, self._on_end = nursery, on_message, on_end
        self._frames = Frames(MOST_MESSAGE_BYTES)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._page: Page | None = None
        self._why = ""
        self._has_ended = self._is_closed = self._is_senseless = False
        self.pid = 0

    @classmethod
    async def start(
        cls, nursery: Nursery, on_message: Callable[[FromChild], None], on_end: Callable[["Child", End], None]
    ) -> Self:
        """Fork one.

        Raises:
            Unavailable: None can be had.
        """
        child = cls(nursery, on_message, on_end)
        newborn = await nursery.fork(child._hear_end)
        child.pid, child._page = newborn.pid, newborn.page
        newborn.line.setblocking(False)
        await child._loop.create_unix_connection(lambda: child, sock=newborn.line)
        return child

    @property
    def mark(self) -> bytes | None:
        """What it is at work on, as it has marked; None where it has ended or marked nothing."""
        return None if self._page is None or self._has_ended else self._page.read()

    def send(self, message: Message) -> None:
        """Send a message; one that has ended hears nothing."""
        if self._transport is not None:
            self._transport.write(framed(message))

    def stop(self, why: str) -> None:
        """End it and all it started, whatever it is doing; ``why`` is told as how it ended."""
        self._why = self._why or why
        self._nursery.kill(self.pid)

    def close(self) -> None:
        """Hang up: it ends by itself, and nobody is told. One that does not is killed."""
        self._is_closed = True
        if self._transport is not None:
            self._transport.close()
        self._loop.call_later(_LAST_NEWS_S, self._nursery.kill, self.pid)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket."""
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, piece: bytes) -> None:
        """Hand on what has come in whole."""
        if self._is_senseless:
            return
        try:
            for body in self._frames.feed(piece):
                message = self._read(body)
                if message is None:
                    return
                self._on_message(message)
        except Senseless as error:
            self._stop_listening(f"says {error}")

    def _read(self, body: bytes) -> Any:
        """Return a message, None where it makes no sense: a child runs what a user wrote, so it may say anything."""
        try:
            return read_from_child.decode(body)
        except Exception as error:  # noqa: BLE001 - and that is no reason to fall
            self._stop_listening(str(error))
            return None

    def _stop_listening(self, why: str) -> None:
        self._is_senseless = True
        log.error("a child says what it should not: %s", why)
        self.stop("said what it should not, and was stopped")

    def connection_lost(self, exc: Exception | None) -> None:
        """Learn from the nursery how it ended; one that only hung up is killed."""
        self._transport = None
        self._nursery.kill(self.pid)
        self._loop.call_later(_LAST_NEWS_S, self._hear_end, None)

    def _hear_end(self, status: int | None) -> None:
        if self._has_ended:
            return
        self._has_ended = True
        if self._transport is not None:
            self._transport.close()
        mark = None
        if self._page is not None:
            mark = self._page.read()
            self._page.close()
        if not self._is_closed:
            self._on_end(self, End(self._why or _told(status), mark, bool(self._why) or _is_own_fault(status)))


def _is_own_fault(status: int | None) -> bool:
    return status is not None and -os.waitstatus_to_exitcode(status) in _OWN_FAULT


def _told(status: int | None) -> str:
    if status is None:
        return "ended, nobody knows how"
    return how_ended(os.waitstatus_to_exitcode(status))
