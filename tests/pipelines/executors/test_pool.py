"""Reading apart: what crashes a reader, fills its memory or never ends is an error of that call alone."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loopwright.kernel.errors import InvalidInput, TooLarge, Unavailable
from loopwright.pipelines import ChildPool, Enclosure
from loopwright.store.blobs import BlobStore
from loopwright.wire.walls import landlock_version

READERS = """
import os
import signal
import socket
import time
from pathlib import Path
from loopwright.kernel.errors import TooLarge, Unavailable

def copies(out, scratch, files, *, names):
    out.write_bytes(b"".join(Path(name).read_bytes() for name in [*files.values(), *names]))
    return {"pid": os.getpid(), "scratch": sorted(os.listdir(scratch))}
def raises(out, scratch, files, *, kind):
    raise {"too_large": TooLarge, "unavailable": Unavailable}[kind]("no", field="source", rule="less")
def ends(out, scratch, files, *, number, told):
    with open(told, "a") as file:
        file.write("x")
    os.kill(os.getpid(), number)
def lasts(out, scratch, files, *, seconds):
    time.sleep(seconds)
def eats(out, scratch, files):
    hold = bytearray(500_000_000)
    time.sleep(60)
def asks(out, scratch, files):
    out.write_bytes(str(Path("/proc/self/oom_score_adj").read_text()).encode())
    try:
        socket.socket(socket.AF_INET)
        network = True
    except OSError:
        network = False
    return {"network": network}
def writes(out, scratch, files, *, size, to):
    with open(to or out, "wb") as file:
        file.truncate(size)
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    (root / "readers_here.py").write_text(READERS)
    monkeypatch.setenv("PYTHONPATH", str(root))
    return root


@pytest.fixture
def pool(tmp_path: Path, blob_store: BlobStore) -> Iterator[ChildPool]:
    pool = ChildPool(tmp_path / "worker", blob_store, most_bytes=400_000_000)
    yield pool
    pool.close()


def reading(pool: ChildPool, root: Path, tmp_path: Path) -> Callable[..., Any]:
    def read(name: str, files: dict[str, Path] | None = None, timeout_s: float = 60.0, **inputs: Any) -> Any:
        out = tmp_path / "out"
        what = "orders.xlsx"
        return pool.read(f"readers_here:{name}", inputs, files or {}, out, roots=[root], what=what, timeout_s=timeout_s)

    return read


@pytest.mark.slow
def test_a_child_reads_stays_warm_and_says_what_it_found(pool: ChildPool, root: Path, tmp_path: Path) -> None:
    read = reading(pool, root, tmp_path)
    (tmp_path / "sent").write_bytes(b"1")
    (root / "one").write_bytes(b"2")
    first = read("copies", {"0": tmp_path / "sent"}, names=[str(root / "one")])
    assert (tmp_path / "out").read_bytes() == b"12"
    assert first["scratch"] == ["out.parquet"]
    assert read("copies", names=[])["pid"] == first["pid"] != os.getpid()
    for kind, error in (("too_large", TooLarge), ("unavailable", Unavailable)):
        with pytest.raises(error, match="no") as refused:
            read("raises", kind=kind)
        assert (refused.value.field, refused.value.rule, refused.value.details) == ("source", "less", {})
    assert read("copies", names=[])["pid"] == first["pid"], "an error ends no child"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "how", "tries"), [(6, "SIGABRT", 1), (11, "SIGSEGV", 1), (9, "SIGKILL", 2)], ids=lambda one: str(one)
)
def test_what_ends_the_reader_is_an_error_that_names_the_file(
    pool: ChildPool, root: Path, tmp_path: Path, number: int, how: str, tries: int
) -> None:
    """What the system killed, which may have needed memory for something else, is tried once more."""
    read, told = reading(pool, root, tmp_path), tmp_path / "told"
    with pytest.raises(InvalidInput, match=rf"^orders.xlsx could not be read: the reader ended by {how}"):
        read("ends", number=number, told=str(told))
    assert told.read_text() == "x" * tries
    read("copies", names=[])


@pytest.mark.slow
def test_what_never_ends_or_fills_the_memory_or_the_disk_is_stopped(
    pool: ChildPool, root: Path, tmp_path: Path
) -> None:
    read = reading(pool, root, tmp_path)
    with pytest.raises(InvalidInput, match="the reader took longer than 1 s and was stopped"):
        read("lasts", timeout_s=1.0, seconds=600)
    with pytest.raises(InvalidInput, match=r"the reader used 0\.[45] GB of memory and was stopped") as refused:
        read("eats")
    assert refused.value.rule == "at most 0.4 GB"
    with pytest.raises(Exception, match="File too large"):
        read("writes", size=1 << 50, to="")
    read("asks")
    assert (tmp_path / "out").read_text().strip() == "1000", "where memory ends the system takes it first"


@pytest.mark.slow
@pytest.mark.skipif(not landlock_version(), reason="this kernel has no walls")
@pytest.mark.parametrize("mode", ["on", "strict"])
def test_a_reader_sees_the_roots_as_they_are_and_nothing_else(
    root: Path, tmp_path: Path, blob_store: BlobStore, mode: Any
) -> None:
    state, outside = root / "state", tmp_path / "outside"
    for folder in (state, outside):
        folder.mkdir()
        (folder / "secret").write_bytes(b"secret")
    pool = ChildPool(tmp_path / "worker", blob_store, enclosure=Enclosure(mode, [state, tmp_path / "worker"]))
    read = reading(pool, root, tmp_path)
    try:
        assert read("asks") == {"network": False}
        for place in (outside / "secret", tmp_path / "worker" / "children"):
            with pytest.raises(Exception, match="Permission denied"):
                read("copies", names=[str(place)])
        with pytest.raises(Exception, match="Permission denied"):
            read("writes", size=1, to=str(root / "mine"))
        # What comes into a root beside a hidden folder, once the child is up: walls must not close it.
        first = read("copies", names=[])["pid"]
        (root / "new").write_bytes(b"new")
        assert read("copies", names=[str(root / "new")])["pid"] == first
        # A root that is another folder by the same name takes another child.
        root.rename(tmp_path / "before")
        root.mkdir()
        (root / "readers_here.py").write_text(READERS)
        (root / "new").write_bytes(b"newer")
        assert read("copies", names=[str(root / "new")])["pid"] != first
        assert (tmp_path / "out").read_bytes() == b"newer"
    finally:
        pool.close()
