"""What is done to a request that was fine, drawn from a seed: values, bytes, and how many of them are played.

A mutation is drawn from its seed alone, so ``LOOPWRIGHT_FUZZ_FIRST=<seed> LOOPWRIGHT_FUZZ=1`` plays one again.
"""

import copy
import json
import os
import random
from collections.abc import Iterator, Sequence
from typing import Any

SEEDS = int(os.environ.get("LOOPWRIGHT_FUZZ", "300"))
FIRST = int(os.environ.get("LOOPWRIGHT_FUZZ_FIRST", "1"))
NASTY: list[Any] = [
    *(None, True, False, 0, -1, 3.0, 0.5, 1e39, -1e308, 2**53, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**400, 5e-324),
    *("", " ", "\0", "a\0b", "x" * 300, "NaN", "1", "é", "\U0001f600", "\ud800", "pred_0", "../..", "{x.__class__}"),
    *("2026-03-01", "2026-03-01T12:00:00", "2026-03-01T12:00:00Z", "0001-01-01T00:00:00Z", "2126-01-01T00:00:00Z"),
    *(1_772_366_400, 1_772_366_400_000, 1_772_366_400_000_000, 2**62),
    *([], {}, [[]], [1, [2]], {"a": {}}, [None], {"": 0}),
]


def seeds(share: int = 1) -> range:
    """Return the seeds to play; one of ``share`` of them where each costs more."""
    return range(FIRST, FIRST + -(-SEEDS // share))


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value inside a document."""
    inside = document.items() if isinstance(document, dict) else enumerate(document)
    for name, value in inside:
        yield (*path, name)
        if isinstance(value, dict | list):
            yield from places(value, (*path, name))


def change_value(
    random_: random.Random, document: Any, names: Sequence[str] = ("x",), nasty: Sequence[Any] = NASTY
) -> None:
    """Replace, drop, double, wrap or add one value somewhere.

    Args:
        random_: What is drawn from.
        document: What is changed.
        names: Of fields that may be added.
        nasty: Values that may be put in.
    """
    found = list(places(document))
    if not found:
        return
    *above, name = random_.choice(found)
    around = document
    for step in above:
        around = around[step]
    what = random_.randrange(6)
    if what <= 2:
        around[name] = copy.deepcopy(random_.choice(nasty))
    elif what == 3:
        del around[name]
    elif what == 4:
        around[name] = [around[name]] if random_.random() < 0.5 else {"a": around[name]}
    elif isinstance(around, dict):
        around[random_.choice(names)] = copy.deepcopy(random_.choice(nasty))
    else:
        around.append(copy.deepcopy(around[name]))


def change_bytes(random_: random.Random, body: bytes) -> bytes:
    """Flip, cut, drop or put in bytes."""
    at = random_.randrange(len(body) + 1)
    what = random_.randrange(4)
    if what == 0:
        return body[:at]
    if what == 1:
        return body[:at] + bytes([random_.randrange(256)]) + body[at + 1 :]
    if what == 2:
        junk = [b"\xff", b"\0", b"[" * 2000, b'{"a":', b"1e999", b"NaN", b"-", b"\\u0000"]
        return body[:at] + random_.choice(junk) + body[at:]
    return body[:at] + body[at + random_.randrange(1, 9) :]


def as_bytes(document: Any) -> bytes:
    """Return a document as JSON, whatever texts it holds."""
    return json.dumps(document).encode("utf-8", "surrogatepass")
