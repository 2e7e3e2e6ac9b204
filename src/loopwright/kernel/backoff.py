"""How long to wait before something that failed is tried again."""

_MOST_DOUBLED = 64
"""A pause that was doubled so often is longer than any; a number that goes on growing would not fit one day."""


def backoff_s(tries: int, first_s: float, longest_s: float) -> float:
    """Return the pause after so many tries: doubled with each, up to the longest.

    >>> [backoff_s(tries, 0.5, 15.0) for tries in (0, 1, 4, 5, 100_000)]
    [0.5, 1.0, 8.0, 15.0, 15.0]
    """
    return min(first_s * 2.0 ** min(tries, _MOST_DOUBLED), longest_s)
