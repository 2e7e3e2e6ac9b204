"""Connections whose answers come whole within a time: a time-out of each piece alone is none where those are bytes."""

import http.client
import io
import socket
import time
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

BYTES_A_SECOND = 4 << 10
"""An answer may take as long as its other side may be silent, and a second more for each 4 kB of it."""


class _Pieces(io.RawIOBase):
    """What a socket sends, until that takes too long."""

    def __init__(self, sock: socket.socket) -> None:
        self._pieces = sock.makefile("rb", buffering=0)
        self._sock, self._silence_s = sock, sock.gettimeout()
        self._began_at, self._bytes = time.monotonic(), 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._silence_s is not None:
            left_s = self._began_at + self._silence_s + self._bytes / BYTES_A_SECOND - time.monotonic()
            if left_s <= 0:
                raise TimeoutError("the answer comes too slowly")
            self._sock.settimeout(min(self._silence_s, left_s))
        count = self._pieces.readinto(buffer)
        self._bytes += count or 0
        return count

    def close(self) -> None:
        self._pieces.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp.close()
        self.fp = io.BufferedReader(_Pieces(sock))


class _Plain(HTTPConnection):
    response_class = _Answer


class _Secure(HTTPSConnection):
    response_class = _Answer


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure


def timely_pool(most_idle: int) -> PoolManager:
    """Return connections that stay open, at most so many to one address; nothing is repeated or followed."""
    pool = PoolManager(maxsize=most_idle, retries=False)
    pool.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
    return pool
