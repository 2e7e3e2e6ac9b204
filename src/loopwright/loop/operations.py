"""What an operation may use: the parts of the server it runs in."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

from loopwright import serving
from loopwright.governance import SERVICE_ACTOR, Actor, Dispatcher
from loopwright.kernel.errors import Unavailable
from loopwright.loop.reactor import Reactor
from loopwright.store.blobs import BlobStore
from loopwright.store.tx import Tx

T = TypeVar("T")
log = logging.getLogger("loopwright.loop")

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
        """Ask every live gateway to seal its spool, so that what was answered until now can be read.

        Raises:
            Unavailable: One is there and did not.
        """
        headers = {"authorization": f"Bearer {self.service_token}"}
        # trust_env: a proxy of the user must not see the service token.
        with httpx.Client(headers=headers, timeout=SEAL_TIMEOUT_S, trust_env=False) as http:
            for gateway in self.dispatcher.read(self.project, SERVICE_ACTOR, serving.gateways):
                seal_gateway(http, gateway.address)


def seal_gateway(http: httpx.Client, address: str) -> None:
    """Ask one gateway to seal its spool. One that was killed is left out: its spool waits on its disk.

    Raises:
        Unavailable: It is there and did not, so the log is known to be incomplete.
    """
    try:
        http.post(f"{address.rstrip('/')}/internal/seal").raise_for_status()
    except httpx.HTTPError as error:
        if _is_refused(error):
            log.warning("not sealed: nobody listens at %s", address)
            return
        raise Unavailable(
            "a gateway has not sealed its spool, so its newest rows cannot be read yet",
            value=f"{address}: {error}",
            next_step="try again; loopwright logs gateway says why",
        ) from None


def _is_refused(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, ConnectionRefusedError):
        error = error.__cause__ or error.__context__
    return error is not None
