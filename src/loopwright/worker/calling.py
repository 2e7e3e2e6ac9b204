"""Calls of verbs by a worker or one of its jobs; they outlast a server that is down, not one that never gets done."""

import logging
import os
import threading
import time
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from typing import Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import quote

from loopwright.kernel.documents import digest_bytes, from_json
from loopwright.kernel.errors import Unauthenticated, Unavailable
from loopwright.kernel.verbs import verb_of
from loopwright.store.types import BlobRef, Streams
from loopwright.store.work import Stopped
from loopwright.wire.addresses import Addresses
from loopwright.wire.caller import VerbCaller
from loopwright.wire.credentials import JobClaim, job_token
from loopwright.wire.gateways import seal_gateway
from loopwright.wire.line import ServiceLine

P = ParamSpec("P")
R = TypeVar("R")
log = logging.getLogger("loopwright.worker")

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0
OPERATION_S = 1800.0
"""Longest silence of a server that is asked for what takes long, such as moving a replay clock."""
MOST_SLOW = 3
"""So often a call is asked that the server took and did not answer in time: what is slow once may be so again."""


class ServerCaller:
    """Calls a server over connections that stay open.

    Args:
        url: The server's address; several on one database are separated by commas.
        token: The worker's credential.
    """

    def __init__(self, url: str, token: str) -> None:
        self._key, self._line = token, ServiceLine(token)
        self.token_digest = digest_bytes(token.encode())
        self._is_a_job = False
        self._server = VerbCaller(Addresses(url), self._line)
        self._is_down = threading.Event()

    def for_job(self, job: JobClaim) -> "ServerCaller":
        """Return a caller for one attempt at a job, which is let in only as long as that is under way."""
        caller = copy(self)
        caller._is_a_job = True
        token = job_token(self._key, job)
        caller.token_digest = digest_bytes(token.encode())
        caller._line = self._line.proving(token)
        caller._server = replace(self._server, line=caller._line)
        return caller

    def call(
        self,
        function: Callable[Concatenate[Any, P], R],
        project: str,
        should_stop: Callable[[], bool],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Call a verb or query, given as its function, until the server answers.

        While nobody listens this waits, for as long as the caller is wanted. A call that was taken and not answered in
        time is asked a few times only. A verb that is not idempotent by itself carries one key through all tries.

        Raises:
            Stopped: ``should_stop`` said so, before a try.
            Unavailable: The server takes the call and does not get done with it.
            LoopwrightError: What the server answered, rebuilt.
        """
        verb = verb_of(function)
        has_key = not (verb.is_query or verb.is_operation) and verb.surface == "public"
        key = f"worker-{os.urandom(16).hex()}" if has_key else None
        timeout_s = OPERATION_S if verb.is_operation else self._server.timeout_s

        def ask() -> R:
            answer: R = self._ask(verb.name, kwargs, project, 0.0, key, timeout_s)
            return answer

        return self._until_answered(verb.name, should_stop, ask)

    def put_blob(self, project: str, body: bytes, should_stop: Callable[[], bool]) -> BlobRef:
        """Upload bytes to a project until the server answers; raises like ``call``."""

        def put() -> BlobRef:
            answer = self._line.put(f"{self._server.servers.current}/v1/{quote(project, safe='')}/blobs", body)
            return from_json(answer, BlobRef, "blob")

        return self._until_answered("an upload", should_stop, put)

    def _until_answered(self, what: str, should_stop: Callable[[], bool], ask: Callable[[], R]) -> R:
        pause_s, slow = FIRST_PAUSE_S, 0
        while not should_stop():
            try:
                return ask()
            except Unauthenticated:
                if not self._is_a_job:
                    raise
                raise Stopped from None  # another has the job by now, or it has ended: this attempt counts no more
            except Unavailable as error:
                slow += isinstance(error.__cause__, TimeoutError)
                if slow >= MOST_SLOW:
                    raise
                if not self._is_down.is_set():
                    log.warning("%s waits for the server: %s", what, error)
                self._is_down.set()
                time.sleep(pause_s)
                pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
        raise Stopped

    def try_once(
        self,
        function: Callable[Concatenate[Any, P], R],
        project: str,
        wait_s: float,
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Call a verb or query once; the server may wait so long for an answer that is not empty.

        Raises:
            Unavailable: The server is down or does not answer in time.
            LoopwrightError: What the server answered, rebuilt.
        """
        answer: R = self._ask(verb_of(function).name, kwargs, project, wait_s, None, self._server.timeout_s)
        return answer

    def _ask(
        self, verb: str, args: dict[str, Any], project: str, wait_s: float, key: str | None, timeout_s: float
    ) -> Any:
        caller = replace(self._server.within(project).waiting(wait_s), timeout_s=timeout_s)
        answer = caller.call_named(verb, args, key=key)
        self._is_down.clear()
        return answer

    def seal(self, address: str, streams: Streams) -> None:
        """Ask one gateway to seal streams of its spool; see ``wire.gateways.seal_gateway``."""
        seal_gateway(self._line, self._key, address, streams)

    def ask_gateway(self, address: str, path: str, body: bytes, headers: dict[str, str]) -> bytes:
        """Post a document to a gateway once.

        Raises:
            Unavailable: It does not answer; where nobody listens there the cause is ``ConnectionRefusedError``.
            LoopwrightError: What it answered, rebuilt.
        """
        return self._line.post(address.rstrip("/") + path, body, headers=headers)

    def close(self) -> None:
        """Let go of the connections."""
        self._line.close()
