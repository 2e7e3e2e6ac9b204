"""Blobs in a folder: ``ab/abcdef…``; temp file, fsync, rename, fsync of the folder."""

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from loopwright.kernel.documents import digest_bytes
from loopwright.kernel.errors import Corrupt, NotFound, StorageFull, Unavailable
from loopwright.store.blobs.base import check_digest
from loopwright.store.types import BlobRef

_BLOCK = 1 << 20


class LocalBlobStore:
    """A folder of immutable files."""

    def __init__(self, url: str, cache: Path | None = None) -> None:
        self.url = url
        self.root = Path(url.removeprefix("file://"))

    def put(self, body: bytes) -> BlobRef:
        """Store bytes durably and return their name."""
        ref = BlobRef(digest_bytes(body), len(body))
        return ref if self._holds(ref) else self._write([body], ref.digest)

    def put_file(self, path: Path) -> BlobRef:
        """Store the content of a file durably and return its name."""
        with path.open("rb") as source:
            ref = BlobRef(hashlib.file_digest(source, "sha256").hexdigest(), source.tell())
        if self._holds(ref):
            return ref
        with path.open("rb") as source:  # named by the bytes that are written: the file may change meanwhile
            return self._write(iter(lambda: source.read(_BLOCK), b""), ref.digest)

    def get(self, digest: str) -> bytes:
        """Return the bytes after checking them against their name."""
        try:
            body = self._place(digest).read_bytes()
        except FileNotFoundError:
            raise NotFound("this blob is not stored here", field="digest", value=digest) from None
        if digest_bytes(body) != digest:
            raise Corrupt("a stored blob has changed", field="digest", value=digest, next_step="restore it from a copy")
        return body

    def path(self, digest: str) -> Path:
        """Return the file of a blob."""
        place = self._place(digest)
        if not place.exists():
            raise NotFound("this blob is not stored here", field="digest", value=digest)
        return place

    def has(self, digest: str) -> bool:
        """Say whether the blob is there."""
        return self._place(digest).exists()

    def digests(self) -> Iterator[str]:
        """Yield the name of every blob."""
        if self.root.exists():
            yield from (file.name for file in sorted(self.root.glob("??/*")) if not file.name.startswith("."))

    def delete(self, digest: str) -> None:
        """Remove a blob."""
        self._place(digest).unlink(missing_ok=True)

    def _place(self, digest: str) -> Path:
        return self.root / check_digest(digest)[:2] / digest

    def _holds(self, ref: BlobRef) -> bool:
        try:
            return self._place(ref.digest).stat().st_size == ref.size_bytes
        except OSError:
            return False

    def _write(self, blocks: "list[bytes] | Iterator[bytes]", expected: str) -> BlobRef:
        """Write blocks under the digest they turn out to have; ``expected`` says in which folder to begin."""
        folder = self.root / expected[:2]
        try:
            self._make_folder(folder)
            handle, name = tempfile.mkstemp(prefix=".", dir=folder)
        except OSError as error:
            raise _translate(error, self.root) from None
        try:
            digest = hashlib.sha256()
            with os.fdopen(handle, "wb") as file:
                for block in blocks:
                    digest.update(block)
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())
                ref = BlobRef(digest.hexdigest(), file.tell())
            place = self._place(ref.digest)
            self._make_folder(place.parent)
            Path(name).replace(place)
            sync_folder(place.parent)
        except OSError as error:
            Path(name).unlink(missing_ok=True)
            raise _translate(error, self.root) from None
        return ref

    def _make_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            sync_folder(self.root)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, so that a rename survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _translate(error: OSError, root: Path) -> Exception:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull("the disk is full; nothing was written", value=str(root), next_step="free space and repeat")
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return Unavailable("this folder cannot be written", value=str(root), next_step="check owner and permissions")
    return Unavailable("this folder cannot be used", value=f"{root}: {error.strerror}", next_step="loopwright doctor")
