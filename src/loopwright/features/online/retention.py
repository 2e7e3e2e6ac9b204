"""How long a row of the online store is kept: what can still answer is, and nothing else.

A request may lie a slack behind an entity's newest row, so rows are kept that can answer at some moment from there on.
The rule looks at the set of rows alone, not at when each arrived: any order of arrival, and any repetition, ends in the
same state.
"""

import numpy as np

from loopwright.features.pointintime import Ints


def answerable_since(owner: Ints, came_at: Ints, kept_us: int | Ints, most_rows: int | None = None) -> Ints:
    """Return for each row the earliest moment at which its entity may be asked, int64 (n,), microseconds UTC.

    Args:
        owner: int64 (n,), codes of the rows' entities, sorted.
        came_at: int64 (n,), when each row had happened or was known, whichever came first. A forecast lies ahead by its
            event time and was there when it was issued: it must not push out what is asked for today.
        kept_us: How far behind an entity's newest row it may be asked; for all, or int64 (n,).
        most_rows: At most so far that this many of an entity's rows are newer, where rows are denser than the slack.
    """
    start = np.flatnonzero(np.append(True, owner[1:] != owner[:-1]))
    count = np.diff(np.append(start, len(owner)))
    since = np.maximum.reduceat(came_at - kept_us, start)
    if most_rows is not None and count.max() > most_rows:
        crowded = np.flatnonzero(count > most_rows)
        oldest_kept = (start + count)[crowded] - most_rows
        since[crowded] = np.maximum(since[crowded], came_at[np.lexsort((came_at, owner))][oldest_kept])
    return np.repeat(since, count)
