"""Framed JSON between the worker and a child: four bytes of length, then the document."""

import os
import struct
from typing import Any

import msgspec

_LENGTH = struct.Struct(">I")
MOST_BYTES = 256 * 1024 * 1024


def write_frame(handle: int, document: Any) -> None:
    """Write one document to a pipe.

    Raises:
        BrokenPipeError: The other side is gone.
    """
    body = msgspec.json.encode(document)
    rest = memoryview(_LENGTH.pack(len(body)) + body)
    while rest:
        rest = rest[os.write(handle, rest) :]


class TooLong(ValueError):
    """A document that is longer than the reader takes."""


def read_frame(handle: int) -> Any:
    """Read one document from a pipe.

    Raises:
        EOFError: The other side is gone.
    """
    (length,) = _LENGTH.unpack(_read(handle, _LENGTH.size))
    if length > MOST_BYTES:
        raise EOFError
    return msgspec.json.decode(_read(handle, length))


class Incoming:
    """One document as it comes in, from somebody who may stop in the middle of it.

    Args:
        most_bytes: Of the document.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._parts = bytearray()
        self._whole_bytes = _LENGTH.size
        self.is_whole = False

    def read(self, handle: int) -> None:
        """Read what is there, once; the caller has seen that there is something.

        Raises:
            EOFError: The other side is gone.
            TooLong: It says that more than ``most_bytes`` follow; none of them is read.
        """
        part = os.read(handle, min(self._whole_bytes - len(self._parts), 1 << 20))
        if not part:
            raise EOFError
        self._parts += part
        if len(self._parts) == self._whole_bytes == _LENGTH.size:
            (length,) = _LENGTH.unpack(self._parts)
            if length > self._most_bytes:
                raise TooLong(f"{length / 1e6:.0f} MB of JSON")
            self._whole_bytes += length
        self.is_whole = len(self._parts) == self._whole_bytes

    def document(self) -> Any:
        """Return the document, which is whole."""
        return msgspec.json.decode(memoryview(self._parts)[_LENGTH.size :])


def _read(handle: int, length: int) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        part = os.read(handle, min(length - len(parts), 1 << 20))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)
