"""A project that was lent to a job: verbs at the server, requests at a gateway, all under the job's own token."""

import time
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec

from loopwright.kernel.clock import WallClock
from loopwright.kernel.documents import to_json
from loopwright.kernel.errors import LoopwrightError, TooBusy, Unauthenticated, Unavailable
from loopwright.serving import list_gateways
from loopwright.store.types import BlobRef
from loopwright.store.work import Stopped
from loopwright.wire.keys import new_key
from loopwright.worker.calling import ServerCaller

P = ParamSpec("P")
R = TypeVar("R")

PATIENCE_S = 60.0
"""How long a gateway that is gone may take to be back, or a new one to know the job's token."""
_PAUSE_S = 0.2


class LentProject:
    """A project in which one attempt at a job may do what editors may.

    Args:
        caller: Calls as the job.
        project: Which was lent to it.
        should_stop: Says whether the job is to stop.
    """

    def __init__(self, caller: ServerCaller, project: str, should_stop: Callable[[], bool]) -> None:
        self.project = project
        self._caller, self._should_stop = caller, should_stop
        self._gateway = ""

    def call(self, function: Callable[Concatenate[Any, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a verb, query or operation; waits while the server is down.

        Raises:
            Stopped: The job is to stop.
        """
        return self._caller.call(function, self.project, self._should_stop, *args, **kwargs)

    def put_blob(self, body: bytes) -> BlobRef:
        """Upload bytes to the project."""
        return self._caller.put_blob(self.project, body, self._should_stop)

    def ask_gateway(self, path: str, document: Any) -> Any:
        """Send a document to a path of a live gateway and return its answer.

        It is sent again, under the same key, where nobody was reached, where its answer was lost, where the gateway
        asked for patience, and where it does not know the job's token yet.

        Raises:
            Stopped: The job is to stop.
            Unavailable: No gateway answered.
        """
        headers = {"idempotency-key": new_key(WallClock().now_us())}
        body, deadline = to_json(document), time.monotonic() + PATIENCE_S
        while not self._should_stop():
            try:
                self._gateway = self._gateway or self._find_gateway()
                return msgspec.json.decode(self._caller.ask_gateway(self._gateway, path, body, headers))
            except LoopwrightError as error:
                if not isinstance(error, Unavailable | Unauthenticated | TooBusy) or time.monotonic() > deadline:
                    raise
                if isinstance(error, Unavailable):
                    self._gateway = ""
            time.sleep(_PAUSE_S)
        raise Stopped

    def _find_gateway(self) -> str:
        live = self.call(list_gateways)
        if not live:
            raise Unavailable("no gateway is live", next_step="loopwright up")
        return live[0].address
