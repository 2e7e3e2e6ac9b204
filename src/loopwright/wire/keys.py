"""Keys of requests to gateways that name their moment, so that any gateway makes the same ids for the same request.

Such a key is an id, ``key_`` and a ULID. A gateway takes every other key too, but what it settled for that one it knows
alone, and until it ends.
"""

import re

from loopwright.kernel.ids import encode_ulid, new_ulid_base, parse_id

_PREFIX = "key"
_KEY = re.compile(rf"{_PREFIX}_[0-7][0-9A-HJKMNP-TV-Z]{{25}}")


def new_key(at_us: int) -> str:
    """Return a key for a request of this moment, microseconds UTC; of chance, also where a process was forked."""
    return f"{_PREFIX}_{encode_ulid(new_ulid_base(at_us))}"


def moment_of(key: str) -> int | None:
    """Return the moment that a key names, microseconds UTC; None where it names none.

    >>> moment_of(new_key(1_000_000)), moment_of("order-17")
    (1000000, None)
    """
    return parse_id(key)[1] if _KEY.fullmatch(key) else None
