"""Marks: which variant runs is written where it outlives the process, so that a crash or a hang has a name.

A mark is a few bytes of a page that is mapped from a file: setting it costs less than a microsecond, and the page stays
readable when its writer was killed.
"""

import logging
import mmap
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

log = logging.getLogger("loopwright.gateway")
_BYTES = 64


class Marker(Protocol):
    """Where it is written down which variant runs, so that it can be told if it never comes back."""

    def enter(self, variant: int) -> None:
        """Say that a variant, by its place in the release, begins."""
        ...

    def leave(self) -> None:
        """Say that it is through."""
        ...


class NoMarker:
    """Writes nothing down."""

    def enter(self, variant: int) -> None:
        """Do nothing."""

    def leave(self) -> None:
        """Do nothing."""


class Page:
    """A small piece of memory that stays when a process is killed, and that two processes may share.

    Args:
        handle: Of an open file of at least 64 bytes.
    """

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self.bytes = mmap.mmap(handle, _BYTES)

    @classmethod
    def new(cls) -> "Page":
        """Return a page without a name, in memory alone where the system can.

        Raises:
            OSError: There is no room for it.
        """
        if hasattr(os, "memfd_create"):
            handle = os.memfd_create("loopwright-page")
            os.ftruncate(handle, _BYTES)
            return cls(handle)
        with tempfile.TemporaryFile() as file:
            _make_room(file.fileno())
            return cls(os.dup(file.fileno()))

    @classmethod
    def at(cls, path: Path) -> "Page":
        """Return the page in a file, which is made where it is missing.

        Where the disk has no room for it the page has no name, and what it says is lost with its process: a gateway
        that can start and say that its disk is full is worth more.
        """
        handle = -1
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            _make_room(handle)
        except OSError as error:
            log.error("what runs cannot be marked in %s: %s", path, error.strerror)
            if handle >= 0:
                os.close(handle)
            return cls.new()
        return cls(handle)

    def read(self) -> bytes | None:
        """Return the label of what began and has not ended; None where all is through.

        Read as a file: whoever shares the page may have cut it off, and touching what is mapped of it would be fatal.
        """
        told = os.pread(self.handle, _BYTES, 0)
        return told[1 : 1 + told[0]] if told and told[0] else None

    def clear(self) -> None:
        """Say that nothing runs."""
        self.bytes[0] = 0

    def close(self) -> None:
        """Let go of it."""
        self.bytes.close()
        os.close(self.handle)


def _make_room(handle: int) -> None:
    """Have the blocks of a file's page on the disk: writing to a mapped one that has none ends the process (SIGBUS).

    Raises:
        OSError: The disk is full.
    """
    if os.fstat(handle).st_size < _BYTES:
        os.pwrite(handle, bytes(_BYTES), 0)
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, _BYTES)


class PageMarker:
    """Marks the variants of one release.

    Args:
        page: Where to.
        labels: What to write for each variant, up to 63 bytes.
    """

    def __init__(self, page: Page, labels: Sequence[bytes]) -> None:
        self._bytes = page.bytes
        self._records = [bytes([len(label)]) + label for label in labels]

    def enter(self, variant: int) -> None:
        """Say that a variant, by its place in the release, begins."""
        record = self._records[variant]
        self._bytes[: len(record)] = record

    def leave(self) -> None:
        """Say that it is through."""
        self._bytes[0] = 0
