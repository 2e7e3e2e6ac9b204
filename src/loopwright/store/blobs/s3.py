"""Blobs in an object store (S3, Google Cloud Storage, Azure) through obstore, with a local copy on first read.

A key is written once and never again, because no provider removes an object *only if nobody wrote it meanwhile*. Bytes
that are put while their object is old, and so may be about to be swept, are written again beside it, as
``ab/abcdef….again/<nonce>``. A sweep removes keys that are old; one that was written
meanwhile has another name, and stays.
"""

import contextlib
import re
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from loopwright.kernel.clock import DAY_US, HOUR_US, SECOND_US, WallClock
from loopwright.kernel.documents import digest_bytes
from loopwright.kernel.errors import Corrupt, Unavailable
from loopwright.store.blobs.base import DIGEST, check_digest, not_stored
from loopwright.store.blobs.local import LocalBlobStore
from loopwright.store.types import BlobRef

if TYPE_CHECKING:
    from obstore import ObjectMeta

_ADDRESS = re.compile(r"https?://[^/\s]+")
_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound")
_AGAIN = ".again"
_COPIES_KEPT_US = DAY_US
"""How long a local copy stays that nobody asks for; whoever reads its file has begun long before."""
_YOUNG_US = HOUR_US
"""An object that is younger than that is not written again when its bytes are put; no sweep may remove such a one."""


class ObjectBlobStore:
    """A bucket prefix of immutable objects; credentials come from the provider's usual environment."""

    def __init__(self, url: str, cache: Path | None = None) -> None:
        from obstore.store import from_url

        self.url = url
        with self._answering():
            is_s3 = url.startswith("s3://")  # others than Amazon's may speak plain HTTP inside a network
            self._objects = from_url(url, client_options={"allow_http": True}) if is_s3 else from_url(url)
        self._trimmed_at = WallClock().now_us()
        self._copies = LocalBlobStore(str(cache or Path(tempfile.mkdtemp(prefix="loopwright-blobs-"))))

    def put(self, body: bytes) -> BlobRef:
        """Store bytes durably and return their name."""
        ref = BlobRef(digest_bytes(body), len(body))
        self._upload(ref.digest, body)
        return ref

    def put_file(self, path: Path) -> BlobRef:
        """Store the content of a file durably and return its name."""
        ref = self._copies.put_file(path)
        self._upload(ref.digest, self._copies.path(ref.digest))
        return ref

    def _upload(self, digest: str, body: bytes | Path) -> None:
        """Write an object, unless there is one that no sweep removes before its writer names it."""
        key = _key(digest)
        if (first := self._look_at(key)) is not None:
            if any(_is_young(item) for item in (first, *self._written_again(digest))):
                return
            key = f"{key}{_AGAIN}/{secrets.token_hex(8)}"
        with self._answering():
            self._objects.put(key, body)

    def get(self, digest: str) -> bytes:
        """Return the bytes after checking them against their name; a local copy that has changed is fetched anew."""
        if self._copies.has(digest):
            try:
                return self._copies.get(digest)
            except Corrupt:
                self._copies.delete(digest)
        body = self._download(digest)
        if digest_bytes(body) != digest:
            raise Corrupt("a stored blob has changed", field="digest", value=digest, next_step="restore it from a copy")
        self._copies.put(body)
        self._trim_copies()
        return body

    def _trim_copies(self) -> None:
        """Remove, once in a while, local copies that nobody asked for lately: they come back when they are needed."""
        now_us = WallClock().now_us()
        if now_us - self._trimmed_at < HOUR_US:
            return
        self._trimmed_at = now_us
        self._copies.sweep([ref.digest for ref in self._copies.inventory()], now_us - _COPIES_KEPT_US)

    def _download(self, digest: str) -> bytes:
        try:
            with self._answering(may_miss=True):
                return bytes(self._objects.get(_key(digest)).bytes())
        except FileNotFoundError:
            pass
        for item in self._written_again(digest):
            with contextlib.suppress(FileNotFoundError), self._answering(may_miss=True):
                return bytes(self._objects.get(item["path"]).bytes())
        raise not_stored(digest)

    def path(self, digest: str) -> Path:
        """Return a local copy of a blob."""
        if not self._copies.renew(digest):
            self.get(digest)
        return self._copies.path(digest)

    def has(self, digest: str) -> bool:
        """Say whether the blob is there."""
        return self._look_at(_key(digest)) is not None or bool(self._written_again(digest))

    def digests(self) -> Iterator[str]:
        """Yield the name of every blob."""
        return (ref.digest for ref in self.inventory())

    def inventory(self) -> Iterator[BlobRef]:
        """Yield name and size of every blob."""
        seen = ""
        for item in self._objects_of():  # by key, so that what was written again comes beside its first
            digest = item["path"].partition("/")[2].partition(".")[0]
            if digest != seen and DIGEST.match(digest):
                seen = digest
                yield BlobRef(digest, item["size"])

    def delete(self, digest: str) -> None:
        """Remove a blob."""
        for item in self._stored(digest):
            self._remove(item)
        self._copies.delete(digest)

    def sweep(self, digests: Iterable[str], before_us: int) -> list[BlobRef]:
        """Remove those of some blobs that nobody has put since a moment, and return them."""
        swept = []
        for digest in digests:
            stored = self._stored(digest)
            old = [item for item in stored if _written_at(item) < before_us]
            for item in old:
                self._remove(item)
            if old and len(old) == len(stored):
                self._copies.delete(digest)
                swept.append(BlobRef(digest, sum(item["size"] for item in old)))
        return swept

    def sweep_drafts(self, before_us: int) -> int:
        """Remove what broke off among the local copies; an object is whole or not there."""
        return self._copies.sweep_drafts(before_us)

    def _stored(self, digest: str) -> "list[ObjectMeta]":
        """Return every object that holds a blob."""
        first = self._look_at(_key(digest))
        return [*([] if first is None else [first]), *self._written_again(digest)]

    def _look_at(self, key: str) -> "ObjectMeta | None":
        try:
            with self._answering(may_miss=True):
                return self._objects.head(key)
        except FileNotFoundError:
            return None

    def _written_again(self, digest: str) -> "list[ObjectMeta]":
        return list(self._objects_of(_key(digest) + _AGAIN))

    def _objects_of(self, folder: str | None = None) -> "Iterator[ObjectMeta]":
        with self._answering():
            for page in self._objects.list(folder):
                yield from page

    def _remove(self, item: "ObjectMeta") -> None:
        with contextlib.suppress(FileNotFoundError), self._answering(may_miss=True):
            self._objects.delete(item["path"])

    @contextlib.contextmanager
    def _answering(self, *, may_miss: bool = False) -> Iterator[None]:
        """Turn a provider's errors into ours, except, where asked, that an object is missing."""
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            if may_miss and isinstance(error, FileNotFoundError):
                raise
            raise self._explain(error) from None

    def _explain(self, error: Exception) -> Unavailable:
        """Return what a provider's error means for whoever set up the bucket; its own first line is in the details."""
        from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

        told = str(error).strip().splitlines()[0]
        bucket = urlsplit(self.url).netloc or self.url
        # An object that is missed is asked for with may_miss; a list of nothing tells of the bucket in its body.
        if isinstance(error, FileNotFoundError) or _NO_BUCKET.search(str(error)):
            message = f"there is no bucket {bucket}"
            step = "make it, or name another in LOOPWRIGHT_BLOBS"
        elif isinstance(error, PermissionDeniedError | UnauthenticatedError):
            message = f"bucket {bucket} refuses these credentials"
            step = "check the credentials in the environment (AWS_ACCESS_KEY_ID …) and what they may do there"
        else:
            at = _ADDRESS.search(told)
            message = f"bucket {bucket} does not answer" + (f" at {at.group()}" if at else "")
            step = "check LOOPWRIGHT_BLOBS, and AWS_ENDPOINT_URL where it is a store other than Amazon's"
        return Unavailable(message, field="LOOPWRIGHT_BLOBS", value=self.url, next_step=step, details={"told": told})


def _written_at(item: "ObjectMeta") -> int:
    return round(item["last_modified"].timestamp() * SECOND_US)


def _is_young(item: "ObjectMeta") -> bool:
    return WallClock().now_us() - _written_at(item) < _YOUNG_US


def _key(digest: str) -> str:
    return f"{check_digest(digest)[:2]}/{digest}"
