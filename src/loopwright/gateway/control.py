"""The gateway's line to the server: internal verbs over HTTP with the service token."""

import http.client
from typing import Any, TypeVar
from urllib.parse import urlsplit

from loopwright.governance import SYSTEM
from loopwright.kernel.documents import convert, from_json, to_json
from loopwright.kernel.errors import Unavailable, error_from_dict

T = TypeVar("T")


class ControlPlane:
    """Calls verbs of one server; every call is a connection of its own, so threads share it freely.

    Args:
        url: Where the server answers.
        token: The service token.
    """

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        self._host, self._is_tls = parts.netloc, parts.scheme == "https"
        self._base = parts.path.rstrip("/")
        self._headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}

    def call(self, verb: str, args: dict[str, Any], kind: type[T], project: str = SYSTEM, wait_s: float = 0) -> T:
        """Call a verb or query and return its result as ``kind``.

        Args:
            verb: Its name.
            args: Its arguments.
            kind: Type of the result.
            project: Whose; ``_system`` stands above projects.
            wait_s: Longest time the server may wait for a result that is not empty.

        Raises:
            LoopwrightError: What the server answered; Unavailable if it did not.
        """
        wait = f"?wait_s={wait_s:g}" if wait_s else ""
        status, body = self._post(f"{self._base}/v1/{project}/verbs/{verb}{wait}", to_json(args), wait_s + 10)
        if status >= 400:
            answer = from_json(body, dict[str, Any]) if body.startswith(b"{") else {}
            error = answer.get("error")
            if isinstance(error, dict):
                raise error_from_dict(error)
            raise Unavailable(f"the server answered {status}", value=verb)
        return convert(from_json(body, object), kind, verb)

    def _post(self, path: str, body: bytes, timeout_s: float) -> tuple[int, bytes]:
        kind = http.client.HTTPSConnection if self._is_tls else http.client.HTTPConnection
        connection = kind(self._host, timeout=timeout_s)
        try:
            connection.request("POST", path, body, self._headers)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable("the server does not answer", value=str(error)) from None
        finally:
            connection.close()
