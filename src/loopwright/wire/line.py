"""HTTP over connections that stay open: of clients, and between the platform's processes."""

import logging
from collections.abc import Mapping
from typing import NamedTuple

import msgspec
from urllib3 import BaseHTTPResponse, Timeout
from urllib3 import exceptions as pool

from loopwright.kernel.errors import LoopwrightError, Unavailable, error_from_dict, shorten
from loopwright.wire.timely import timely_pool

TIMEOUT_S = 35.0
"""Longest silence of the other side; longer than any wait that a call asks for."""
MOST_ANSWER_BYTES = 1 << 30
"""Of an answer; blobs are no longer."""
_PIECE_BYTES = 1 << 20
MOST_IDLE = 8
"""Most connections to one address that are kept open between calls."""
_DOWN = (502, 503, 504)

logging.getLogger("urllib3").setLevel(logging.ERROR)  # a connection beyond the idle ones is closed: no news


class Answer(NamedTuple):
    """What the other side answered.

    ``retry_after_s`` is how long it asks to be left alone, 0 if it does not; ``location`` where it redirects to.
    """

    status: int
    body: bytes
    retry_after_s: float = 0.0
    location: str = ""

    @property
    def is_success(self) -> bool:
        """Whether what was asked was done; a redirect did nothing."""
        return 200 <= self.status < 300


class HttpLine:
    """Sends requests. Threads share it: each request takes a connection of its own and puts it back.

    It looks at no proxy and no netrc, which must not see a token, follows no redirect and repeats nothing. An answer
    comes whole within a time, is bounded, and is not compressed, for nobody asked for that.

    Args:
        headers: Go with every request.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = dict(headers)
        self._pool = timely_pool(MOST_IDLE)

    def send(
        self,
        method: str,
        url: str,
        body: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Answer:
        """Send a request once and return the answer, whatever its status.

        Raises:
            TimeoutError: The other side was silent for too long, or answers too slowly.
            ConnectionRefusedError: Nobody listens there.
            ConnectionAbortedError: The connection broke before the answer was whole; what was asked may have been done.
            OSError: It cannot be reached, this is no URL, or what comes is too long or compressed.
        """
        if not url.startswith(("http://", "https://")):
            raise OSError(f"{url} is no http or https address")
        try:
            answer = self._pool.request(
                method,
                url,
                body=body,
                headers={**self._headers, **(headers or {})},
                timeout=Timeout(timeout_s),
                redirect=False,
                preload_content=False,
            )
            told, body = answer.headers, _read(answer)
            return Answer(answer.status, body, _seconds(told.get("retry-after", "")), told.get("location", ""))
        except pool.NewConnectionError as error:  # which urllib3 counts among its time-outs
            if isinstance(error.__cause__, OSError):
                raise error.__cause__ from None
            raise OSError(str(error)) from None
        except pool.TimeoutError as error:
            raise TimeoutError(str(error)) from None
        except pool.ProtocolError as error:  # its last word is what happened
            raise ConnectionAbortedError(str(error.args[-1]).strip()) from None
        except (pool.HTTPError, ValueError) as error:  # ValueError: a header that cannot be sent, such as a line break
            raise OSError(str(error)) from None

    def close(self) -> None:
        """Let go of the idle connections; those of a line that is gone are closed with it."""
        self._pool.clear()


class ServiceLine:
    """Sends to servers and gateways with a credential of the platform.

    Args:
        token: The credential; none where each call brings its own.
    """

    def __init__(self, token: str = "") -> None:
        self._http = HttpLine({"content-type": "application/json"})
        self._proof = {"authorization": f"Bearer {token}"} if token else {}

    def proving(self, token: str) -> "ServiceLine":
        """Return a line over the same connections that shows another credential."""
        other = ServiceLine(token)
        other._http = self._http
        return other

    def post(
        self, url: str, body: bytes = b"", *, headers: Mapping[str, str] | None = None, timeout_s: float = TIMEOUT_S
    ) -> bytes:
        """Post JSON once and return the JSON that comes back.

        Raises:
            LoopwrightError: What the other side answered; Unavailable if it did not.
        """
        return self._send("POST", url, body, headers or {}, timeout_s)

    def put(self, url: str, body: bytes) -> bytes:
        """Put bytes once and return the JSON that comes back; raises like ``post``."""
        return self._send("PUT", url, body, {"content-type": "application/octet-stream"}, TIMEOUT_S)

    def _send(self, method: str, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> bytes:
        try:
            shown = {**self._proof, **headers}
            answer = self._http.send(method, url, body, headers=shown, timeout_s=timeout_s)
        except OSError as error:  # the cause tells who listens to nobody from who is slow
            raise Unavailable("the server does not answer", value=f"{type(error).__name__}: {error}") from error
        if answer.status < 400 and not answer.is_success:
            raise redirected(answer, url, "LOOPWRIGHT_URL")
        if not answer.is_success:
            raise _error(answer.status, answer.body, url)
        return answer.body

    def close(self) -> None:
        """Let go of the idle connections."""
        self._http.close()


def _read(answer: BaseHTTPResponse) -> bytes:
    """Return the body of an answer and give its connection back; it is closed where that is not read whole."""
    is_whole = False
    try:
        if answer.headers.get("content-encoding", "identity") != "identity":
            raise OSError("what is answered is compressed, which nobody asked for")
        if (answer.length_remaining or 0) > MOST_ANSWER_BYTES:
            raise _too_long()
        body = answer.read(decode_content=False) if answer.length_remaining is not None else _read_on(answer)
        is_whole = True
    finally:
        if not is_whole:
            answer.close()
        answer.release_conn()
    return body


def _read_on(answer: BaseHTTPResponse) -> bytes:
    """Return a body whose length nobody said."""
    pieces, size = [], 0
    while piece := answer.read(_PIECE_BYTES, decode_content=False):
        pieces.append(piece)
        size += len(piece)
        if size > MOST_ANSWER_BYTES:
            raise _too_long()
    return b"".join(pieces)


def _too_long() -> OSError:
    return OSError(f"what is answered is longer than {MOST_ANSWER_BYTES >> 20} MB")


def redirected(answer: Answer, url: str, setting: str) -> Unavailable:
    """Return what is to be done about an answer that leads elsewhere: nothing was done, and nobody goes there.

    Args:
        answer: Redirects, or is of another status that is neither success nor error.
        url: What was asked.
        setting: The setting in which the address stands.
    """
    if not answer.location:
        return Unavailable(f"unexpected answer {answer.status} from {url}", value=shorten(_text(answer.body), 200))
    return Unavailable(
        f"{url} answers that it is elsewhere ({answer.status}): nothing was done",
        field=setting,
        value=shorten(answer.location, 200),
        next_step=f"set {setting} to the address itself, if you know that one; no answer leads a token to another",
    )


def _text(body: bytes) -> str:
    return body.decode("utf-8", "replace")


def _seconds(text: str) -> float:
    return float(text) if text.isdecimal() and len(text) < 6 else 0.0


def _error(status: int, body: bytes, url: str) -> LoopwrightError:
    try:
        told = error_from_dict(msgspec.json.decode(body)["error"])
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        told = None
    if told is None or (status in _DOWN and not isinstance(told, Unavailable)):
        return Unavailable(f"unexpected answer {status} from {url}", value=_text(body))
    return told
