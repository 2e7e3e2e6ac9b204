"""The contract of a blob store and the choice of one by URL."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from loopwright.kernel.digests import LETTERS
from loopwright.kernel.errors import InvalidInput, NotFound
from loopwright.kernel.plugins import add_built_in, load_plugin
from loopwright.store.types import BlobRef

DIGEST = re.compile(r"^[0-9a-f]{64}\Z")

add_built_in(
    "blob_stores",
    {
        "file": "loopwright.store.blobs.local:LocalBlobStore",
        "s3": "loopwright.store.blobs.s3:ObjectBlobStore",
        "gs": "loopwright.store.blobs.s3:ObjectBlobStore",
        "az": "loopwright.store.blobs.s3:ObjectBlobStore",
        "memory": "loopwright.store.blobs.s3:ObjectBlobStore",
    },
)


class BlobStore(Protocol):
    """Stores bytes under their digest. Putting the same bytes twice is one blob.

    Whoever names a blob in a row puts it first, also if it may be there already, and names it within hours: what was
    put is not swept for that long (``store.garbage``).
    """

    url: str

    def put(self, body: bytes) -> BlobRef:
        """Store bytes durably and return their name."""
        ...

    def put_file(self, path: Path) -> BlobRef:
        """Store the content of a file durably and return its name."""
        ...

    def get(self, digest: str) -> bytes:
        """Return the bytes.

        Raises:
            NotFound: No such blob.
            Corrupt: The stored bytes have another digest.
        """
        ...

    def path(self, digest: str) -> Path:
        """Return a local file with the bytes; remote stores keep a copy on disk."""
        ...

    def has(self, digest: str) -> bool:
        """Say whether the blob is there."""
        ...

    def digests(self) -> Iterator[str]:
        """Yield the name of every blob."""
        ...

    def delete(self, digest: str) -> None:
        """Remove a blob; removing a missing one is no error."""
        ...

    def inventory(self) -> Iterator[BlobRef]:
        """Yield name and size of every blob."""
        ...

    def sweep(self, digests: Iterable[str], before_us: int) -> list[BlobRef]:
        """Remove those of some blobs that nobody has put since a moment, and return them.

        A put of the same bytes before, beside or after this call leaves them stored; how, each store says.

        Args:
            digests: Which.
            before_us: Wall time, microseconds UTC; at least an hour ago.
        """
        ...

    def sweep_drafts(self, before_us: int) -> int:
        """Remove what writers that were killed left half written before a moment; return its bytes."""
        ...


def check_digest(digest: str) -> str:
    """Return the digest if it is 64 hexadecimal letters.

    Raises:
        InvalidInput: It is anything else, for example a path.
    """
    if not DIGEST.match(digest):
        raise InvalidInput("this is not a digest", field="digest", value=digest, rule=LETTERS)
    return digest


def not_stored(digest: str) -> NotFound:
    """Return the error for a blob that a row names and no store holds."""
    step = "loopwright verify names all that is lost; a backup of before may hold it"
    return NotFound("this blob is not stored here", field="digest", value=digest, next_step=step)


def try_out(store: BlobStore) -> None:
    """Store a blob, read it and remove it.

    Raises:
        LoopwrightError: It did not go well; so do a provider's own errors.
    """
    ref = store.put(b"tried out " + os.urandom(16))  # of its own: another process may do so now
    store.get(ref.digest)
    store.delete(ref.digest)


def open_blob_store(url: str, cache: Path | None = None) -> BlobStore:
    """Open a store by URL: a folder, ``file:///folder``, ``s3://bucket/prefix``, ``gs://…`` or ``az://…``.

    Args:
        url: Where the blobs are.
        cache: Folder for local copies of remote blobs.
    """
    scheme, separator, _ = url.partition("://")
    if not separator:
        scheme = "file"
    store: BlobStore = load_plugin("blob_stores", scheme)(url, cache)
    return store
