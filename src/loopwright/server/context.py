"""What every route of one server shares."""

from dataclasses import dataclass, field

from loopwright.config import Settings
from loopwright.governance import Dispatcher
from loopwright.loop import Reactor
from loopwright.server.auth import Gatekeeper
from loopwright.server.metrics import ServerMetrics
from loopwright.server.signal import CommitSignal
from loopwright.store.blobs import BlobStore
from loopwright.store.engine import Database


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
    metrics: ServerMetrics = field(default_factory=ServerMetrics)
    is_stopping: bool = field(default=False)

    def stop_waiting(self) -> None:
        """Answer every call that waits for news, and take no more such calls."""
        self.is_stopping = True
        self.signal.announce_end()
