"""Bodies of requests: read up to a limit, and decoded."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import msgspec

from loopwright.kernel.errors import InvalidInput, TooLarge

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Headers = Mapping[bytes, bytes]
MOST_BODY_BYTES = 10 << 20
encoded = msgspec.json.Encoder().encode
"""Return a document as JSON; in the order of its fields, which costs less than sorting them."""


async def read_body(headers: Headers, receive: Receive, limit: int) -> bytes:
    """Return the request's body.

    Raises:
        TooLarge: It is longer than the limit; the rest is not read.
    """
    stated = headers.get(b"content-length", b"0")
    if stated.isdigit() and int(stated) > limit:
        raise _too_large(int(stated), limit)
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return body
    parts = [body]
    size = len(body)
    while message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise _too_large(size, limit)
    return b"".join(parts)


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
