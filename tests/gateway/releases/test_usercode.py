"""Two digests of one project live side by side, and neither leaks into the import path."""

import sys
from pathlib import Path

import pytest

from loopwright.gateway.releases.files import ReleaseFiles
from loopwright.gateway.releases.usercode import CodeShelf
from loopwright.kernel.code import CodeRef
from loopwright.kernel.errors import StepFailed
from loopwright.store.blobs import BlobStore
from tests.gateway.conftest import World


@pytest.fixture
def shelf(tmp_path: Path) -> CodeShelf:
    return CodeShelf(tmp_path / "code" / "flights")


@pytest.fixture
def files(tmp_path: Path, blob_store: BlobStore) -> ReleaseFiles:
    return ReleaseFiles(tmp_path, blob_store)


def packed(blob_store: BlobStore, files: ReleaseFiles, **modules: str) -> str:
    """Store a packed project and put it on the gateway's disk."""
    world = World.__new__(World)
    world.blobs = blob_store
    digest = world.code(**modules)
    files.fetch_code("flights", digest)
    return digest


def code(digest: str, module: str, name: str) -> CodeRef:
    return CodeRef(digest, module, name, "")


def test_two_versions_side_by_side(shelf: CodeShelf, blob_store: BlobStore, files: ReleaseFiles) -> None:
    before = list(sys.path)
    main = "from rates import factor\nimport pkg.inner\ndef double(x):\n    return factor * x + pkg.inner.offset\n"
    inner = "from . import zero\noffset = zero.value\n"
    found = []
    for factor in (2, 3):
        modules = {"main": main, "rates": f"factor = {factor}\n", "pkg.inner": inner, "pkg.zero": "value = 0\n"}
        found.append(shelf.function(code(packed(blob_store, files, **modules), "main", "double")))
    assert [double(5) for double in found] == [10, 15]
    assert sys.path == before
    assert not {"main", "rates", "pkg"} & set(sys.modules)


def test_a_declared_handle_gives_its_function(shelf: CodeShelf, blob_store: BlobStore, files: ReleaseFiles) -> None:
    handle = "class Handle:\n    def __init__(self, function): self.function = function\n"
    text = f"{handle}@Handle\ndef asked(r):\n    return r\n"
    assert shelf.function(code(packed(blob_store, files, main=text), "main", "asked"))(7) == 7


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("import nowhere_at_all\n", "f", "cannot be imported"),
        ("raise ValueError('no')\n", "f", "raised ValueError: no"),
        ("x = 1\n", "f", "has no f"),
    ],
)
def test_code_that_cannot_be_used(
    shelf: CodeShelf, blob_store: BlobStore, files: ReleaseFiles, text: str, name: str, message: str
) -> None:
    with pytest.raises(StepFailed, match=message):
        shelf.function(code(packed(blob_store, files, main=text), "main", name))
