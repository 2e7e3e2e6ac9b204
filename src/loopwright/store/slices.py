"""Taking chunks or fragments some at a time, so that what is read of them at once has a bound."""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar


class HasRows(Protocol):
    """A chunk, a fragment: rows that are stored together."""

    @property
    def rows(self) -> int:
        """How many."""
        ...


T = TypeVar("T", bound=HasRows)


def slices(stored: Iterable[T], most_rows: int) -> Iterator[list[T]]:
    """Yield what is stored in its order, so many together that they hold few enough rows, at least one.

    >>> from collections import namedtuple
    >>> [len(part) for part in slices(map(namedtuple("Chunk", "rows"), [4, 5, 20, 1]), 10)]
    [2, 1, 1]
    """
    part: list[T] = []
    rows = 0
    for each in stored:
        if part and rows + each.rows > most_rows:
            yield part
            part, rows = [], 0
        part.append(each)
        rows += each.rows
    if part:
        yield part
