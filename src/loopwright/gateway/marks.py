"""Marks: which variant runs is written where it outlives the process, so that a crash or a hang has a name.

A mark is a few bytes of a page that is mapped from a file: setting it costs less than a microsecond, and the page stays
readable when its writer was killed.
"""

import mmap
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

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
        """Return a page without a name."""
        with tempfile.TemporaryFile() as file:
            file.truncate(_BYTES)
            return cls(os.dup(file.fileno()))

    @classmethod
    def at(cls, path: Path) -> "Page":
        """Return the page in a file, which is made where it is missing."""
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        if os.fstat(handle).st_size < _BYTES:
            os.ftruncate(handle, _BYTES)
        return cls(handle)

    def read(self) -> bytes | None:
        """Return the label of what began and has not ended; None where all is through."""
        length = self.bytes[0]
        return bytes(self.bytes[1 : 1 + length]) if length else None

    def clear(self) -> None:
        """Say that nothing runs."""
        self.bytes[0] = 0

    def close(self) -> None:
        """Let go of it."""
        self.bytes.close()
        os.close(self.handle)


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
