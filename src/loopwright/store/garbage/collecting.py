"""Which blobs go, and how they go beside writers and readers.

Bytes are stored before a row names them, and readers look a digest up before they read its bytes. So neither *no row
names it now* nor *nobody names it in a moment* suffices. A blob goes in steps, over two runs of the collection:

1. **Mark.** Everything that is stored and that no row names on one snapshot is written into ``condemned_blobs``. Then
   rows are read once more: what was named between snapshot and commit is taken off again.
2. **Wait**, a grace period (``GRACE_US``). A reader that had looked the digest up has read it by then.
3. **Look again.** A later run marks anew. What a row names now is taken off the list.
4. **Take.** One transaction takes blobs off the list and drops the rows that say who may read them. It takes only what
   is still on the list, and every verb that names a blob takes it off in its own transaction (``Tx.keep_blobs``,
   ``Tx.require_blobs``): either the verb comes first and the blob stays, or it comes after and a caller that did not
   put the bytes again is told that the project has no such blob.
5. **Sweep.** The store removes the bytes, unless they were put within the grace period: whoever put them names them
   next, and the transaction of step 4 cannot know of him. The store sees to it that a put beside the sweep is not lost.

Killed between two of these, nothing is named that is not stored: before step 5 all bytes are there, and bytes that
step 5 did not reach are condemned anew by the next run.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TypeVar

import msgspec

from loopwright.kernel.clock import DAY_US, HOUR_US, Clock
from loopwright.kernel.errors import InvalidInput
from loopwright.store import sql
from loopwright.store.blobs import BlobStore
from loopwright.store.engine import Database
from loopwright.store.garbage.pins import named_blobs
from loopwright.store.garbage.types import Freed, Garbage
from loopwright.store.types import BlobRef

T = TypeVar("T")

GRACE_US = DAY_US
"""How long a blob stays that no row names: longer than any reader holds a digest, or a writer leaves bytes unnamed."""
LEAST_GRACE_US = 2 * HOUR_US
_ROWS_AT_ONCE = 200
"""Blobs that are condemned or taken in one transaction: others write between two."""


class Marked(msgspec.Struct, frozen=True):
    """What is stored: blobs that no row names, with the moment since which none does; and the others, by what for."""

    unnamed: dict[str, tuple[int, int]]
    kept: list[Freed]


def collect_blobs(
    database: Database, blobs: BlobStore, clock: Clock, *, is_plan: bool = False, grace_us: int = GRACE_US
) -> Garbage:
    """Free blobs that no row has named for a grace period, and condemn those that none names since now.

    Args:
        database: With the tables of every room, which must be imported.
        blobs: Its blob store.
        clock: Wall time.
        is_plan: True to say what would be freed and change nothing.
        grace_us: Microseconds, two hours at least.

    Raises:
        InvalidInput: The grace period is too short for writers and readers.
    """
    if grace_us < LEAST_GRACE_US:
        raise InvalidInput("this grace period is too short for writers and readers", field="grace", rule="2h or more")
    before_us = clock.now_us() - grace_us
    marked = mark_blobs(database, blobs, clock, is_plan=is_plan)
    due = {digest: size for digest, (size, since) in marked.unnamed.items() if since < before_us}
    young = [(size, since) for digest, (size, since) in marked.unnamed.items() if digest not in due]
    if is_plan:
        freed = [BlobRef(digest, size) for digest, size in due.items()]
        draft_bytes = 0
    else:
        freed = sweep_blobs(database, blobs, due, before_us)
        draft_bytes = blobs.sweep_drafts(before_us)
    return Garbage(
        is_plan,
        [_sum_up("blobs", freed), *([Freed("half-written blobs", 1, draft_bytes)] if draft_bytes else [])],
        Freed("blobs", len(young), sum(size for size, _ in young)),
        min((since + grace_us for _, since in young), default=None),
        marked.kept,
    )


def mark_blobs(database: Database, blobs: BlobStore, clock: Clock, *, is_plan: bool = False) -> Marked:
    """Condemn every blob that no row names, and take those off the list that one names."""
    stored = {ref.digest: ref.size_bytes for ref in blobs.inventory()}
    with database.reading(without_deadline=True) as connection:
        named = named_blobs(connection)
        condemned = sql.all_condemned(connection)
        recorded = {ref.digest: 0 for _, ref in sql.all_blobs(connection)}  # of what was lost only the row is left
    now_us = clock.now_us()
    unnamed = {
        digest: condemned.get(digest, (size, now_us))
        for digest, size in (recorded | stored).items()
        if bytes.fromhex(digest) not in named
    }
    kept = _sum_up_kept(stored, named)
    if not is_plan:
        gone = [digest for digest in condemned if digest not in unnamed]
        new = [BlobRef(digest, size) for digest, (size, _) in unnamed.items() if digest not in condemned]
        gone += _condemn(database, new, now_us)
        for part in _parts(gone):
            database.write(partial(sql.forget_condemned, digests=part))
        for digest in gone:
            unnamed.pop(digest, None)
    return Marked(unnamed, kept)


def sweep_blobs(database: Database, blobs: BlobStore, digests: Iterable[str], before_us: int) -> list[BlobRef]:
    """Remove blobs that are condemned since before a moment and were not put since; return them."""
    swept = []
    for part in _parts(list(digests)):
        taken = database.write(partial(sql.take_condemned, digests=part, before_us=before_us))
        swept += blobs.sweep(taken, before_us)
    return swept


def _condemn(database: Database, refs: list[BlobRef], now_us: int) -> list[str]:
    """Condemn blobs; return those that a row named between the look at the rows and now."""
    for part in _parts(refs):
        database.write(partial(sql.condemn_blobs, refs=part, wall_us=now_us))
    if not refs:
        return []
    with database.reading(without_deadline=True) as connection:
        named = named_blobs(connection)
    return [ref.digest for ref in refs if bytes.fromhex(ref.digest) in named]


def _parts(items: list[T]) -> Iterator[list[T]]:
    return (items[begin : begin + _ROWS_AT_ONCE] for begin in range(0, len(items), _ROWS_AT_ONCE))


def _sum_up(what: str, refs: list[BlobRef]) -> Freed:
    return Freed(what, len(refs), sum(ref.size_bytes for ref in refs))


def _sum_up_kept(stored: dict[str, int], named: dict[bytes, str]) -> list[Freed]:
    files, size_bytes = Counter[str](), Counter[str]()
    for digest, size in stored.items():
        if words := named.get(bytes.fromhex(digest)):
            files[words] += 1
            size_bytes[words] += size
    return [Freed(words, files[words], size_bytes[words]) for words in sorted(files, key=size_bytes.__getitem__)[::-1]]
