"""Blobs in a folder: ``ab/abcdef…``; temp file, fsync, rename, fsync of the folder.

The time of a file is when its bytes were last put. Putting them again sets it, and a sweep removes only files that are
old: both hold a lock of the folder for that moment, so that a put either finds the file and makes it young, or finds
none and writes it. What is removed lies in the folder itself: one that is a link to elsewhere holds nothing of ours.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from loopwright.kernel.documents import digest_bytes
from loopwright.kernel.errors import Corrupt
from loopwright.store.blobs.base import DIGEST, check_digest, not_stored
from loopwright.store.types import BlobRef
from loopwright.store.unwritable import unwritable

_BLOCK = 1 << 20
_LOCK = ".sweeping"
_SWEPT_AT_ONCE = 64
"""Files that are removed under one hold of the lock: writers wait no longer than that takes."""


class LocalBlobStore:
    """A folder of immutable files."""

    def __init__(self, url: str, cache: Path | None = None) -> None:
        self.url = url
        self.root = Path(url.removeprefix("file://"))

    def put(self, body: bytes) -> BlobRef:
        """Store bytes durably and return their name."""
        ref = BlobRef(digest_bytes(body), len(body))
        return ref if self.renew(ref.digest, ref.size_bytes) else self._write([body], ref.digest)

    def put_file(self, path: Path) -> BlobRef:
        """Store the content of a file durably and return its name."""
        with path.open("rb") as source:
            ref = BlobRef(hashlib.file_digest(source, "sha256").hexdigest(), source.tell())
        if self.renew(ref.digest, ref.size_bytes):
            return ref
        with path.open("rb") as source:  # named by the bytes that are written: the file may change meanwhile
            return self._write(iter(lambda: source.read(_BLOCK), b""), ref.digest)

    def get(self, digest: str) -> bytes:
        """Return the bytes after checking them against their name."""
        try:
            body = self._place(digest).read_bytes()
        except FileNotFoundError:
            raise not_stored(digest) from None
        if digest_bytes(body) != digest:
            raise Corrupt("a stored blob has changed", field="digest", value=digest, next_step="restore it from a copy")
        return body

    def path(self, digest: str) -> Path:
        """Return the file of a blob."""
        place = self._place(digest)
        if not place.exists():
            raise not_stored(digest)
        return place

    def has(self, digest: str) -> bool:
        """Say whether the blob is there."""
        return self._place(digest).exists()

    def renew(self, digest: str, size_bytes: int | None = None) -> bool:
        """Make a blob as young as if it were put now; False if it is not stored, or has another size."""
        path = self._place(digest)
        try:
            if size_bytes is not None and path.stat().st_size != size_bytes:
                return False
            with self._locked(fcntl.LOCK_SH):
                os.utime(path)
        except OSError:
            return False  # it is gone, or this folder is not ours: writing it says which
        return True

    def digests(self) -> Iterator[str]:
        """Yield the name of every blob."""
        return (ref.digest for ref in self.inventory())

    def inventory(self) -> Iterator[BlobRef]:
        """Yield name and size of every blob."""
        for entry in self._files():
            if DIGEST.match(entry.name):
                with contextlib.suppress(FileNotFoundError):
                    yield BlobRef(entry.name, entry.stat().st_size)

    def delete(self, digest: str) -> None:
        """Remove a blob."""
        place = self._place(digest)
        with contextlib.suppress(FileNotFoundError), _opened(place.parent) as folder:
            os.unlink(place.name, dir_fd=folder)

    def sweep(self, digests: Iterable[str], before_us: int) -> list[BlobRef]:
        """Remove those of some blobs that nobody has put since a moment, and return them."""
        asked = list(digests) if self.root.is_dir() else []
        parts = (asked[begin : begin + _SWEPT_AT_ONCE] for begin in range(0, len(asked), _SWEPT_AT_ONCE))
        return [ref for part in parts for ref in self._sweep(part, before_us)]

    def _sweep(self, digests: list[str], before_us: int) -> list[BlobRef]:
        with self._locked(fcntl.LOCK_EX):
            removed = [(digest, _remove_old(self._place(digest), before_us)) for digest in digests]
        return [BlobRef(digest, size_bytes) for digest, size_bytes in removed if size_bytes is not None]

    def sweep_drafts(self, before_us: int) -> int:
        """Remove what writers that were killed left half written before a moment; return its bytes."""
        drafts = [Path(entry.path) for entry in self._files() if entry.name.startswith(".")]
        return sum(_remove_old(draft, before_us) or 0 for draft in drafts)

    def _files(self) -> Iterator["os.DirEntry[str]"]:
        for folder in sorted(self.root.glob("??")):
            if folder.is_symlink():
                continue
            with os.scandir(folder) as entries:
                yield from sorted(entries, key=lambda entry: entry.name)

    def _place(self, digest: str) -> Path:
        return self.root / check_digest(digest)[:2] / digest

    @contextlib.contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        """Hold the folder's lock: shared to put, exclusive to sweep. A process that dies lets go of it."""
        handle = os.open(self.root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, how)
            yield
        finally:
            os.close(handle)

    def _write(self, blocks: "list[bytes] | Iterator[bytes]", expected: str) -> BlobRef:
        """Write blocks under the digest they turn out to have; ``expected`` says in which folder to begin."""
        folder = self.root / expected[:2]
        try:
            self._make_folder(folder)
            handle, name = tempfile.mkstemp(prefix=".", dir=folder)
        except OSError as error:
            raise unwritable(error, self.root) from None
        try:
            digest = hashlib.sha256()
            with os.fdopen(handle, "wb") as file:
                for block in blocks:
                    digest.update(block)
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())
                ref = BlobRef(digest.hexdigest(), file.tell())
            path = self._place(ref.digest)
            self._make_folder(path.parent)
            with self._locked(fcntl.LOCK_SH):
                Path(name).replace(path)
            sync_folder(path.parent)
        except OSError as error:
            Path(name).unlink(missing_ok=True)
            raise unwritable(error, self.root) from None
        return ref

    def _make_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            sync_folder(self.root)


def _remove_old(file: Path, before_us: int) -> int | None:
    """Remove a file that was not written since a moment; return its bytes, None if it stays or is gone."""
    try:
        with _opened(file.parent) as folder:
            state = os.stat(file.name, dir_fd=folder, follow_symlinks=False)
            if state.st_mtime_ns // 1000 >= before_us:
                return None
            os.unlink(file.name, dir_fd=folder)
    except FileNotFoundError:
        return None
    return state.st_size


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """Hold a folder open to remove something from it; none is there where it is a link."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except NotADirectoryError:  # a link among them
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder)) from None
    try:
        yield handle
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, so that a rename survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
