"""The stored form of profiles, and reading what earlier versions of it were."""

import zlib
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from loopwright.data.profiles.columns import Profile
from loopwright.kernel.errors import Corrupt

T = TypeVar("T")


def to_bytes(document: msgspec.Struct) -> bytes:
    """Return the stored form of a profile, or of a struct that holds some: compressed MessagePack."""
    return zlib.compress(msgspec.msgpack.encode(document), 1)


def from_bytes(body: bytes) -> Profile:
    """Return the profile of stored bytes.

    Raises:
        Corrupt: They hold no profile.
    """
    return decode(body, Profile, upgrade_profile)


def decode(body: bytes, kind: type[T], upgrade: Callable[[Any], Any] = lambda document: document) -> T:
    """Return the struct of stored bytes; where an earlier form is stored, as ``upgrade`` makes it of plain values.

    Raises:
        Corrupt: They hold neither.
    """
    try:
        packed = zlib.decompress(body)
        try:
            return msgspec.msgpack.decode(packed, type=kind)
        except msgspec.ValidationError:
            return msgspec.convert(upgrade(msgspec.msgpack.decode(packed)), kind)
    except (zlib.error, msgspec.DecodeError, LookupError, TypeError, AttributeError) as error:
        raise Corrupt("a stored profile cannot be read", value=str(error)) from None


def upgrade_profile(document: Any) -> Any:
    """Return a stored profile whose columns were sketches (bins of counts alone) as profiles are now.

    Such a sketch counted infinities in its outer bins and NaN as null; different values it did not count.
    """
    return {
        "rows": document["rows"],
        "columns": {name: _upgrade_sketch(sketch) for name, sketch in document["sketches"].items()},
    }


def _upgrade_sketch(sketch: dict[str, Any]) -> dict[str, Any]:
    counts, levels = sketch["counts"], sketch["levels"]
    count = sum(counts)
    read = {"rows": count + sketch["nulls"], "nulls": sketch["nulls"], "count": count}
    if levels:
        return {**read, "kind": "category", "categories": levels, "category_counts": counts[:-1], "other": counts[-1]}
    return {**read, "kind": "number", "edges": sketch["edges"], "bin_counts": counts, "bin_sums": sketch["sums"]}
