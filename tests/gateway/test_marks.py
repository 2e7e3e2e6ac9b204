"""The page on which it stands what runs."""

import errno
import os
from pathlib import Path

import pytest

from loopwright.gateway.marks import Page


def test_a_page_outlives_who_wrote_it(tmp_path: Path) -> None:
    page = Page.at(tmp_path / "running.mark")
    page.bytes[0:4] = b"\x03abc"
    page.close()
    assert Page.at(tmp_path / "running.mark").read() == b"abc"


def test_on_a_full_disk_a_page_is_in_memory_and_nothing_is_mapped_that_has_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing to a mapped page without a block on the disk is a fatal signal, so it is never come to that."""

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    file = tmp_path / "running.mark"
    file.touch()
    os.truncate(file, 64)  # as a copy of a state folder leaves it: a size, and no block
    monkeypatch.setattr(os, "posix_fallocate", full)
    handles = len(os.listdir("/proc/self/fd"))
    page = Page.at(file)
    assert len(os.listdir("/proc/self/fd")) == handles + 2, "its own, and that of the map"
    page.bytes[0:4] = b"\x03abc"
    assert page.read() == b"abc"
    assert file.read_bytes() == bytes(64)


def test_a_page_that_was_cut_off_says_nothing_and_ends_nobody() -> None:
    """A child shares its page with the gateway: what is mapped and has no byte behind it ends whoever touches it."""
    page = Page.new()
    page.bytes[0:4] = b"\x03abc"
    assert page.read() == b"abc"
    os.ftruncate(page.handle, 0)
    assert page.read() is None
    page.close()
