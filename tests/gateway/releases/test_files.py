"""Files of releases: a digest is checked before it becomes a path, and a changed byte is never loaded."""

import io
import zipfile
from pathlib import Path

import pytest

from loopwright.gateway.releases.files import ReleaseFiles, model_key
from loopwright.kernel.errors import Corrupt, InvalidInput, NotFound
from loopwright.registry import InputColumn, ModelFile, Signature
from loopwright.serving import Release, Variant
from loopwright.store.blobs import BlobStore


@pytest.fixture
def files(tmp_path: Path, blob_store: BlobStore) -> ReleaseFiles:
    return ReleaseFiles(tmp_path, blob_store)


def archive(**entries: str) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as packed:
        for name, text in entries.items():
            packed.writestr(zipfile.ZipInfo(name.replace("__", ".")), text)
    return body.getvalue()


def release_of(blob_store: BlobStore, body: bytes, path: str = "model.txt") -> Release:
    stored = blob_store.put(body)
    signature = Signature([InputColumn("x", "number")], "binary", [])
    variant = Variant("champion", "late", 1, "test", [ModelFile(path, stored.digest, len(body))], signature, 1.0)
    return Release(1, "flights", "late", 1, 1, "binary", [variant], {}, "", [], "test", 0, 0)


@pytest.mark.parametrize("digest", ["/../victim", "/../../victim", "../victim", "", ".", "a" * 63, "A" * 64])
def test_a_digest_is_checked_before_it_becomes_a_path(files: ReleaseFiles, tmp_path: Path, digest: str) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "kept").write_text("kept")
    (tmp_path / "code").mkdir()
    with pytest.raises(InvalidInput, match="not a digest"):
        files.fetch_code("flights", digest)
    assert (victim / "kept").read_text() == "kept"


def test_code_stays_inside_its_folder(files: ReleaseFiles, blob_store: BlobStore, tmp_path: Path) -> None:
    digest = blob_store.put(archive(**{"../evil.py": "x = 1"})).digest
    with pytest.raises(Corrupt):
        files.fetch_code("flights", digest)
    assert not (tmp_path / "evil.py").exists()
    assert not (tmp_path / "code" / "evil.py").exists()


def test_code_is_unpacked_anew_and_without_the_store(
    files: ReleaseFiles, blob_store: BlobStore, tmp_path: Path
) -> None:
    digest = blob_store.put(archive(**{"main.py": "x = 1"})).digest
    files.fetch_code("flights", digest)
    changed = tmp_path / "code" / "flights" / digest / "main.py"
    changed.write_text("x = 2")
    blob_store.delete(digest)
    files.fetch_code("flights", digest)
    assert changed.read_text() == "x = 2"  # it runs; nothing takes the floor away from under it
    ReleaseFiles(tmp_path, blob_store).fetch_code("flights", digest)
    assert changed.read_text() == "x = 1"
    (tmp_path / "code" / "flights" / f"{digest}.zip").write_bytes(b"other")
    with pytest.raises(NotFound):
        ReleaseFiles(tmp_path, blob_store).fetch_code("flights", digest)


def test_a_model_that_has_changed_on_the_disk_is_fetched_again(blob_store: BlobStore, tmp_path: Path) -> None:
    release = release_of(blob_store, b"leaf_value=0.64")
    ReleaseFiles(tmp_path, blob_store).fetch(release)
    file = tmp_path / "models" / model_key(release.variants[0]) / "model.txt"
    file.write_bytes(b"leaf_value=0.99")
    ReleaseFiles(tmp_path, blob_store).fetch(release)
    assert file.read_bytes() == b"leaf_value=0.64"
    file.write_bytes(b"leaf_value=0.99")
    blob_store.delete(release.variants[0].files[0].digest)
    with pytest.raises(NotFound):
        ReleaseFiles(tmp_path, blob_store).fetch(release)


@pytest.mark.parametrize("path", ["../evil", "/tmp/evil", "a/../../evil"])
def test_a_model_file_stays_inside_its_model(
    files: ReleaseFiles, blob_store: BlobStore, tmp_path: Path, path: str
) -> None:
    with pytest.raises(Corrupt):
        files.fetch(release_of(blob_store, b"x", path))
    assert not (tmp_path / "models" / "evil").exists()


def test_what_no_release_uses_is_deleted(files: ReleaseFiles, blob_store: BlobStore, tmp_path: Path) -> None:
    first, second = (release_of(blob_store, body) for body in (b"first", b"second"))
    files.fetch(first)
    files.fetch(second)
    files.keep_only([second])
    assert [path.name for path in (tmp_path / "models").iterdir()] == [model_key(second.variants[0])]
    files.fetch(first)
    assert len(list((tmp_path / "models").iterdir())) == 2


def test_code_that_nobody_uses_goes_and_its_projects_folder_stays(blob_store: BlobStore, tmp_path: Path) -> None:
    digest = blob_store.put(archive(**{"main.py": "x = 1"})).digest
    files = ReleaseFiles(tmp_path, blob_store)
    files.fetch_code("flights", digest)
    older = [tmp_path / "code" / digest / "main.py", tmp_path / "code" / f"{digest}.zip"]
    older[0].parent.mkdir()
    for file in older:
        file.write_text("of an older version")
    files.keep_only([])
    assert [path.name for path in (tmp_path / "code").rglob("*")] == ["flights"]
    files.fetch_code("flights", digest)
    assert (tmp_path / "code" / "flights" / digest / "main.py").exists()
