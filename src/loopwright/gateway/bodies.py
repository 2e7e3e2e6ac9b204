"""Bodies of requests: read up to a limit, and decoded."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import msgspec

from loopwright.kernel.errors import InvalidInput, LoopwrightError, TooLarge

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Headers = Mapping[bytes, bytes]
MOST_BODY_BYTES = 10 << 20
encoded = msgspec.json.Encoder().encode
"""Return a document as JSON; in the order of its fields, which costs less than sorting them."""


class WrongEncoding(LoopwrightError):
    """The body is compressed."""

    code = "wrong_encoding"
    http_status = 415


class Disconnected(LoopwrightError):
    """The caller hung up before the whole request had come."""

    code = "disconnected"
    http_status = 400


async def read_body(headers: Headers, receive: Receive, limit: int) -> bytes:
    """Return the request's body.

    Raises:
        TooLarge: It is longer than the limit; the rest is not read.
        WrongEncoding: It is compressed.
        Disconnected: The rest of it will not come.
    """
    stated = headers.get(b"content-length", b"0")
    if stated.isdigit() and int(stated) > limit:
        raise _too_large(int(stated), limit)
    if (encoding := headers.get(b"content-encoding", b"identity").strip().lower()) != b"identity":
        raise WrongEncoding(
            "compressed bodies are not taken",
            field="Content-Encoding",
            value=encoding.decode("latin-1"),
            rule="identity",
            next_step="send the JSON as it is",
        )
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected("the caller hung up", field="body", value=f"{size} bytes")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise _too_large(size, limit)
        if not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _too_large(size: int, limit: int) -> TooLarge:
    return TooLarge(
        "the body is too large",
        field="body",
        value=f"{size} bytes",
        rule=f"at most {limit} bytes",
        next_step="send fewer rows at a time; loopwright score takes whole files",
    )


def decoded(decoder: "msgspec.json.Decoder[Any]", body: bytes) -> Any:
    """Return the document that a body holds.

    Raises:
        InvalidInput: It is no JSON, or not the one expected.
    """
    try:
        return decoder.decode(body)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise InvalidInput(f"the body cannot be read: {error}", field="body") from None
    except RecursionError:
        raise InvalidInput("the body is nested too deeply", field="body") from None
    except UnicodeDecodeError:
        raise InvalidInput("the body is not UTF-8", field="body") from None
