"""Shelves: documents come back, whole; what does not answer is named."""

import errno
import os
from pathlib import Path

import pytest

from loopwright.kernel.errors import Corrupt, NotFound, Unavailable
from loopwright.store.shelves import open_shelf


def test_documents_come_back(tmp_path: Path) -> None:
    shelf = open_shelf(str(tmp_path / "shelf"), "note")
    assert shelf.names() == []
    shelf.put("a.json", b"one")
    shelf.put("a.json", b"two")
    assert (shelf.names(), shelf.get("a.json")) == (["a.json"], b"two")
    assert (tmp_path / "shelf").stat().st_mode & 0o077 == 0
    shelf.delete("a.json")
    shelf.delete("a.json")
    with pytest.raises(NotFound, match="no such note"):
        shelf.get("a.json")


def test_documents_come_back_from_a_bucket(bucket: str) -> None:
    shelf = open_shelf(f"{bucket}/shelf", "note")
    assert shelf.names() == []
    shelf.put("a.json", b"one")
    shelf.put("a.json", b"two")
    shelf.put("b.json", b"three")
    assert (sorted(shelf.names()), shelf.get("a.json")) == (["a.json", "b.json"], b"two")
    assert open_shelf(f"{bucket}/other", "note").names() == []
    shelf.delete("a.json")
    shelf.delete("a.json")
    with pytest.raises(NotFound, match="no such note"):
        shelf.get("a.json")


def test_a_draft_that_was_cut_off_is_no_document(tmp_path: Path) -> None:
    shelf = open_shelf(str(tmp_path), "note")
    (tmp_path / ".a.json.7.tmp").write_bytes(b"hal")
    assert shelf.names() == []


def test_a_full_disk_leaves_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(Unavailable, match="cannot be written"):
        open_shelf(str(tmp_path), "note").put("a.json", b"one")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot be written") as told:
        open_shelf(str(tmp_path / "file" / "shelf"), "note").put("a.json", b"x")
    assert told.value.field == "note"


@pytest.mark.parametrize("name", ["../out.json", "/etc/out.json", "a/../../out.json", "..", ".hidden", ""])
def test_a_name_that_leads_elsewhere_is_none(tmp_path: Path, name: str) -> None:
    (tmp_path / "shelf").mkdir()
    (tmp_path / "out.json").write_bytes(b"precious")
    shelf = open_shelf(str(tmp_path / "shelf"), "note")
    for ask in (shelf.get, shelf.delete, lambda name: shelf.put(name, b"x")):
        with pytest.raises(Corrupt, match="no note is called so"):
            ask(name)
    assert (tmp_path / "out.json").read_bytes() == b"precious"


def test_what_is_no_plain_file_is_neither_listed_nor_read_nor_written_to(tmp_path: Path) -> None:
    """Whoever may write in a folder of backups would choose what a platform reads, writes over or waits for."""
    (tmp_path / "precious").write_bytes(b"precious")
    shelf = open_shelf(str(tmp_path / "shelf"), "note")
    shelf.put("a.json", b"whole")
    os.mkfifo(tmp_path / "shelf" / "pipe.json")
    (tmp_path / "shelf" / "link.json").symlink_to(tmp_path / "precious")
    (tmp_path / "shelf" / "folder.json").mkdir()
    (tmp_path / "shelf" / f".a.json.{os.getpid()}.tmp").symlink_to(tmp_path / "precious")
    assert shelf.names() == ["a.json"]
    for name in ("pipe.json", "link.json", "folder.json"):
        with pytest.raises(Unavailable, match="cannot be read"):
            shelf.get(name)
    shelf.put("a.json", b"new")
    shelf.put("link.json", b"its own")
    assert (shelf.get("a.json"), shelf.get("link.json")) == (b"new", b"its own")
    assert (tmp_path / "precious").read_bytes() == b"precious"
