"""What every route of one server shares."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from weakref import WeakValueDictionary

from anyio import CapacityLimiter

from loopwright.config import Settings
from loopwright.governance import Actor, Checkpoints, Dispatcher
from loopwright.kernel.errors import Unauthenticated
from loopwright.loop import Reactor
from loopwright.server.auth import Gatekeeper
from loopwright.server.auth.identity import Client
from loopwright.server.denials import Denials
from loopwright.server.mailbox import Mailbox
from loopwright.server.metrics import ServerMetrics
from loopwright.server.readers import Readers
from loopwright.server.reads import NotedReads
from loopwright.server.signal import CommitSignal
from loopwright.store.blobs import BlobStore
from loopwright.store.engine import Database
from loopwright.store.postgres import MOST_WRITING


@dataclass
class ServerContext:
    """Database, dispatcher, blobs and background parts of one server process."""

    settings: Settings
    database: Database
    dispatcher: Dispatcher
    blobs: BlobStore
    signal: CommitSignal
    gatekeeper: Gatekeeper
    reactor: Reactor
    denials: Denials
    checkpoints: Checkpoints
    noted_reads: NotedReads
    metrics: ServerMetrics = field(default_factory=ServerMetrics)
    operation_limits: WeakValueDictionary[str, CapacityLimiter] = field(default_factory=WeakValueDictionary)
    """By project, of those in which an operation runs or waits: whoever calls may name any number of projects."""
    large_bodies: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(2))
    """Threads that read what would hold up the event loop."""
    is_stopping: bool = field(default=False)

    @cached_property
    def mailbox(self) -> Mailbox:
        """Where other threads leave answers for the event loop, which asks for it first."""
        return Mailbox(asyncio.get_running_loop())

    @cached_property
    def readers(self) -> Readers:
        """Who answers queries; those of PostgreSQL wait for it, so more threads may."""
        is_sqlite = self.database.is_sqlite
        return Readers(self.mailbox, steady=1 if is_sqlite else 4, most=8, may_answer_at_once=is_sqlite)

    @cached_property
    def writers(self) -> ThreadPoolExecutor:
        """The threads that call verbs on PostgreSQL, as many as it has connections for."""
        return ThreadPoolExecutor(MOST_WRITING, "loopwright-writer")

    async def find_actor(
        self, method: str, headers: Mapping[str, str], client: Client, what: str, project: str
    ) -> Actor:
        """Return who asks for something in a project; of a stranger whom nobody lets in there is an event.

        Raises:
            Unauthenticated: Nobody is let in.
        """
        try:
            return await self.gatekeeper.find(method, headers, client)
        except Unauthenticated as error:
            if error.field != "job":  # that is the platform's own, a moment after its attempt has ended
                await self.denials.tell_of_stranger(client, what, project)
            raise

    def stop_waiting(self) -> None:
        """Answer every call that waits for news, and take no more such calls."""
        self.is_stopping = True
        self.signal.announce_end()

    def close(self) -> None:
        """End the threads and let go of the database."""
        if "readers" in vars(self):
            self.readers.close()
        self.writers.shutdown(cancel_futures=True)
        self.database.close()
