"""A small platform to back up: a few verbs' rows, a blob that a row names, one that none names, a spool."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, Dispatcher
from loopwright.kernel.clock import FixedClock
from loopwright.kernel.documents import to_builtins
from loopwright.registry import ModelFile, Signature
from loopwright.store.backups import Backup, make_backup
from loopwright.store.backups.place import BackupPlace
from loopwright.store.blobs import BlobStore
from loopwright.store.chunks import describe_chunk
from loopwright.store.engine import Database
from loopwright.store.migrate import upgrade


@dataclass
class Platform:
    """What is backed up, and where to."""

    dispatcher: Dispatcher
    blobs: BlobStore
    state_dir: Path
    place: BackupPlace
    clock: FixedClock

    @property
    def database(self) -> Database:
        return self.dispatcher.database

    def register(self, body: bytes) -> str:
        """Register a model version of one file; return the file's digest."""
        blob = self.blobs.put(body)
        files = [ModelFile("model.json", blob.digest, blob.size_bytes)]
        args = {"model": "late", "flavour": "constant", "files": files, "signature": Signature([], "binary")}
        self.dispatcher.call("registry.register", to_builtins(args), actor=SERVICE_ACTOR, project="flights")
        return blob.digest

    def spool(self, number: int, body: bytes) -> Path:
        """Write a segment of the gateway's spool."""
        folder = self.state_dir / "gateway-0" / "spool" / "flights" / "predictions" / "late"
        folder.mkdir(parents=True, exist_ok=True)
        (self.state_dir / "gateway-0" / "writer.id").write_text("gw_one")
        file = folder / f"{number:012}.log"
        file.write_bytes(body)
        return file

    def seal(self, number: int) -> None:
        """Register the chunk of a segment."""
        rows = pl.DataFrame({"prediction_id": [f"pred_{number}"], "event_at": [number]})
        file = self.state_dir / f"{number}.parquet"
        rows.write_parquet(file)
        place = {"kind": "predictions", "stream": "late", "writer": "gw_one", "seq": number}
        chunk = describe_chunk(rows, self.blobs.put_file(file), **place)
        args = {"chunks": [to_builtins(chunk)]}
        self.dispatcher.call("chunks.register", args, actor=SERVICE_ACTOR, project="flights")

    def tag(self, value: str) -> None:
        """Write one more event."""
        self.dispatcher.call("projects.create", {"name": value, "owner": "o"}, actor=LOCAL_ACTOR, project="_system")

    def back_up(self) -> Backup:
        return make_backup(self.database, self.blobs, self.state_dir, self.place, self.clock)


@pytest.fixture
def platform(dispatcher: Dispatcher, blob_store: BlobStore, wall: FixedClock, tmp_path: Path) -> Platform:
    if dispatcher.database.read(lambda connection: not connection.dialect.has_table(connection, "alembic_version")):
        upgrade(dispatcher.database)
    place = BackupPlace(str(tmp_path / "backups"), tmp_path / "copies")
    return Platform(dispatcher, blob_store, tmp_path / "state", place, wall)


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Database]:
    """A database to restore into."""
    (tmp_path / "new").mkdir()
    opened = Database(f"sqlite:///{tmp_path / 'new' / 'restored.db'}")
    yield opened
    opened.close()
