"""HTTP over connections that stay open: of clients, and between the platform's processes with the service token."""

import http.client
import select
import weakref
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

import msgspec

from loopwright.kernel.errors import LoopwrightError, Unavailable, error_from_dict

TIMEOUT_S = 35.0
"""Longest silence of the other side; longer than any wait that a call asks for."""
MOST_IDLE = 8
"""Most connections to one address that are kept open between calls."""
_DOWN = (502, 503, 504)


class Answer(NamedTuple):
    """What the other side answered."""

    status: int
    body: bytes


class HttpLine:
    """Sends requests. Threads share it: each request takes a connection of its own and puts it back.

    It looks at no proxy and no netrc, which must not see a token, and follows no redirect.

    Args:
        headers: Go with every request.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = dict(headers)
        self._idle: dict[tuple[str, str], list[http.client.HTTPConnection]] = {}
        # Lines are made on the way, by handles and notebooks, and nobody there thinks of closing them.
        weakref.finalize(self, _close, self._idle)

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
            TimeoutError: The other side was silent for too long.
            OSError: It cannot be reached, or hung up.
            http.client.HTTPException: It does not speak HTTP, or this is no URL.
        """
        parts = _split(url)
        place = f"{parts.path}?{parts.query}" if parts.query else parts.path
        idle = self._idle.setdefault((parts.scheme, parts.netloc), [])
        connection = _open(idle, parts.scheme, parts.netloc, timeout_s)
        is_whole = True
        try:
            try:
                connection.request(method, place, body, {**self._headers, **(headers or {})})
            except (BrokenPipeError, ConnectionResetError):
                is_whole = False  # who refuses a body may answer before it has come in whole
            response = connection.getresponse()
            answer = Answer(response.status, response.read())
        except ValueError as error:  # a header that cannot be sent, such as a token with a line break
            connection.close()
            raise http.client.HTTPException(str(error)) from None
        except BaseException:
            # Also where a signal ends the wait: the other side then sees that nobody listens any more.
            connection.close()
            raise
        if is_whole and len(idle) < MOST_IDLE:
            idle.append(connection)
        else:
            connection.close()
        return answer

    def close(self) -> None:
        """Let go of the idle connections; those of a line that is gone are closed with it."""
        _close(self._idle)


class ServiceLine:
    """Posts to servers and gateways with the service token.

    Args:
        token: The service token.
    """

    def __init__(self, token: str) -> None:
        self._http = HttpLine({"Content-Type": "application/json", "Authorization": f"Bearer {token}"})

    def post(
        self, url: str, body: bytes = b"", *, headers: Mapping[str, str] | None = None, timeout_s: float = TIMEOUT_S
    ) -> bytes:
        """Post JSON once and return the JSON that comes back.

        Raises:
            LoopwrightError: What the other side answered; Unavailable if it did not.
        """
        try:
            status, answer = self._http.send("POST", url, body, headers=headers, timeout_s=timeout_s)
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable("the server does not answer", value=f"{type(error).__name__}: {error}") from error
        if status >= 400:
            raise _error(status, answer, url)
        return answer

    def close(self) -> None:
        """Let go of the idle connections."""
        self._http.close()


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise http.client.InvalidURL(str(error)) from None
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise http.client.InvalidURL(f"{url} is no http or https address")
    return parts


def _close(connections: dict[tuple[str, str], list[http.client.HTTPConnection]]) -> None:
    for idle in connections.values():
        while idle:
            idle.pop().close()


def _open(
    idle: list[http.client.HTTPConnection], scheme: str, netloc: str, timeout_s: float
) -> http.client.HTTPConnection:
    """Return the connection used last that the other side has not closed meanwhile, else a new one."""
    while idle:
        try:
            connection = idle.pop()
        except IndexError:  # another thread took it
            break
        if connection.sock is not None and not _has_news(connection):
            connection.sock.settimeout(timeout_s)
            return connection
        connection.close()
    kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
    return kind(netloc, timeout=timeout_s)


def _has_news(connection: http.client.HTTPConnection) -> bool:
    """Say whether an idle connection can be read, which is how the other side's end of it shows."""
    watch = select.poll()
    watch.register(connection.sock, select.POLLIN)
    return bool(watch.poll(0))


def _error(status: int, body: bytes, url: str) -> LoopwrightError:
    try:
        found = error_from_dict(msgspec.json.decode(body)["error"])
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        found = None
    if found is None or (status in _DOWN and not isinstance(found, Unavailable)):
        text = body.decode("utf-8", "replace")
        return Unavailable(f"unexpected answer {status} from {url}", value=text)
    return found
