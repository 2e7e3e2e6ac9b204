"""JSON scalars, lists and dicts."""

import json
import math
from typing import Any

from loopwright.pipelines.codecs.base import Files

_MOST_LETTERS = 200_000
"""Of one text that is told to the server; a longer one travels as a file."""


class JsonCodec:
    """Passes JSON values as they are; those that JSON cannot hold exactly (NaN, lone surrogates) as Python's JSON text.

    That text, and a value with a very long one, is a file where it is too long to be told.
    """

    def can_encode(self, value: Any) -> bool:
        """Take None, booleans, numbers, text, and lists and dicts of them; NumPy's scalars too."""
        if isinstance(value, dict):
            return all(isinstance(key, str) and self.can_encode(item) for key, item in value.items())
        if isinstance(value, list | tuple):
            return all(self.can_encode(item) for item in value)
        return value is None or isinstance(value, bool | int | float | str) or _is_scalar(value)

    def encode(self, value: Any, files: Files) -> Any:
        """Return the value with plain Python scalars."""
        plain = _plain(value)
        if _is_exact(plain):
            return plain
        text = json.dumps(plain)
        if len(text) <= _MOST_LETTERS:
            return {"codec": "json", "text": text}
        path = files.folder / f"json-{len(files.kept)}.json"
        path.write_text(text, "ascii")
        return {"codec": "json", "blob": files.keep(path)}

    def decode(self, document: dict[str, Any], files: Files) -> Any:
        """Return the value of the text."""
        return json.loads(document["text"] if "text" in document else files.path(document["blob"]).read_text("ascii"))


def _is_scalar(value: Any) -> bool:
    return type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0 and value.dtype.kind in "biufU"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.item() if type(value).__module__ == "numpy" else value


def _is_exact(value: Any) -> bool:
    """Say whether the value survives our JSON and is not taken for the document of a codec."""
    if isinstance(value, str):
        return len(value) <= _MOST_LETTERS and _is_utf8(value)
    if isinstance(value, dict):
        return "codec" not in value and all(map(_is_exact, value)) and all(map(_is_exact, value.values()))
    if isinstance(value, list):
        return all(map(_is_exact, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
