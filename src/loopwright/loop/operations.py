"""What an operation may use: the parts of the server it runs in."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

from loopwright import serving
from loopwright.governance import SERVICE_ACTOR, Actor, Dispatcher
from loopwright.loop.reactor import Reactor
from loopwright.store.blobs import BlobStore
from loopwright.store.tx import Tx

T = TypeVar("T")

SEAL_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class OperationContext:
    """Dispatcher, blobs, reactor and the commit signal of one server, for one project and one caller.

    ``wait(seen, seconds)`` blocks until a commit after number ``seen`` and returns the number of the newest.
    """

    dispatcher: Dispatcher
    blobs: BlobStore
    reactor: Reactor
    wait: Callable[[int, float], int]
    service_token: str
    project: str
    actor: Actor

    def read(self, work: Callable[[Tx], T]) -> T:
        """Run queries on one snapshot."""
        found: T = self.dispatcher.read(self.project, self.actor, work)
        return found

    def call(self, verb: str, **args: Any) -> Any:
        """Call a verb as the caller."""
        return self.dispatcher.call(verb, args, actor=self.actor, project=self.project)

    def seal(self) -> None:
        """Ask every live gateway to seal its spool, so that what was answered until now can be read."""
        headers = {"authorization": f"Bearer {self.service_token}"}
        for gateway in self.dispatcher.read(self.project, SERVICE_ACTOR, serving.gateways):
            with contextlib.suppress(httpx.HTTPError):  # a gateway that is down keeps its spool until it is back
                httpx.post(f"{gateway.address}/internal/seal", headers=headers, timeout=SEAL_TIMEOUT_S)
