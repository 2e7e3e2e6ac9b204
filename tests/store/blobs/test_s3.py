"""Blobs in a bucket, on a real S3 server."""

from pathlib import Path
from typing import Any

import pytest

from loopwright.kernel.clock import HOUR_US, WallClock
from loopwright.kernel.errors import Corrupt, InvalidInput, NotFound, Unavailable
from loopwright.store.blobs import BlobStore, open_blob_store
from loopwright.store.blobs.s3 import ObjectBlobStore

pytestmark = pytest.mark.usefixtures("bucket")


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return open_blob_store(f"s3://bucket/{tmp_path.name}", tmp_path / "copies")


def forget_copies(tmp_path: Path) -> None:
    for path in (tmp_path / "copies").rglob("*"):
        if path.is_file():
            path.unlink()


def test_bytes_and_files_come_back_from_the_bucket(store: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"y" * 100_000)
    refs = [store.put(b"hello"), store.put(b"hello"), store.put_file(tmp_path / "file")]
    forget_copies(tmp_path)
    assert store.get(refs[0].digest) == b"hello"
    assert store.path(refs[2].digest).read_bytes() == b"y" * 100_000
    assert sorted(store.digests()) == sorted({ref.digest for ref in refs})


def test_two_prefixes_are_two_stores(store: BlobStore, tmp_path: Path) -> None:
    ref = store.put(b"hello")
    other = open_blob_store("s3://bucket/other", tmp_path / "other")
    assert not other.has(ref.digest)
    with pytest.raises(NotFound):
        other.get(ref.digest)


def test_deleting(store: BlobStore) -> None:
    ref = store.put(b"hello")
    store.delete(ref.digest)
    store.delete(ref.digest)
    assert not store.has(ref.digest)
    with pytest.raises(NotFound):
        store.path(ref.digest)


def test_an_object_that_changed_is_noticed(store: BlobStore, tmp_path: Path) -> None:
    ref = store.put(b"hello")
    forget_copies(tmp_path)
    store._objects.put(f"{ref.digest[:2]}/{ref.digest}", b"hellp")  # type: ignore[attr-defined]
    with pytest.raises(Corrupt):
        store.get(ref.digest)


def test_a_local_copy_that_changed_is_fetched_anew(store: BlobStore) -> None:
    ref = store.put(b"hello")
    store.get(ref.digest)
    store.path(ref.digest).write_bytes(b"hellp")
    assert store.get(ref.digest) == b"hello"
    assert store.path(ref.digest).read_bytes() == b"hello"


def test_a_bucket_that_is_not_there_says_what_to_check(tmp_path: Path) -> None:
    store = open_blob_store("s3://nowhere/x", tmp_path / "copies")
    with pytest.raises(Unavailable, match="there is no bucket nowhere") as told:
        store.put(b"hello")
    assert told.value.next_step == "make it, or name another in LOOPWRIGHT_BLOBS"
    with pytest.raises(Unavailable, match="there is no bucket nowhere"):
        store.get("0" * 64)


def test_a_digest_is_never_a_key(store: BlobStore) -> None:
    for digest in ("../other/x", "..%2f", "", "0" * 64 + "/.."):
        with pytest.raises(InvalidInput):
            store.get(digest)


def test_bytes_that_are_put_while_a_sweep_is_about_to_remove_them_stay(
    store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref, gone = store.put(b"hello"), store.put(b"gone")
    written_at = WallClock().now_us()
    remove = ObjectBlobStore._remove

    def put_again_first(self: ObjectBlobStore, item: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(WallClock, "now_us", lambda _: written_at + 3 * HOUR_US)
            assert self.put(b"hello") == ref  # after the sweep has looked, before it removes
        remove(self, item)

    with monkeypatch.context() as patch:
        patch.setattr(ObjectBlobStore, "_remove", put_again_first)
        store.sweep([ref.digest], written_at + HOUR_US)
    forget_copies(tmp_path)
    assert store.get(ref.digest) == b"hello"
    assert store.sweep([gone.digest], written_at + HOUR_US) == [gone]
    assert list(store.digests()) == [ref.digest]


def test_what_was_put_again_is_read_from_where_it_is(store: BlobStore, tmp_path: Path) -> None:
    ref = store.put(b"hello")
    now_us = WallClock().now_us()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WallClock, "now_us", lambda _: now_us + 3 * HOUR_US)
        assert store.put(b"hello") == ref  # old: written again, beside
    assert list(store.inventory()) == [ref]
    assert isinstance(store, ObjectBlobStore)
    store._objects.delete(f"{ref.digest[:2]}/{ref.digest}")
    forget_copies(tmp_path)
    assert (store.has(ref.digest), store.get(ref.digest), list(store.digests())) == (True, b"hello", [ref.digest])
    store.delete(ref.digest)
    assert (store.has(ref.digest), list(store.digests())) == (False, [])
