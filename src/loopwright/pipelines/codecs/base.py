"""The contract of a codec, and the choice of one."""

import hashlib
from pathlib import Path
from typing import Any, Protocol

from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.plugins import load_plugin, plugin_names

BUILT_IN_ORDER = ("json", "frame")
"""Asked first, for they import nothing that is not loaded already."""


class Files:
    """Files of a call: blobs that came in, and files that go out as blobs.

    Args:
        folder: Scratch space of the call.
        paths: File of each incoming blob, by digest.
    """

    def __init__(self, folder: Path, paths: dict[str, str]) -> None:
        self.folder = folder
        self.kept: dict[str, Path] = {}
        self._paths = paths

    def keep(self, path: Path) -> str:
        """Hand over a finished file and return the digest it will be known by."""
        with path.open("rb") as source:
            digest = hashlib.file_digest(source, "sha256").hexdigest()
        self.kept[digest] = path
        return digest

    def path(self, digest: str) -> Path:
        """Return the file of an incoming blob."""
        return Path(self._paths[digest])


class Codec(Protocol):
    """Turns values into documents and back; runs in the child process.

    A document names the blobs it needs as ``{"blob": digest}`` or ``{"blobs": {name: digest}}``.
    """

    def can_encode(self, value: Any) -> bool:
        """Say whether this codec takes the value; must not import a library the value does not come from."""
        ...

    def encode(self, value: Any, files: Files) -> Any:
        """Return the document of a value."""
        ...

    def decode(self, document: dict[str, Any], files: Files) -> Any:
        """Return the value of a document."""
        ...


def encode(value: Any, files: Files) -> Any:
    """Return the document of a value: JSON as it is, everything else under the name of its codec.

    Raises:
        InvalidInput: No codec takes it.
    """
    others = [name for name in plugin_names("codecs") if name not in BUILT_IN_ORDER]
    for name in (*BUILT_IN_ORDER, *others):
        codec: Codec = load_plugin("codecs", name)()
        if codec.can_encode(value):
            document = codec.encode(value, files)
            return document if name == "json" else {**document, "codec": name}
    kind = type(value)
    raise InvalidInput(
        f"a {kind.__module__}.{kind.__qualname__} cannot pass between steps",
        field="return",
        value=value,
        rule=f"JSON values, frames, or what these codecs take: {', '.join([*BUILT_IN_ORDER, *others])}",
        next_step="return a dict, a polars or pandas DataFrame, or a model; several values as a dict of JSON",
    )


def decode(document: Any, files: Files) -> Any:
    """Return the value of a document; JSON stays as it is."""
    if isinstance(document, dict) and isinstance(document.get("codec"), str):
        codec: Codec = load_plugin("codecs", document["codec"])()
        return codec.decode(document, files)
    return document
