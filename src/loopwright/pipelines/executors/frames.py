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


def read_frame(handle: int, most_bytes: int = MOST_BYTES) -> Any:
    """Read one document from a pipe.

    Raises:
        EOFError: The other side is gone.
        TooLong: It says that more than ``most_bytes`` follow; none of them is read.
    """
    (length,) = _LENGTH.unpack(_read(handle, _LENGTH.size))
    if length > most_bytes:
        raise TooLong(f"{length / 1e6:.0f} MB of JSON")
    return msgspec.json.decode(_read(handle, length))


def _read(handle: int, length: int) -> bytes:
    parts = bytearray()
    while len(parts) < length:
        part = os.read(handle, min(length - len(parts), 1 << 20))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)
