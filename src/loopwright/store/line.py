"""The line between the platform's processes: HTTP with the service token, over connections that stay open."""

import http.client
import select
import weakref
from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from loopwright.kernel.errors import LoopwrightError, Unavailable, error_from_dict

TIMEOUT_S = 35.0
"""Longest silence of the other side; longer than any wait that a call asks for."""
MOST_IDLE = 8
"""Most connections to one address that are kept open between calls."""
_DOWN = (502, 503, 504)


class ServiceLine:
    """Posts to servers and gateways. Threads share it: each post takes a connection of its own and puts it back.

    It looks at no proxy and no netrc: they are the user's, and must not see the service token.

    Args:
        token: The service token.
    """

    def __init__(self, token: str) -> None:
        self._headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        self._idle: dict[tuple[str, str], list[http.client.HTTPConnection]] = {}
        weakref.finalize(self, _close, self._idle)

    def post(
        self, url: str, body: bytes = b"", *, headers: Mapping[str, str] | None = None, timeout_s: float = TIMEOUT_S
    ) -> bytes:
        """Post JSON once and return the JSON that comes back.

        Raises:
            LoopwrightError: What the other side answered; Unavailable if it did not.
        """
        parts = urlsplit(url)
        place = f"{parts.path}?{parts.query}" if parts.query else parts.path
        idle = self._idle.setdefault((parts.scheme, parts.netloc), [])
        connection = _open(idle, parts.scheme, parts.netloc, timeout_s)
        try:
            connection.request("POST", place, body, {**self._headers, **(headers or {})})
            response = connection.getresponse()
            answer = response.read()
        except BaseException as error:
            # Also where a signal ends the wait: the other side then sees that nobody listens any more.
            connection.close()
            if not isinstance(error, OSError | http.client.HTTPException):
                raise
            raise Unavailable("the server does not answer", value=f"{type(error).__name__}: {error}") from error
        if len(idle) < MOST_IDLE:
            idle.append(connection)
        else:
            connection.close()
        if response.status >= 400:
            raise _error(response.status, answer, url)
        return answer

    def close(self) -> None:
        """Let go of the idle connections; those of a line that is gone are closed with it."""
        _close(self._idle)


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
