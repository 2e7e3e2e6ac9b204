"""Bodies of requests, of a server and of a gateway: read up to a limit, and expanded where they are compressed."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from loopwright.kernel.errors import InvalidInput, LoopwrightError, TooLarge

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Headers = Mapping[bytes, bytes]
_ENCODINGS = {b"identity", b"gzip", b"deflate"}


class WrongEncoding(LoopwrightError):
    """The body is compressed in a way that is not read here."""

    code = "wrong_encoding"
    http_status = 415


class Disconnected(LoopwrightError):
    """The caller hung up before the whole request had come."""

    code = "disconnected"
    http_status = 499


async def read_body(headers: Headers, receive: Receive, limit: int, hint: str | None = None) -> bytes:
    """Return the request's body.

    Args:
        headers: Of the request, their names in small letters.
        receive: As ASGI gives it.
        limit: The most bytes it may have, before and after it was compressed.
        hint: What to do about one that is too large.

    Raises:
        TooLarge: It is longer than the limit; the rest is not read.
        WrongEncoding: It is compressed by something else than gzip or deflate.
        InvalidInput: What it is compressed to is damaged or cut off.
        Disconnected: The rest of it will not come.
    """
    stated = headers.get(b"content-length", b"0")
    if stated.isdigit() and int(stated) > limit:
        raise _too_large(int(stated), limit, hint)
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding not in _ENCODINGS:
        raise WrongEncoding(
            "this compression is not read here",
            field="Content-Encoding",
            value=encoding.decode("latin-1"),
            rule="gzip, deflate or identity",
            next_step="send it as it is",
        )
    body = await _read(receive, limit, hint)
    if encoding == b"identity":
        return body
    # A small body may become a large one, and whoever sends it shall not keep others waiting.
    return await asyncio.get_running_loop().run_in_executor(None, _expand, body, encoding, limit, hint)


async def _read(receive: Receive, limit: int, hint: str | None) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected("the caller hung up", field="body", value=f"{size} bytes")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise _too_large(size, limit, hint)
        if not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _expand(body: bytes, encoding: bytes, limit: int, hint: str | None) -> bytes:
    """Return what a body was before it was compressed; of one that becomes too large no more than that is made."""
    has_head = encoding == b"gzip" or (len(body) > 1 and body[0] & 15 == 8 and int.from_bytes(body[:2]) % 31 == 0)
    window = (31 if encoding == b"gzip" else 15) if has_head else -15
    try:
        expander = zlib.decompressobj(window)
        expanded = expander.decompress(body, limit + 1)
    except zlib.error as error:
        raise InvalidInput(f"the body cannot be expanded: {error}", field="body", rule=encoding.decode()) from None
    if len(expanded) > limit:
        raise _too_large(len(expanded), limit, hint)
    if not expander.eof or expander.unused_data:
        raise InvalidInput("the compressed body is cut off, or something follows it", field="body")
    return expanded


def _too_large(size: int, limit: int, hint: str | None) -> TooLarge:
    rule = f"at most {limit} bytes"
    return TooLarge("the body is too large", field="body", value=f"{size} bytes", rule=rule, next_step=hint)
