"""What is closed to user code is decided in one place, whoever starts the process."""

from pathlib import Path

import msgspec
import pytest

from loopwright.config import Settings, Walls, load_settings
from loopwright.kernel.code import CodeRef
from loopwright.pipelines import ChildPool, Enclosure, packing
from loopwright.store.blobs import BlobStore
from loopwright.wire.walls import carve, landlock_version


def hidden_by(settings: Settings) -> set[Path]:
    enclosure = Enclosure.of(settings)
    assert enclosure is not None
    return set(enclosure.hidden)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    return msgspec.structs.replace(load_settings(tmp_path / "state"), walls="on")


def test_keys_checkpoints_and_blobs_elsewhere_are_closed(settings: Settings, tmp_path: Path) -> None:
    elsewhere = msgspec.structs.replace(
        settings,
        checkpoint_key=tmp_path / "etc" / "checkpoints.key",
        checkpoints_url=str(tmp_path / "signed"),
        blobs_url="blobs-here",
    )
    closed = {tmp_path / "etc" / "checkpoints.key", tmp_path / "signed", tmp_path / "blobs-here"}
    assert closed <= hidden_by(elsewhere)
    by_url = msgspec.structs.replace(
        settings, checkpoints_url=f"file://{tmp_path}/signed", blobs_url=f"file://{tmp_path}/blobs-here"
    )
    assert {tmp_path / "signed", tmp_path / "blobs-here"} <= hidden_by(by_url)
    in_a_bucket = msgspec.structs.replace(settings, checkpoints_url="s3://bucket/signed", blobs_url="s3://bucket/blobs")
    assert not [path for path in hidden_by(in_a_bucket) if "bucket" in str(path)]


@pytest.mark.parametrize("place", ["meta.db", "{}/meta.db"])
def test_of_a_database_its_files_alone_are_closed(settings: Settings, tmp_path: Path, place: str) -> None:
    """Not the folder that it is in: that may be the one of the project, or the root of the machine."""
    closed = hidden_by(msgspec.structs.replace(settings, database_url=f"sqlite:///{place.format(tmp_path)}"))
    files = {tmp_path / f"meta.db{ending}" for ending in ("", "-wal", "-shm", "-journal")}
    assert files <= closed
    assert not closed & {tmp_path, Path("/")}
    (tmp_path / "meta.db").touch()
    (tmp_path / "rows.csv").touch()
    assert str(tmp_path / "rows.csv") in list(carve(str(tmp_path), map(str, closed)))
    assert str(tmp_path / "meta.db") not in list(carve(str(tmp_path), map(str, closed)))


TRAINING = """
import os
import numpy as np

def by_threads():
    import lightgbm
    x = np.arange(4000.0).reshape(-1, 2)
    made = lightgbm.train({"num_threads": 2, "verbose": -1}, lightgbm.Dataset(x, x[:, 0]), 3)
    return made.num_trees()

def by_processes():
    from joblib import Parallel, delayed
    pids = Parallel(2)(delayed(os.getpid)() for _ in range(4))
    return os.getpid() not in pids
"""


@pytest.mark.slow
@pytest.mark.skipif(not landlock_version(), reason="this kernel has no Landlock")
@pytest.mark.parametrize("mode", ["on", "strict"])
def test_libraries_that_bind_threads_and_start_processes_work_behind_walls(
    tmp_path: Path, blob_store: BlobStore, monkeypatch: pytest.MonkeyPatch, mode: Walls
) -> None:
    monkeypatch.setenv("OMP_PROC_BIND", "true")  # OpenMP ends a process whose threads it cannot bind
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "training.py").write_text(TRAINING)
    digest = blob_store.put(packing.pack_project(tmp_path / "project")).digest
    pool = ChildPool(tmp_path / "worker", blob_store, enclosure=Enclosure(mode, [tmp_path / "worker"]))
    try:
        assert pool.call(CodeRef(digest, "training", "by_threads", "0" * 64), {}).output == 3
        assert pool.call(CodeRef(digest, "training", "by_processes", "0" * 64), {}).output is True
    finally:
        pool.close()
