"""The gateway's line to the server: internal verbs over HTTP with the service token."""

from typing import Any, TypeVar

from loopwright.governance import SYSTEM
from loopwright.kernel.documents import convert, from_json, to_json
from loopwright.store.line import ServiceLine

T = TypeVar("T")
TIMEOUT_S = 10.0


class ControlPlane:
    """Calls verbs of one server; threads share it.

    Args:
        url: Where the server answers.
        token: The service token.
    """

    def __init__(self, url: str, token: str) -> None:
        self._url, self._line = url.rstrip("/"), ServiceLine(token)

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
        url = f"{self._url}/v1/{project}/verbs/{verb}{wait}"
        body = self._line.post(url, to_json(args), timeout_s=wait_s + TIMEOUT_S)
        return convert(from_json(body, object), kind, verb)
