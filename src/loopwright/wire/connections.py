"""Connections under limits: what a stranger may send, how slowly, and on how many lines, before anybody asks who it is.

uvicorn's parser for HTTP keeps every header that comes and waits for ever. Here a head is cut off at 64 kB, a hundred
headers, or ten seconds; a body that trickles and an answer that nobody reads end their connection; so does what comes
beside a body without end, such as trailers, which are no headers here. Beyond a number of connections new ones are told
to come back, unless an address that holds more of them has one to give.
"""

import asyncio
import math
from collections import Counter
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from loopwright.wire.heads import LONG_HEAD, MOST_HEAD_BYTES, Heads, Refused
from loopwright.wire.rates import neighbourhood

MOST_CONNECTIONS = 2_000
MOST_PIPELINED = 100
"""Requests that may wait on one connection for the answers before theirs."""
HEAD_S = 10.0
"""How long a request's head may take from its first byte on."""
FIRST_BYTE_S = 75.0
"""How long a new connection may say nothing."""
BODY_S = 60.0
BODY_BYTES_A_SECOND = 16 << 10
"""A body may take a minute, and a second more for each 16 kB of it."""
UNREAD_S = 60.0
"""How long an answer may wait for its reader."""
_MOST_JOINED_BYTES = 64 << 10
"""Longer pieces are not worth a copy."""
_CROWDED = "too many connections are open; come back in a moment"
_SLOW_HEAD = f"a head comes within {HEAD_S:g} seconds"
_PHRASES = {
    400: b"Bad Request",
    408: b"Request Timeout",
    431: b"Request Header Fields Too Large",
    503: b"Service Unavailable",
}


class _Joining:
    """A transport that sends a head and its body at once: apart they cost two calls of the system.

    Args:
        transport: What sends.
        loop: Whose turn ends the wait for a second piece.
    """

    def __init__(self, transport: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._held: bytes | None = None
        self.is_closing = transport.is_closing

    def write(self, piece: bytes) -> None:
        """Send a piece, by the end of this turn of the loop; nobody is there to read it once the connection ends."""
        if self.is_closing():
            self._held = None
            return
        held = self._held
        if held is None and len(piece) <= _MOST_JOINED_BYTES:
            self._held = piece
            self._loop.call_soon(self._flush)
        elif held is not None and len(piece) <= _MOST_JOINED_BYTES:
            self._held = None
            self._transport.write(held + piece)
        else:
            self._flush()
            self._transport.write(piece)

    def close(self) -> None:
        """Send what is held, and hang up."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        held, self._held = self._held, None
        if held is not None and not self.is_closing():
            self._transport.write(held)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class LimitedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, unless there are too many."""
        super().connection_made(_Joining(transport, self.loop))  # type: ignore[arg-type]
        self._heads = Heads(self, self._refuse)
        self.parser = self._heads.parser
        self._is_refused = self._has_moved = False
        self._fed_bytes = self._body_bytes = 0
        self._waits_for, self._waits_until = "", math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self.begun_at = self.loop.time()
        self.neighbourhood = neighbourhood(self.client[0]) if self.client else ""
        if len(self.connections) > MOST_CONNECTIONS and not self._takes_a_place():
            self._refuse(503, _CROWDED)
        else:
            self._within(FIRST_BYTE_S, "nothing was asked")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        self._stop_timer()
        if self._unread is not None:
            self._unread.cancel()
        super().connection_lost(exc)
        del self._heads  # the two hold each other, and memory would wait for a collection

    def data_received(self, piece: bytes) -> None:
        """Parse what came, as long as it is not too much."""
        if self._is_refused:
            return
        self._has_moved = False
        self._unset_keepalive_if_required()
        try:
            self._heads.feed(piece)
        except httptools.HttpParserError:
            self.send_400_response("this is no HTTP/1.1")
            return
        # The parser tells of a header or trailer when it is whole, and copies what it has of it with each piece until
        # then; of what stands beside a chunk it tells nothing.
        if not self._has_moved:
            self._fed_bytes += len(piece)
            if self._fed_bytes > MOST_HEAD_BYTES:
                self._refuse(431, LONG_HEAD)
            elif self._waits_until == math.inf:  # blank lines before a request
                self._within(HEAD_S, _SLOW_HEAD)

    def on_message_begin(self) -> None:
        """Begin to wait for a head."""
        super().on_message_begin()
        self._move()
        self._within(HEAD_S, _SLOW_HEAD)

    def on_headers_complete(self) -> None:
        """Begin to wait for a body."""
        self._body_bytes = 0
        self._move()
        self._within(BODY_S, f"a body comes at {BODY_BYTES_A_SECOND >> 10} kB a second or more")
        super().on_headers_complete()
        if len(self.pipeline) > MOST_PIPELINED:
            self._refuse(431, f"at most {MOST_PIPELINED} requests wait on one connection")
            raise Refused

    def on_body(self, body: bytes) -> None:
        """Take a piece of a body."""
        self._body_bytes += len(body)
        self._move()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait for nothing but the answer."""
        self._waits_until = math.inf
        self._move()
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Begin to wait for a reader."""
        super().pause_writing()
        self._unread = self.loop.call_later(UNREAD_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on writing."""
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, once."""
        self._refuse(400, msg)

    def _move(self) -> None:
        """Note that what came was part of something whole."""
        self._has_moved = True
        self._fed_bytes = 0

    def _within(self, seconds: float, rule: str) -> None:
        """Wait no longer than that; a timer that goes off sooner looks again, so that most requests set none."""
        self._waits_for, self._waits_until = rule, self.loop.time() + seconds
        if self._timer is not None and self._timer.when() > self._waits_until:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self.loop.call_at(self._waits_until, self._look)

    def _look(self) -> None:
        self._timer = None
        until = self._waits_until
        if not self._heads.is_under_way:
            until += self._body_bytes / BODY_BYTES_A_SECOND
        if until == math.inf:
            return
        if self.loop.time() < until:
            self._timer = self.loop.call_at(until, self._look)
        else:
            self._refuse(408, self._waits_for)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, status: int, why: str) -> None:
        """Read no more, and hang up: at once with an answer, or where answers are due, after those."""
        if self._is_refused:
            return
        self._is_refused = True
        self._stop_timer()
        if self.transport.is_closing():
            return
        cycle: Any = self.cycle  # None before the first request
        if self.pipeline and cycle.more_body:
            self.pipeline.popleft()  # what is refused itself waits behind another
        elif cycle is None or cycle.response_complete or cycle.more_body:
            if cycle is None or not cycle.response_started or cycle.response_complete:
                self.transport.write(_answer(status, why))
            self.transport.close()

    def on_response_complete(self) -> None:
        """Go on with the next request, or hang up where no more are read."""
        if self._is_refused and not self.pipeline:
            self.transport.close()
        super().on_response_complete()

    def _takes_a_place(self) -> bool:
        """End a connection of the address that holds most of them, if that is not ours and one waits there.

        Whoever opens as many as there may be keeps nobody else out, and what is being answered is left alone.
        """
        others = [each for each in self.connections if isinstance(each, LimitedProtocol)]
        held = Counter(each.neighbourhood for each in others)
        most, number = held.most_common(1)[0]
        if number <= held[self.neighbourhood]:
            return False
        waiting = [each for each in others if each.neighbourhood == most and each._is_waiting]
        if waiting:
            min(waiting, key=lambda each: each.begun_at)._refuse(503, _CROWDED)
        return bool(waiting)

    @property
    def _is_waiting(self) -> bool:
        """Whether nothing is done for this connection: its next request has not come, or not wholly."""
        cycle: Any = self.cycle
        is_idle = cycle is None or cycle.response_complete or (cycle.more_body and not cycle.response_started)
        return is_idle and not self._is_refused and not self.transport.is_closing()


def _answer(status: int, why: str) -> bytes:
    body = why.encode()
    head: list[Any] = [
        b"HTTP/1.1 %d %s" % (status, _PHRASES[status]),
        b"content-type: text/plain; charset=utf-8",
        b"content-length: %d" % len(body),
        b"connection: close",
    ]
    if status == 503:
        head.append(b"retry-after: 1")
    return b"\r\n".join([*head, b"", body])
