"""Calls of verbs with the service token; they outlast a server that is down."""

import logging
import os
import threading
import time
from typing import Any

import msgspec

from loopwright.kernel.documents import to_json
from loopwright.kernel.errors import Unavailable
from loopwright.kernel.verbs import VERBS
from loopwright.loop import seal_gateway
from loopwright.store.line import ServiceLine
from loopwright.store.types import Streams

log = logging.getLogger("loopwright.worker")

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0


class ServerCaller:
    """Calls one server over connections that stay open.

    Args:
        url: The server's address.
        token: The service token.
    """

    def __init__(self, url: str, token: str) -> None:
        self._url, self._line = url.rstrip("/"), ServiceLine(token)
        self._is_down = threading.Event()

    def call(self, verb: str, args: dict[str, Any], project: str) -> Any:
        """Call a verb or query until the server answers; the result has the verb's return type.

        While the server is down this waits. A verb that is not idempotent by itself carries one key through all tries.

        Raises:
            LoopwrightError: What the server answered, rebuilt.
        """
        found = VERBS.get(verb)
        has_key = found is None or (not found.is_query and found.surface == "public")
        headers = {"idempotency-key": f"worker-{os.urandom(16).hex()}"} if has_key else {}
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                return self.try_once(verb, args, project, headers=headers)
            except Unavailable as error:
                if not self._is_down.is_set():
                    log.warning("%s waits for the server: %s", verb, error)
                self._is_down.set()
                time.sleep(pause_s)
                pause_s = min(LONGEST_PAUSE_S, pause_s * 2)

    def try_once(
        self, verb: str, args: dict[str, Any], project: str, *, wait_s: float = 0, headers: dict[str, str] | None = None
    ) -> Any:
        """Call a verb or query once.

        Raises:
            Unavailable: The server is down or does not answer in time.
            LoopwrightError: What the server answered, rebuilt.
        """
        wait = f"?wait_s={wait_s:g}" if wait_s else ""
        body = self._line.post(f"{self._url}/v1/{project}/verbs/{verb}{wait}", to_json(args), headers=headers)
        self._is_down.clear()
        document = msgspec.json.decode(body) if body else None
        found = VERBS.get(verb)
        kind = None if found is None else found.types.get("return")
        return document if kind is None or kind is type(None) else msgspec.convert(document, type=kind)

    def seal(self, address: str, streams: Streams) -> None:
        """Ask one gateway to seal streams of its spool; see ``loop.seal_gateway``."""
        seal_gateway(self._line, address, streams)

    def close(self) -> None:
        """Let go of the connections."""
        self._line.close()
