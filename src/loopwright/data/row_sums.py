"""Sums of row hashes: what a version's digest is made of, so that it follows from what was added and what went."""

_MASK = (1 << 64) - 1


def add_row_sums(left: str, right: str) -> str:
    """Return the sum of two row sums: two lanes of 64 bits, as hexadecimal letters; empty is zero."""
    # Added, not hashed again: an append knows the digest of the whole from its own rows and the sum before them.
    return "".join(f"{(one + other) & _MASK:016x}" for one, other in zip(_lanes(left), _lanes(right), strict=True))


def subtract_row_sums(left: str, right: str) -> str:
    """Return the row sum that, added to ``right``, makes ``left``."""
    return "".join(f"{(one - other) & _MASK:016x}" for one, other in zip(_lanes(left), _lanes(right), strict=True))


def _lanes(row_sum: str) -> tuple[int, int]:
    return int(row_sum[:16] or "0", 16), int(row_sum[16:] or "0", 16)
