"""Sortable ids: a prefix and a ULID (48 bits of milliseconds, 80 bits of chance)."""

import os
import re
import threading

from loopwright.kernel.errors import InvalidInput

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32, as the ULID specification asks."""

_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]
_VALUES = {letter: value for value, letter in enumerate(ALPHABET)}
_ID = re.compile(r"^(?P<prefix>[a-z]{2,8})_(?P<ulid>[0-7][0-9A-HJKMNP-TV-Z]{25})\Z")
_lock = threading.Lock()
_last = (0, 0)


def encode_ulid(number: int) -> str:
    """Return the 26 letters of a 128-bit number."""
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in range(120, -1, -10)])


def new_ulids(count: int, at_us: int) -> list[str]:
    """Return ``count`` strictly growing ULIDs for one moment.

    Args:
        count: How many.
        at_us: Wall time in microseconds since the epoch, UTC.
    """
    global _last
    with _lock:
        at_ms = max(at_us // 1000, _last[0])
        start = _last[1] + 1 if at_ms == _last[0] else int.from_bytes(os.urandom(9)) << 7
        _last = (at_ms, start + count - 1)
    return ulids_from((at_ms << 80) + start, count)


def new_ulid_base(at_us: int) -> int:
    """Return the number of a first ULID by chance, with room for 16,384 after it, for one moment.

    Whoever keeps it can make the same ids again (``ulids_from``), after a crash or in another process.
    """
    return (at_us // 1000 << 80) | (int.from_bytes(os.urandom(8)) >> 1) << 14


def ulids_from(base: int, count: int) -> list[str]:
    """Return ``count`` ULIDs that follow one another, the first of this number.

    >>> ulids_from(31, 2)
    ['0000000000000000000000000Z', '00000000000000000000000010']
    """
    ulids: list[str] = []
    while len(ulids) < count:
        # All but the last two letters change once in 1024.
        number = base + len(ulids)
        letters, low = encode_ulid(number)[:-2], number & 1023
        ulids += [letters + pair for pair in _PAIRS[low : low + count - len(ulids)]]
    return ulids


def new_id(prefix: str, at_us: int) -> str:
    """Return one id such as ``run_01JX…``, growing with time within a process."""
    return f"{prefix}_{new_ulids(1, at_us)[0]}"


def new_ids(prefix: str, count: int, at_us: int) -> list[str]:
    """Return ``count`` growing ids that share a prefix."""
    return [f"{prefix}_{ulid}" for ulid in new_ulids(count, at_us)]


def least_id(prefix: str, at_us: int) -> str:
    """Return the least id of a moment's millisecond: whatever was named before it sorts below.

    >>> least_id("run", 1_000_000)
    'run_00000000Z80000000000000000'
    """
    return f"{prefix}_{encode_ulid(at_us // 1000 << 80)}"


def parse_id(text: str, prefix: str | None = None) -> tuple[str, int]:
    """Split an id into prefix and creation time.

    Returns:
        The prefix and the time in microseconds UTC.

    Raises:
        InvalidInput: The text is not an id, or has another prefix.
    """
    match = _ID.match(text)
    if match is None or (prefix is not None and match["prefix"] != prefix):
        expected = prefix or "prefix"
        raise InvalidInput("this is not an id", value=text, rule=f"{expected}_ and 26 letters of Crockford base 32")
    number = 0
    for letter in match["ulid"]:
        number = (number << 5) | _VALUES[letter]
    return match["prefix"], (number >> 80) * 1000
