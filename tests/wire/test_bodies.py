"""Bodies: read up to a limit, compressed or not."""

import asyncio
import gzip
import zlib
from collections.abc import MutableMapping
from typing import Any

import pytest

from loopwright.kernel.errors import InvalidInput, LoopwrightError, TooLarge
from loopwright.wire.bodies import WrongEncoding, read_body

TEXT = b'{"rows": [{"x0": 1.0}]}' * 100


def raw_deflate(body: bytes) -> bytes:
    squeezer = zlib.compressobj(wbits=-15)
    return squeezer.compress(body) + squeezer.flush()


def read(body: bytes, encoding: bytes = b"identity", limit: int = 10_000) -> bytes:
    pieces = [body[:50], body[50:]]

    async def receive() -> MutableMapping[str, Any]:
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    return asyncio.run(read_body({b"content-encoding": encoding}, receive, limit))


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        (b"identity", TEXT),
        (b"gzip", gzip.compress(TEXT, mtime=0)),
        (b"GZIP", gzip.compress(TEXT, mtime=0)),
        (b"deflate", zlib.compress(TEXT)),
        (b"deflate", raw_deflate(TEXT)),
    ],
    ids=["identity", "gzip", "upper-case", "deflate", "raw-deflate"],
)
def test_a_body_is_read_as_it_was_before_it_was_compressed(encoding: bytes, body: bytes) -> None:
    assert read(body, encoding) == TEXT


@pytest.mark.parametrize(
    ("encoding", "body", "kind"),
    [
        (b"br", TEXT, WrongEncoding),
        (b"gzip, gzip", gzip.compress(TEXT, mtime=0), WrongEncoding),
        (b"gzip", gzip.compress(b"0" * 10_001, mtime=0), TooLarge),
        (b"deflate", zlib.compress(b"0" * 100_000_000), TooLarge),
        (b"gzip", gzip.compress(TEXT, mtime=0)[:-1], InvalidInput),
        (b"gzip", gzip.compress(TEXT, mtime=0) * 2, InvalidInput),
        (b"gzip", TEXT, InvalidInput),
        (b"gzip", b"", InvalidInput),
        (b"deflate", b"", InvalidInput),
    ],
    ids=["unknown", "twice", "large", "bomb", "cut-off", "more-behind", "not-gzip", "no-gzip", "no-deflate"],
)
def test_what_cannot_be_read_whole_is_refused(encoding: bytes, body: bytes, kind: type[LoopwrightError]) -> None:
    with pytest.raises(kind):
        read(body, encoding)
