"""Which rows fail by themselves: what failed together is tried again, in smaller and smaller blocks.

Every row counts by itself then: one row in a hundred that a model cannot answer is one failure, not a hundred, whoever
of champion and candidate has the larger part.
"""

import time
from collections.abc import Callable

_CUTS = 32
"""Into how many blocks what failed is cut, at most; up to so many rows are tried one by one."""
_MOST_TIMES = 2
"""How often a row is tried again, on average, at most."""
LONGEST_S = 0.5
"""How long one part may be tried again; others wait meanwhile."""


def find_failures(rows: int, why: str, attempt: Callable[[range], str | None], until: float) -> dict[int, str]:
    """Return the rows that cannot be answered, each with why; the others have been answered by ``attempt``.

    Where it is not found out in time, and where nothing at all can be answered, rows of a block share its error. A row
    that failed among others and passes now is answered, so it may be that none is left.

    Args:
        rows: How many failed together.
        why: How they failed.
        attempt: Answers some of them; returns why it cannot, None where it could.
        until: ``time.perf_counter()`` after which no more is tried.
    """
    failures = dict.fromkeys(range(rows), why)
    until = min(until, time.perf_counter() + LONGEST_S)
    may_try = _MOST_TIMES * rows
    failed_alone = 0
    blocks = [range(rows)]
    while blocks := [cut for block in blocks if len(block) > 1 for cut in _cut(block)]:
        failed: list[range] = []
        for block in blocks:
            may_try -= len(block)
            is_hopeless = failed_alone >= _CUTS and len(failures) == rows
            if is_hopeless or may_try < 0 or time.perf_counter() >= until:
                return failures
            told = attempt(block)
            if told is not None:
                failures.update(dict.fromkeys(block, told))
                failed.append(block)
                failed_alone += len(block) == 1
                continue
            for row in block:
                del failures[row]
        blocks = failed
    return failures


def _cut(block: range) -> list[range]:
    """Return a block in parts of one size, the last one smaller.

    >>> _cut(range(10, 12)), _cut(range(100))[-1], len(_cut(range(100)))
    ([range(10, 11), range(11, 12)], range(96, 100), 25)
    """
    size = -(-len(block) // _CUTS)
    return [block[begin : begin + size] for begin in range(0, len(block), size)]
