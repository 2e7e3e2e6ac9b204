"""What a gateway keeps of what the server said last, beside releases."""

import msgspec

from loopwright.data import SourceSpec
from loopwright.governance import Token

KNOWN_FILE = "known.json"
Name = tuple[str, str]
"""Project and deployment."""


class Known(msgspec.Struct):
    """What the server said last, beside releases: live tokens by digest, clocks by project, models served elsewhere."""

    tokens: dict[str, Token] = {}
    clocks: dict[str, str] = {}
    closed: list[str] = []
    """Projects in which nothing is changed any more."""
    deleted: list[str] = []
    """Those of them whose rows are gone, and are to be gone from this disk."""
    external: list[Name] = []
    personal: dict[str, list[str]] = {}
    """Columns that are left out of the log, by ``project/deployment`` of models served elsewhere."""
    tasks: dict[str, str] = {}
    """What models served elsewhere answer, by ``project/deployment``."""
    pushed: dict[str, list[str]] = {}
    """Columns that are left out of the log of pushes, by ``project/dataset``."""
    topics: dict[str, SourceSpec] = {}
    """Sources of datasets that are read from a topic, by ``project/dataset``."""
