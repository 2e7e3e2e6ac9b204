"""An answer of a gateway that is lost on its way, the gateway with it: its rows are logged, and nobody knows."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from loopwright.client.caller import HttpCaller
from loopwright.wire.line import Answer, HttpLine

TAKEN = ("predict", "labels", "push")


@contextmanager
def losing_an_answer(caller: HttpCaller, then: Callable[[str], None]) -> Iterator[None]:
    """Lose the next answer with which a gateway took rows.

    Args:
        caller: Who would have heard it.
        then: Told the request's URL, once the answer has left the gateway and before the caller knows of it.
    """
    line = caller._http
    caller._http = _Losing(line, then)  # type: ignore[assignment]
    try:
        yield
    finally:
        caller._http = line


class _Losing:
    def __init__(self, line: HttpLine, then: Callable[[str], None]) -> None:
        self._line, self._then, self._is_lost = line, then, False

    def send(self, method: str, url: str, body: bytes = b"", **options: Any) -> Answer:
        answer = self._line.send(method, url, body, **options)
        if self._is_lost or answer.status != 200 or not url.endswith(TAKEN):
            return answer
        self._is_lost = True
        self._then(url)
        raise ConnectionAbortedError("lost on its way")
