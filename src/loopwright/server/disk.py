"""Where a server stores: that its disk runs full is told while there is room, and a blob store that is none at all."""

import logging
import shutil
import socket
from pathlib import Path

from loopwright.config import Settings, files_of_platform
from loopwright.kernel.clock import MINUTE_US, Clock
from loopwright.kernel.errors import LoopwrightError
from loopwright.store import sql
from loopwright.store.blobs import BlobStore, try_out
from loopwright.store.engine import Connection, Database
from loopwright.store.types import BLOB_STORE, LowDisk

LEAST_FREE_BYTES, LEAST_FREE_SHARE = 2 << 30, 0.05
"""Less than a twentieth of the disk, on a large one less than this, is hardly any room."""
TOLD_EVERY_US = MINUTE_US

log = logging.getLogger("loopwright.disk")


def disks_of(settings: Settings) -> list[Path]:
    """Return a folder on each disk that the platform writes to here, that of the state folder first."""
    found: dict[int, Path] = {}
    for place in (settings.state_dir, *files_of_platform(settings)):
        folder = next(part for part in (place, *place.parents) if part.is_dir())
        found.setdefault(folder.stat().st_dev, folder)
    return list(found.values())


class DiskWatch:
    """Looks how much room there is, and tells the database when it is little. While there is enough it writes nothing.

    Args:
        folder: On the disk.
        database: What is told.
        wall: Wall time.
    """

    def __init__(self, folder: Path, database: Database, wall: Clock) -> None:
        self._folder, self._database, self._wall = folder, database, wall
        self._disk = f"{socket.gethostname()}:{folder.resolve()}"
        self._told: LowDisk | None = None
        self._has_looked = False

    def look(self) -> None:
        """Look, and tell what has changed."""
        if self._database.failure:
            self._probe()
        now_us, message, told = self._wall.now_us(), self._message(), self._told
        if message:
            if told is None or told.message != message or now_us - told.heard_at >= TOLD_EVERY_US:
                low = LowDisk(self._disk, message, told.since if told else now_us, now_us)
                self._database.write(lambda connection: sql.upsert_low_disk(connection, low))
                self._told = low
        elif told is not None or not self._has_looked:  # a server before this one may have told of it
            self._database.write(lambda connection: sql.delete_low_disk(connection, self._disk))
            self._told = None
        self._has_looked = True

    def _probe(self) -> None:
        """Write a row and take it back, to find out whether the database can be written again."""
        now_us = self._wall.now_us()

        def work(connection: Connection) -> None:
            sql.upsert_low_disk(connection, LowDisk(self._disk, "", now_us, now_us))
            sql.delete_low_disk(connection, self._disk)

        self._database.probe(work)
        self._has_looked, self._told = False, None

    def _message(self) -> str:
        usage = shutil.disk_usage(self._folder)
        if usage.free >= min(LEAST_FREE_BYTES, usage.total * LEAST_FREE_SHARE):
            return ""
        gigabytes = f"{usage.free / 1e9:.1f} of {usage.total / 1e9:,.0f} GB"
        return f"the disk of {self._folder} on {socket.gethostname()} has {gigabytes} left"


class BlobWatch:
    """Tries the blob store, and as long as it cannot be used tells the database so; the log hears of each change.

    Args:
        blobs: The store.
        url: Where it is.
        database: What is told.
        wall: Wall time.
    """

    def __init__(self, blobs: BlobStore, url: str, database: Database, wall: Clock) -> None:
        self._blobs, self._url, self._database, self._wall = blobs, url, database, wall
        self._disk = f"{socket.gethostname()}:{BLOB_STORE}{url}"
        self._since = 0
        self._has_looked = False

    def look(self) -> bool:
        """Say whether the store can be used."""
        try:
            try_out(self._blobs)
        except (LoopwrightError, OSError) as error:
            now_us = self._wall.now_us()
            if not self._since:
                log.error("the blob store %s cannot be used: %s", self._url, error)
                self._since = now_us
            low = LowDisk(self._disk, f"the blob store {self._url} cannot be used", self._since, now_us)
            self._database.write(lambda connection: sql.upsert_low_disk(connection, low))
            return False
        if self._since or not self._has_looked:  # a server before this one may have told of it
            self._database.write(lambda connection: sql.delete_low_disk(connection, self._disk))
        if self._since:
            log.warning("the blob store %s can be used again", self._url)
        self._since, self._has_looked = 0, True
        return True
