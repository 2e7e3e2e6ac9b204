"""Digests as they cross the wire: a field of these types holds nothing that could be a path."""

from typing import Annotated

import msgspec

LETTERS = "64 hexadecimal letters"
Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
"""SHA-256 in hexadecimal."""
MaybeDigest = Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{64})?\Z")]
"""A digest, or the empty text where there is none."""
