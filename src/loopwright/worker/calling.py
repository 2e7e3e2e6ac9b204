"""Calls of verbs with the service token; they outlast a server that is down."""

import logging
import os
import threading
import time
from typing import Any

from loopwright.kernel.errors import Unavailable
from loopwright.kernel.verbs import VERBS
from loopwright.loop import seal_gateway
from loopwright.store.types import Streams
from loopwright.wire.caller import VerbCaller
from loopwright.wire.line import ServiceLine

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
        self._line = ServiceLine(token)
        self._server = VerbCaller(url.rstrip("/"), self._line)
        self._is_down = threading.Event()

    def call(self, verb: str, args: dict[str, Any], project: str) -> Any:
        """Call a verb or query until the server answers; the result has the verb's return type.

        While the server is down this waits. A verb that is not idempotent by itself carries one key through all tries.

        Raises:
            LoopwrightError: What the server answered, rebuilt.
        """
        found = VERBS.get(verb)
        has_key = found is None or (not found.is_query and found.surface == "public")
        key = f"worker-{os.urandom(16).hex()}" if has_key else None
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                return self.try_once(verb, args, project, key=key)
            except Unavailable as error:
                if not self._is_down.is_set():
                    log.warning("%s waits for the server: %s", verb, error)
                self._is_down.set()
                time.sleep(pause_s)
                pause_s = min(LONGEST_PAUSE_S, pause_s * 2)

    def try_once(
        self, verb: str, args: dict[str, Any], project: str, *, wait_s: float = 0, key: str | None = None
    ) -> Any:
        """Call a verb or query once.

        Raises:
            Unavailable: The server is down or does not answer in time.
            LoopwrightError: What the server answered, rebuilt.
        """
        answer = self._server.within(project).waiting(wait_s).call_named(verb, args, key=key)
        self._is_down.clear()
        return answer

    def seal(self, address: str, streams: Streams) -> None:
        """Ask one gateway to seal streams of its spool; see ``loop.seal_gateway``."""
        seal_gateway(self._line, address, streams)

    def close(self) -> None:
        """Let go of the connections."""
        self._line.close()
