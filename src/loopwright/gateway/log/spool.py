"""The spool: what was answered is in an append-only file before the answer leaves.

The kernel holds what one ``write()`` took, so rows survive the death of the process; ``fdatasync`` follows in 50 ms.
"""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from loopwright.gateway.log.batches import Batch, StreamKey
from loopwright.gateway.log.segments import Stream, is_own, translate
from loopwright.kernel.errors import StorageFull, Unavailable
from loopwright.store.streams import STREAMS

log = logging.getLogger("loopwright.gateway")
SYNC_EVERY_S = 0.05
_PROBE_NAME, _PROBE = ".probe", bytes(1 << 16)


class Spool:
    """Every stream of one gateway.

    Args:
        root: Folder of the streams; what is there already is recovered.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise translate(error, root) from None
        self.streams: dict[StreamKey, Stream] = {}
        self.failure = ""
        self._appended = 0
        self._dirty: dict[Stream, None] = {}
        self._state, self._files = threading.Lock(), threading.Lock()
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._waiting: list[tuple[int, Callable[[Exception | None], None]]] = []
        for folder in sorted(root.glob("*/*/*")):
            if _is_stream(folder):
                self.streams[StreamKey(*folder.relative_to(root).parts)] = Stream(folder)
        self._thread = threading.Thread(target=self._sync_loop, name="spool-sync", daemon=True)
        self._thread.start()

    def append(self, key: StreamKey, batches: Sequence[Batch]) -> int:
        """Write batches to a stream and return the ticket to wait for with ``when_durable``."""
        try:
            stream = self._stream(key)
            stream.append(batches)
        except (StorageFull, Unavailable) as error:
            self.failure = str(error)
            raise
        with self._state:
            self._dirty[stream] = None
            self._appended += 1
            ticket = self._appended
        self._wake.set()
        return ticket

    def _stream(self, key: StreamKey) -> Stream:
        stream = self.streams.get(key)
        if stream is None:
            try:
                stream = self.streams[key] = Stream(self.root.joinpath(*key))
            except OSError as error:
                raise translate(error, self.root) from None
        return stream

    def probe(self) -> None:
        """Find out whether rows could be written now; ``failure`` says why not, and is empty where they could."""
        path = self.root / _PROBE_NAME
        try:
            try:
                with path.open("wb") as file:
                    file.write(_PROBE)
                    file.flush()
                    os.fdatasync(file.fileno())
            finally:
                path.unlink(missing_ok=True)
        except OSError as error:
            self.failure = str(translate(error, self.root))
        else:
            self.failure = ""

    def when_durable(self, ticket: int, then: Callable[[Exception | None], None]) -> None:
        """Call ``then`` (in another thread) once the ticket's rows are on the disk, with the error if they are not."""
        with self._state:
            self._waiting.append((ticket, then))
        self._wake.set()

    def roll(self, key: StreamKey) -> None:
        """Start the next segment of a stream; the one before is on the disk then."""
        stream = self.streams[key]
        with self._files:
            stream.flush_closed()  # where the disk does not confirm it, no more segments are begun
            stream.roll()
            stream.flush()

    def let_go(self, stream: Stream, number: int) -> None:
        """Delete a segment whose rows are elsewhere; the name of the next one is on the disk before.

        Else a power cut could leave the stream without any, and it would count from one again.
        """
        with self._files:
            stream.flush_entries()
        stream.path(number).unlink()

    @property
    def size_bytes(self) -> int:
        """Bytes in the open segments; the closed ones are being sealed."""
        return sum(stream.size for stream in list(self.streams.values()))

    @property
    def kept_aside(self) -> list[str]:
        """Segments that need a person, by their path below the root."""
        return sorted(str(path.relative_to(self.root)) for path in self.root.glob("*/*/*/*.bad"))

    @property
    def strangers(self) -> list[str]:
        """What lies in the spool and is none of its own, by path below the root; it is left alone."""
        inside = [*self.root.glob("*"), *self.root.glob("*/*"), *self.root.glob("*/*/*")]
        found = [path for path in inside if path.is_file() and path.name != _PROBE_NAME]
        folders = [path for path in self.root.glob("*/*/*") if path.is_dir()]
        found += [folder for folder in folders if not _is_stream(folder)]
        for folder in filter(_is_stream, folders):
            found += [path for path in folder.iterdir() if not is_own(path)]
        return sorted(str(path.relative_to(self.root)) for path in found)

    def close(self) -> None:
        """Flush and let go of the files."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(timeout=5)
        self._sync()
        for stream in self.streams.values():
            stream.close()

    def _sync_loop(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait()
            self._wake.clear()
            if not self._waiting:
                self._stopping.wait(SYNC_EVERY_S)
            self._sync()

    def _sync(self) -> None:
        with self._state:
            ticket = self._appended
            dirty, self._dirty = self._dirty, {}
        failure: Exception | None = None
        for stream in dirty:
            try:
                with self._files:
                    stream.flush()
            except OSError as error:
                log.error("the spool cannot be flushed: %s", error)
                failure = Unavailable("the disk did not confirm the write", value=error.strerror)
                self._dirty[stream] = None  # who asks only now for what it appended before must not be told it is safe
        with self._state:
            due = [then for number, then in self._waiting if number <= ticket]
            self._waiting = [item for item in self._waiting if item[0] > ticket]
        for then in due:
            then(failure)


def _is_stream(folder: Path) -> bool:
    return folder.is_dir() and folder.parent.name in STREAMS
