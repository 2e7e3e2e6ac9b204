"""What an operation may use: the parts of the server it runs in."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

from loopwright import serving
from loopwright.governance import SERVICE_ACTOR, Actor, Checkpoints, Dispatcher
from loopwright.kernel.errors import Unavailable
from loopwright.kernel.events import Facts
from loopwright.kernel.verbs import verb_of
from loopwright.loop.engine.reactor import Reactor
from loopwright.store.blobs import BlobStore
from loopwright.store.tx import Tx
from loopwright.store.types import EVERY_STREAM, Streams
from loopwright.wire.credentials import worker_token
from loopwright.wire.gateways import seal_gateway
from loopwright.wire.line import ServiceLine

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")
log = logging.getLogger("loopwright.loop")

SEAL_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class OperationContext:
    """Dispatcher, blobs, reactor and the commit signal of one server, for one project and one caller.

    ``wait(seen, seconds)`` blocks until a commit after number ``seen`` and returns the number of the newest.
    ``state_dir`` is the server's state folder, ``checkpoints`` are those of its event log, None where it has none.
    ``note_read`` tells of what it hands out of a ref, where the trail is to name who read it.
    """

    dispatcher: Dispatcher
    blobs: BlobStore
    reactor: Reactor
    wait: Callable[[int, float], int]
    service_token: str
    project: str
    actor: Actor
    state_dir: Path | None = None
    checkpoints: Checkpoints | None = None
    note_read: Callable[[Facts, str], None] = lambda facts, ref: None

    def read(self, work: Callable[[Tx], T]) -> T:
        """Run queries on one snapshot."""
        found: T = self.dispatcher.read(self.project, self.actor, work)
        return found

    @overload
    def call(self, function: Callable[Concatenate[Tx, P], R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...

    @overload
    def call(self, function: str, /, **args: Any) -> Any: ...

    def call(self, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a verb as the caller, given as its function."""
        name = function if isinstance(function, str) else verb_of(function).name
        return self.dispatcher.call(name, kwargs, actor=self.actor, project=self.project)

    def seal(self, streams: Streams = EVERY_STREAM) -> None:
        """Ask every live gateway to seal streams of its spool, so that what it took until now can be read.

        One that was killed is left out, for somebody waits for the answer: its spool waits on its disk.

        Raises:
            Unavailable: One is there and did not.
        """
        line, key = ServiceLine(), worker_token(self.service_token)
        try:
            for gateway in self.dispatcher.read(self.project, SERVICE_ACTOR, serving.list_gateways):
                self._seal(line, key, gateway.address, streams)
        finally:
            line.close()

    @staticmethod
    def _seal(line: ServiceLine, key: str, address: str, streams: Streams) -> None:
        try:
            seal_gateway(line, key, address, streams, timeout_s=SEAL_TIMEOUT_S)
        except Unavailable as error:
            if not isinstance(error.__cause__, ConnectionRefusedError):
                raise
            log.warning("not sealed: nobody listens at %s", address)
