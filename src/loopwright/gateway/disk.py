"""Small documents on the gateway's own disk: written whole or not at all, unreadable ones are told and left out."""

import logging
from pathlib import Path
from typing import Any, TypeVar

from loopwright.kernel.documents import from_json, to_json
from loopwright.kernel.errors import LoopwrightError

T = TypeVar("T")
log = logging.getLogger("loopwright.gateway")


def write_document(path: Path, document: Any) -> None:
    """Replace a document; whoever reads meanwhile sees the one before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".tmp")
    draft.write_bytes(to_json(document))
    draft.chmod(0o600)
    draft.replace(path)


def read_document(path: Path, kind: type[T]) -> T | None:
    """Return a document; None where there is none, or none that can be read."""
    if not path.exists():
        return None
    try:
        return from_json(path.read_bytes(), kind, path.name)
    except (LoopwrightError, UnicodeDecodeError) as error:
        log.warning("%s cannot be read and is ignored: %s", path, error)
        return None
