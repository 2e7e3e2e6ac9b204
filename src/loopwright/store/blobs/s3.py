"""Blobs in an object store (S3, Google Cloud Storage, Azure) through obstore, with a local copy on first read."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from loopwright.kernel.documents import digest_bytes
from loopwright.kernel.errors import Corrupt, NotFound, Unavailable
from loopwright.store.blobs.base import check_digest
from loopwright.store.blobs.local import LocalBlobStore
from loopwright.store.types import BlobRef


class ObjectBlobStore:
    """A bucket prefix of immutable objects; credentials come from the provider's usual environment."""

    def __init__(self, url: str, cache: Path | None = None) -> None:
        from obstore.store import from_url

        self.url = url
        with self._answering():
            is_s3 = url.startswith("s3://")  # others than Amazon's may speak plain HTTP inside a network
            self._objects = from_url(url, client_options={"allow_http": True}) if is_s3 else from_url(url)
        self._copies = LocalBlobStore(str(cache or Path(tempfile.mkdtemp(prefix="loopwright-blobs-"))))

    def put(self, body: bytes) -> BlobRef:
        """Store bytes durably and return their name."""
        ref = BlobRef(digest_bytes(body), len(body))
        if not self.has(ref.digest):
            with self._answering():
                self._objects.put(_key(ref.digest), body)
        return ref

    def put_file(self, path: Path) -> BlobRef:
        """Store the content of a file durably and return its name."""
        ref = self._copies.put_file(path)
        if not self.has(ref.digest):
            with self._answering():
                self._objects.put(_key(ref.digest), self._copies.path(ref.digest))
        return ref

    def get(self, digest: str) -> bytes:
        """Return the bytes after checking them against their name; a local copy that has changed is fetched anew."""
        if self._copies.has(digest):
            try:
                return self._copies.get(digest)
            except Corrupt:
                self._copies.delete(digest)
        try:
            with self._answering(may_miss=True):
                body = bytes(self._objects.get(_key(digest)).bytes())
        except FileNotFoundError:
            raise NotFound("this blob is not stored here", field="digest", value=digest) from None
        if digest_bytes(body) != digest:
            raise Corrupt("a stored blob has changed", field="digest", value=digest, next_step="restore it from a copy")
        self._copies.put(body)
        return body

    def path(self, digest: str) -> Path:
        """Return a local copy of a blob."""
        if not self._copies.has(digest):
            self.get(digest)
        return self._copies.path(digest)

    def has(self, digest: str) -> bool:
        """Say whether the blob is there."""
        try:
            with self._answering(may_miss=True):
                self._objects.head(_key(digest))
        except FileNotFoundError:
            return False
        return True

    def digests(self) -> Iterator[str]:
        """Yield the name of every blob."""
        with self._answering():
            for page in self._objects.list():
                yield from (str(item["path"]).rsplit("/", 1)[-1] for item in page)

    def delete(self, digest: str) -> None:
        """Remove a blob."""
        with contextlib.suppress(FileNotFoundError), self._answering(may_miss=True):
            self._objects.delete(_key(digest))
        self._copies.delete(digest)

    @contextlib.contextmanager
    def _answering(self, *, may_miss: bool = False) -> Iterator[None]:
        """Turn a provider's errors into ours, except, where asked, that an object is missing."""
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            if may_miss and isinstance(error, FileNotFoundError):
                raise
            raise Unavailable(
                "the blob store did not answer",
                field="blobs_url",
                value=f"{self.url}: {str(error).strip().splitlines()[0]}",
                next_step="check LOOPWRIGHT_BLOBS and its credentials; loopwright doctor",
            ) from None


def _key(digest: str) -> str:
    return f"{check_digest(digest)[:2]}/{digest}"
