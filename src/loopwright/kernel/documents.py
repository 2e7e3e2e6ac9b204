"""Canonical JSON and digests: the same content always gives the same name."""

import hashlib
from typing import Any, TypeVar

import msgspec

from loopwright.kernel.errors import InvalidInput

T = TypeVar("T")
_encoder = msgspec.json.Encoder(order="deterministic")


def to_json(document: Any) -> bytes:
    """Return canonical JSON: sorted keys, no spaces, UTF-8. Structs, lists, dicts and scalars."""
    return _encoder.encode(document)


def from_json(body: bytes | str, kind: type[T], field: str = "body") -> T:
    """Decode JSON into ``kind``.

    Raises:
        InvalidInput: It is not JSON or does not fit; the message names the path.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise InvalidInput(str(error), field=field) from None
    except RecursionError:
        raise InvalidInput("this JSON is nested too deep", field=field) from None


def to_builtins(document: Any) -> Any:
    """Return the document as dicts, lists and scalars."""
    return msgspec.to_builtins(document)


def convert(document: Any, kind: type[T], field: str = "body") -> T:
    """Turn builtins into ``kind``.

    Raises:
        InvalidInput: They do not fit; the message names the path.
    """
    try:
        return msgspec.convert(document, type=kind)
    except msgspec.ValidationError as error:
        raise InvalidInput(str(error), field=field) from None


def digest_bytes(body: bytes) -> str:
    """Return the SHA-256 of the bytes as 64 hexadecimal letters."""
    return hashlib.sha256(body).hexdigest()


def digest_of(document: Any) -> str:
    """Return the digest of the canonical JSON of a document."""
    return digest_bytes(to_json(document))
