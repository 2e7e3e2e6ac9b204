"""JSON scalars, lists and dicts."""

import json
import math
from typing import Any

from loopwright.pipelines.codecs.base import Files


class JsonCodec:
    """Passes JSON values as they are; those that JSON cannot hold exactly (NaN, infinity) as Python's JSON text."""

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
        return {"codec": "json", "text": json.dumps(plain)}

    def decode(self, document: dict[str, Any], files: Files) -> Any:
        """Return the value of the text."""
        return json.loads(document["text"])


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
    if isinstance(value, dict):
        return "codec" not in value and all(map(_is_exact, value.values()))
    if isinstance(value, list):
        return all(map(_is_exact, value))
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or -(2**63) <= value < 2**63
