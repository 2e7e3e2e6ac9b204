"""Finding intervals that hold a point, or meet a stretch, with an index: two ways, one for ids and one for times.

"Begins before and ends after" is half open on either side, so an ordinary index reads everything that begins before.
Intervals of a log are short, almost all of them, and some are long. So each row says how long it is, roughly, and a
query asks for each length apart: of those of a length it need look back no further than that length.
"""

from collections.abc import Iterable
from itertools import pairwise, takewhile

PREFIX_LENGTH = 32
"""Letters of an id that count: all of ``pred_`` and a ULID."""
SPAN_CLASSES = 14
"""Classes of length: the first up to 16 microseconds, each 16 times longer, the last for everything beyond."""
_BITS = 4


def shared_prefix(first: str, last: str) -> str:
    """Return the letters that the first and last id of a chunk share; every id between them begins so.

    Ids are ULIDs, whose first letters are their time: the prefix is a stretch of time that holds the chunk, and the
    chunks which may hold an id are those whose prefix begins the id, at most one stretch of each length.

    >>> shared_prefix("pred_01ABC", "pred_01AXY")
    'pred_01A'
    """
    shared = takewhile(lambda pair: pair[0] == pair[1], zip(first[:PREFIX_LENGTH], last, strict=False))
    return "".join(letter for letter, _ in shared)


def prefixes_of(item_id: str) -> list[str]:
    """Return every prefix that a chunk with this id may have, always as many; some come twice.

    >>> prefixes_of("ab")[:4]
    ['', 'a', 'ab', 'ab']
    """
    return [item_id[:length] for length in range(PREFIX_LENGTH + 1)]


def join_ranges(ranges: Iterable[tuple[str, str]], most: int) -> list[tuple[str, str]]:
    """Return at most so many ranges of ids, ascending, that hold all that some ranges hold; the widest gaps stay open.

    >>> join_ranges([("a", "c"), ("b", "d"), ("x", "y"), ("e", "f")], 2)
    [('a', 'f'), ('x', 'y')]
    """
    joined: list[tuple[str, str]] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    if len(joined) <= most:
        return joined
    shared = len(shared_prefix(joined[0][0], joined[-1][1]))
    gaps = [_number(after[0], shared) - _number(before[1], shared) for before, after in pairwise(joined)]
    cuts = sorted(sorted(range(len(gaps)), key=gaps.__getitem__, reverse=True)[: most - 1])
    begins, ends = [0, *(cut + 1 for cut in cuts)], [*cuts, len(joined) - 1]
    return [(joined[begin][0], joined[end][1]) for begin, end in zip(begins, ends, strict=True)]


def _number(item_id: str, shared: int) -> int:
    """Return where an id lies among those that share their first letters, as a number."""
    return int.from_bytes(item_id[shared : shared + PREFIX_LENGTH].encode().ljust(PREFIX_LENGTH, b"\0")[:PREFIX_LENGTH])


def span_class(begin: int, end: int) -> int:
    """Return the class of an interval's length.

    >>> [span_class(0, length) for length in (0, 15, 16, 255, 256)]
    [0, 0, 1, 1, 2]
    """
    return min(max(0, (end - begin).bit_length() - 1) // _BITS, SPAN_CLASSES - 1)


def longest_span(of_class: int) -> int:
    """Return the longest that intervals of a class may be; the last class has no end.

    >>> [longest_span(each) for each in (0, 1, 2)]
    [15, 255, 4095]
    """
    return (1 << _BITS * (of_class + 1)) - 1 if of_class < SPAN_CLASSES - 1 else 1 << 62
