"""Canonical JSON and digests: the same content always gives the same name."""

import hashlib
import re
from math import isinf
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from loopwright.kernel.digests import LETTERS
from loopwright.kernel.errors import InvalidInput, shorten
from loopwright.kernel.storable import storable_text

T = TypeVar("T")
_encoder = msgspec.json.Encoder(order="deterministic")
_PATH = " - at `$"
_MOST_LETTERS = 500
"""Of a message: msgspec's repeat what was sent."""
_PATH_PART = re.compile(r"\.(\w+)|\[")


def to_json(document: Any) -> bytes:
    """Return canonical JSON: sorted keys, no spaces, UTF-8. Structs, lists, dicts and scalars.

    Raises:
        InvalidInput: Half of a surrogate pair stands in a text, as in the name of a file that is no UTF-8.
    """
    try:
        return _encoder.encode(document)
    except UnicodeEncodeError as error:
        told = storable_text(error.object[max(0, error.start - 20) : error.end + 20])
        what, rule = "this text cannot be written as UTF-8", "text without lone surrogates"
        raise InvalidInput(what, field="text", value=told, rule=rule) from None


def name_infinities(document: Any) -> Any:
    """Return a document with its infinities as the texts ``inf`` and ``-inf``, and scalars of NumPy as Python's.

    JSON has no word for the former and the encoder writes null, which means something else.

    >>> name_infinities({"loss": [1.0, float("inf")]})
    {'loss': [1.0, 'inf']}
    """
    if isinstance(document, float):
        return str(float(document)) if isinf(document) else document
    if isinstance(document, dict):
        return {key: name_infinities(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [name_infinities(value) for value in document]
    is_scalar = type(document).__module__ == "numpy" and getattr(document, "ndim", None) == 0
    return name_infinities(document.item()) if is_scalar else document


def from_json(body: bytes | str, kind: type[T], field: str = "body") -> T:
    """Decode JSON into ``kind``.

    Raises:
        InvalidInput: It is not JSON or does not fit; the message names the path, the rule the values to choose from.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.ValidationError, msgspec.DecodeError) as error:
        raise InvalidInput(shorten(str(error), _MOST_LETTERS), field=field, rule=_choices(str(error), kind)) from None
    except UnicodeDecodeError:
        raise InvalidInput("this is no text", field=field, rule="JSON in UTF-8") from None
    except RecursionError:
        raise InvalidInput("this JSON is nested too deep", field=field) from None


def to_builtins(document: Any) -> Any:
    """Return the document as dicts, lists and scalars."""
    return msgspec.to_builtins(document)


def convert(document: Any, kind: type[T], field: str = "body") -> T:
    """Turn builtins into ``kind``.

    Raises:
        InvalidInput: They do not fit; the message names the path, the rule the values to choose from.
    """
    try:
        return msgspec.convert(document, type=kind)
    except msgspec.ValidationError as error:
        raise InvalidInput(shorten(str(error), _MOST_LETTERS), field=field, rule=_choices(str(error), kind)) from None
    except RecursionError:
        raise InvalidInput("this is nested too deep", field=field) from None


def digest_bytes(body: bytes) -> str:
    """Return the SHA-256 of the bytes as 64 hexadecimal letters."""
    return hashlib.sha256(body).hexdigest()


def digest_of(document: Any) -> str:
    """Return the digest of the canonical JSON of a document."""
    return digest_bytes(to_json(document))


def _choices(message: str, kind: Any) -> str | None:
    """Say which values there are where msgspec's message is about one that is none of them."""
    if "matching regex" in message and "[0-9a-f]{64}" in message:
        return LETTERS
    if not message.startswith("Invalid enum value"):
        return None
    found = _alternatives(inspect.type_info(kind))
    # The path is last and has no such words in it; before it comes what was sent, which may have them many times.
    path = message.rpartition(_PATH)[2].removesuffix("`") if message.endswith("`") and _PATH in message else ""
    for part in _PATH_PART.finditer(path):
        found = [inner for outer in found for inner in _inside(outer, part[1])]
    choices = [sorted(map(str, each.values)) for each in found if isinstance(each, inspect.LiteralType)]
    choices += [[str(member.value) for member in each.cls] for each in found if isinstance(each, inspect.EnumType)]
    return f"one of {', '.join(choices[0])}" if len(choices) == 1 else None


def _inside(kind: inspect.Type, name: str | None) -> list[inspect.Type]:
    """Return what a field of a struct may be, or an item of a collection where no name is given."""
    if isinstance(kind, inspect.StructType):
        return [one for field in kind.fields if field.encode_name == name for one in _alternatives(field.type)]
    if isinstance(kind, inspect.DictType):
        return _alternatives(kind.value_type)
    return _alternatives(kind.item_type) if isinstance(kind, inspect.CollectionType) else []


def _alternatives(kind: inspect.Type) -> list[inspect.Type]:
    return list(kind.types) if isinstance(kind, inspect.UnionType) else [kind]
