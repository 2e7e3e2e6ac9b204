"""Blobs in a folder: whole or not there, named by what they hold."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.kernel.errors import Corrupt, InvalidInput, NotFound, StorageFull, Unavailable
from loopwright.store.blobs import BlobStore, open_blob_store
from loopwright.store.blobs.local import LocalBlobStore


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    return open_blob_store(f"file://{tmp_path / 'blobs'}")


@settings(max_examples=30)
@given(body=st.binary(max_size=300))
def test_bytes_come_back_under_their_digest(tmp_path_factory: pytest.TempPathFactory, body: bytes) -> None:
    store = open_blob_store(str(tmp_path_factory.getbasetemp() / "shared"))
    ref = store.put(body)
    assert ref.digest == hashlib.sha256(body).hexdigest()
    assert (store.get(ref.digest), ref.size_bytes) == (body, len(body))
    assert ref.digest in set(store.digests())


def test_the_same_bytes_are_one_blob(store: BlobStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 3_000_000)
    ref = store.put_file(tmp_path / "file")
    assert store.put(b"x" * 3_000_000) == store.put_file(tmp_path / "file") == ref
    assert list(store.digests()) == [ref.digest]
    assert store.path(ref.digest).read_bytes() == b"x" * 3_000_000


def test_a_blob_that_is_not_there(store: BlobStore) -> None:
    for ask in (store.get, store.path):
        with pytest.raises(NotFound) as told:
            ask("0" * 64)
        assert "loopwright verify" in str(told.value.next_step)
    assert not store.has("0" * 64)
    store.delete("0" * 64)


@pytest.mark.parametrize(
    "digest",
    [
        *("", "..", "../" * 21 + "x", "0" * 63, "0" * 65, "0" * 63 + "G", "0" * 64 + "\n", "0" * 63 + "/", "A" * 64),
        *(
            "/etc/passwd",
            "%2e%2e%2f",
            "file:///etc/passwd",
            "../../../../etc/passwd".ljust(64, "x"),
            "0" * 32 + "\x00" * 32,
        ),
    ],
)
def test_a_digest_is_never_a_path(store: BlobStore, digest: str) -> None:
    for ask in (store.get, store.path, store.has, store.delete):
        with pytest.raises(InvalidInput, match="not a digest"):
            ask(digest)


def test_a_flipped_bit_is_noticed(store: BlobStore) -> None:
    ref = store.put(b"hello")
    store.path(ref.digest).write_bytes(b"hellp")
    with pytest.raises(Corrupt, match="has changed"):
        store.get(ref.digest)


def test_a_torn_blob_is_healed_by_storing_it_again(store: BlobStore) -> None:
    ref = store.put(b"hello")
    store.path(ref.digest).write_bytes(b"hel")
    store.put(b"hello")
    assert store.get(ref.digest) == b"hello"


def test_a_file_that_changes_while_it_is_stored_gets_the_name_of_what_was_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = LocalBlobStore(str(tmp_path / "blobs"))
    source = tmp_path / "file"
    source.write_bytes(b"good")
    renew = LocalBlobStore.renew

    def swap(self: LocalBlobStore, *ref: Any) -> bool:
        source.write_bytes(b"evil")
        return renew(self, *ref)

    monkeypatch.setattr(LocalBlobStore, "renew", swap)
    ref = store.put_file(source)
    assert ref.digest == hashlib.sha256(b"evil").hexdigest()
    assert store.get(ref.digest) == b"evil"


def test_blobs_are_for_their_owner_only(store: BlobStore, tmp_path: Path) -> None:
    place = store.path(store.put(b"hello").digest)
    assert place.stat().st_mode & 0o077 == 0
    assert (tmp_path / "blobs").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("number", "expected"),
    [(errno.ENOSPC, StorageFull), (errno.EDQUOT, StorageFull), (errno.EROFS, Unavailable), (errno.EIO, Unavailable)],
)
def test_a_disk_that_fails_is_named_and_leaves_nothing(
    store: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: type[Exception]
) -> None:
    def fail(_handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    store.root.mkdir(exist_ok=True)  # type: ignore[attr-defined]
    digest = hashlib.sha256(b"hello").hexdigest()
    (tmp_path / "blobs" / digest[:2]).mkdir()
    with pytest.raises(expected):
        store.put(b"hello")
    assert not store.has(digest)
    assert [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()] == []


def test_a_folder_that_is_a_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot be used"):
        open_blob_store(str(tmp_path / "file" / "blobs")).put(b"x")


CRASH = """
    import os, signal, sys
    from pathlib import Path
    from loopwright.store.blobs.local import LocalBlobStore
    Path.replace = lambda self, target: os.kill(os.getpid(), signal.SIGKILL)
    LocalBlobStore(sys.argv[1]).put(b"hello")
"""


def test_a_crash_between_writing_and_naming_leaves_no_blob(store: BlobStore, tmp_path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(CRASH), str(tmp_path / "blobs")]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    digest = hashlib.sha256(b"hello").hexdigest()
    assert not store.has(digest)
    assert list(store.digests()) == []
    assert store.get(store.put(b"hello").digest) == b"hello"
    assert list(store.digests()) == [digest]


def test_an_unknown_scheme_is_refused() -> None:
    for url in ("http://example.com/x", "ftp://x", "gopher://x"):
        with pytest.raises(NotFound, match="blob_stores"):
            open_blob_store(url)


def test_a_sweep_removes_what_is_old_and_nothing_else(store: BlobStore, tmp_path: Path) -> None:
    old, again, young = store.put(b"old"), store.put(b"again"), store.put(b"young")
    for ref in (old, again):
        os.utime(store.path(ref.digest), (1, 1))
    store.put(b"again")
    swept = store.sweep([old.digest, again.digest, young.digest, "0" * 64], before_us=2_000_000)
    assert swept == [old]
    assert sorted(store.digests()) == sorted([again.digest, young.digest])
    assert sorted(ref.size_bytes for ref in store.inventory()) == [5, 5]


def test_bytes_that_are_put_beside_sweeps_are_there_afterwards(store: BlobStore) -> None:
    bodies = [b"%d" % number for number in range(20)]
    digests = [store.put(body).digest for body in bodies]
    for _ in range(20):
        for digest in digests:
            os.utime(store.path(digest), (1, 1))
        sweeping = threading.Thread(target=lambda: store.sweep(digests, before_us=2_000_000))
        sweeping.start()
        for body in bodies:
            store.put(body)
        sweeping.join()
        assert [store.get(digest) for digest in digests] == bodies


def test_what_a_folder_that_is_a_link_leads_to_is_not_removed(store: LocalBlobStore, tmp_path: Path) -> None:
    other = LocalBlobStore(str(tmp_path / "live"))
    ref = other.put(b"live")
    os.utime(other.path(ref.digest), (0, 0))
    store.root.mkdir()
    (store.root / ref.digest[:2]).symlink_to(other.root / ref.digest[:2])
    (other.root / ref.digest[:2] / ".draft").write_bytes(b"half")
    assert list(store.digests()) == []
    assert store.sweep([ref.digest], 1) == []
    assert store.sweep_drafts(1 << 60) == 0
    store.delete(ref.digest)
    assert other.get(ref.digest) == b"live"
