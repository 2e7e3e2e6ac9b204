"""A request that is under way, and others that are answered meanwhile: what goes first, and not how fast it is."""

import select
from collections.abc import Callable
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec

from tests.waiting import PATIENCE_S


class Underway:
    """A request that has been sent whole; whoever asks after it stands behind it.

    Args:
        url: Of the gateway.
        path: What is asked.
        document: The body.
    """

    def __init__(self, url: str, path: str, document: Any) -> None:
        self._line = HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE_S)
        self._line.request("POST", path, msgspec.json.encode(document), {"content-type": "application/json"})

    def is_answered(self) -> bool:
        """Say whether an answer has begun to come."""
        return bool(select.select([self._line.sock], [], [], 0)[0])

    def answer(self) -> httpx.Response:
        """Wait for the answer."""
        answer = self._line.getresponse()
        body = answer.read()
        self.close()
        return httpx.Response(answer.status, content=body)

    def close(self) -> None:
        """Hang up."""
        self._line.close()

    def lets_pass(self, ask: Callable[[], httpx.Response], enough: int = 3) -> bool:
        """Say whether others are answered before it is: more of them than may be taken up in one turn with it."""
        passed = 0
        while passed < enough and not self.is_answered():
            answer = ask()
            assert answer.status_code == 200, answer.text
            passed += not self.is_answered()
        return passed == enough
