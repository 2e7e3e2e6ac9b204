"""What every route of one server shares."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

from anyio import CapacityLimiter

from loopwright.config import Settings
from loopwright.governance import Checkpoints, Dispatcher
from loopwright.loop import Reactor
from loopwright.server.auth import Gatekeeper
from loopwright.server.denials import Denials
from loopwright.server.mailbox import Mailbox
from loopwright.server.metrics import ServerMetrics
from loopwright.server.readers import Readers
from loopwright.server.reads import BlobReads
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
    blob_reads: BlobReads
    metrics: ServerMetrics = field(default_factory=ServerMetrics)
    operation_limits: dict[str, CapacityLimiter] = field(default_factory=dict)
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
