"""Reading on in a stream whose rows are each taken once: the next chunks behind a cursor, some at a time."""

from collections.abc import Iterator
from typing import NamedTuple

from loopwright.store import chunks
from loopwright.store.types import Chunk, StreamCursor
from loopwright.store.work import JobContext

MOST_CHUNKS = 5_000
"""Chunks that are listed at once."""


class Page(NamedTuple):
    """Chunks in the order in which they were stored, when the last one was, and whether more follow."""

    chunks: list[Chunk]
    until: int
    has_more: bool


def next_page(context: JobContext, cursor: StreamCursor, most_rows: int) -> Page:
    """Return the first chunks behind a cursor, of hardly more rows than ``most_rows``; none of a moment are parted."""
    since = cursor.until + 1
    listed = context.call(chunks.find_recorded, kind=cursor.kind, stream=cursor.stream, since=since, limit=MOST_CHUNKS)
    read, has_more = _first_of(listed, most_rows)
    return Page(read, read[-1].recorded_at if read else cursor.until, has_more)


def _first_of(page: list[Chunk], most_rows: int) -> tuple[list[Chunk], bool]:
    read: list[Chunk] = []
    rows = 0
    for together in _of_one_moment(page):
        if rows >= most_rows:
            return read, True
        read += together
        rows += sum(chunk.rows for chunk in together)
    if len(page) < MOST_CHUNKS:
        return read, False
    last = page[-1].recorded_at  # others of that moment may stand on the next page
    return [chunk for chunk in read if chunk.recorded_at < last], True


def _of_one_moment(page: list[Chunk]) -> Iterator[list[Chunk]]:
    together: list[Chunk] = []
    for chunk in page:
        if together and together[-1].recorded_at != chunk.recorded_at:
            yield together
            together = []
        together.append(chunk)
    if together:
        yield together
