"""What is closed to user code is decided in one place, whoever starts the process."""

from pathlib import Path

import msgspec
import pytest

from loopwright.config import Settings, load_settings
from loopwright.pipelines import Enclosure
from loopwright.wire.walls import carve


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
