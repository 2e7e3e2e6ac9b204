"""Heads of requests, between a parser of HTTP and who answers: bounded, unmistakable, and of one protocol alone."""

from collections.abc import Callable
from typing import Any

import httptools

MOST_HEADERS = 100
MOST_HEAD_BYTES = 64 << 10
LONG_HEAD = f"a head has at most {MOST_HEAD_BYTES >> 10} kB"
_ONCE = frozenset({b"host", b"authorization", b"origin", b"idempotency-key"})
"""Headers that say who asks for what: where one comes twice, a proxy and we may each read another."""
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})


class Heads:
    """Feeds a parser and passes on what it tells. Trailers are left out: what stands before us may not look at them.

    Args:
        protocol: Takes what is passed on, by the names that the parser uses.
        refuse: Takes a status and why a head is refused.
    """

    def __init__(self, protocol: Any, refuse: Callable[[int, str], None]) -> None:
        self._protocol, self._refuse = protocol, refuse
        self.on_body = protocol.on_body
        self.is_under_way = True
        """Whether a head is waited for, not a body."""
        self._bytes = 0
        self._is_resuming = False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn has it

    def feed(self, piece: bytes) -> None:
        """Have a piece parsed. Whoever asks for another protocol is answered in this one, as who had not asked.

        The parser ends such a request with its head. It is told of another one with the same body, and not listened to
        until that begins.

        Raises:
            HttpParserError: It is no HTTP, or was refused.
        """
        while piece:
            try:
                self.parser.feed_data(piece)
            except httptools.HttpParserUpgrade as upgrade:
                self._is_resuming = self._has_body()
                piece = (self._head_of_body() if self._is_resuming else b"") + piece[upgrade.args[0] :]
            else:
                return

    def _has_body(self) -> bool:
        return any(name in _FRAMING for name, _ in self._protocol.headers)

    def _head_of_body(self) -> bytes:
        lines = [b"%s: %s\r\n" % header for header in self._protocol.headers if header[0] in _FRAMING]
        return b"".join([b"POST / HTTP/1.1\r\n", *lines, b"\r\n"])

    def on_message_begin(self) -> None:
        """Begin a head."""
        if not self._is_resuming:
            self._bytes = 0
            self._protocol.on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a piece of the address."""
        if not self._is_resuming:
            self._count(len(url))
            self._protocol.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header or trailer."""
        if self._is_resuming or not self.is_under_way:
            return
        self._count(len(name) + len(value))
        headers, name = self._protocol.headers, name.lower()
        if name in _ONCE and any(name == known for known, _ in headers):
            self._end(400, f"a request has one header {name.decode()}")
        if len(headers) >= MOST_HEADERS:
            self._end(431, f"a request has at most {MOST_HEADERS} headers")
        self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        """End a head."""
        if self._is_resuming:
            self._is_resuming = False
            return
        self.is_under_way = False
        self._protocol.on_headers_complete()

    def on_message_complete(self) -> None:
        """Wait for the next head, once the body is there."""
        if self.parser.should_upgrade() and self._has_body():
            return
        self.is_under_way = True
        self._protocol.on_message_complete()

    def _count(self, size: int) -> None:
        self._bytes += size
        if self._bytes > MOST_HEAD_BYTES:
            self._end(431, LONG_HEAD)

    def _end(self, status: int, why: str) -> None:
        self._refuse(status, why)
        raise Refused


class Refused(httptools.HttpParserError):
    """Ends the parsing of what was answered already."""
