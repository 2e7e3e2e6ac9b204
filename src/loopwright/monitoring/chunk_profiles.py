"""Profiles of chunks: the tally of a sealed run of predictions, so that a window need not read its rows.

A window adds up the tallies of chunks that lie wholly inside it. An answer that was logged twice counts once, so a
chunk is added up only where it shares no answer with another one: chunks follow each other in the order of their ids
and meet at their ends, and these are kept by name.
"""

from collections.abc import Mapping, Sequence

import msgspec
import polars as pl

from loopwright.data import profiles
from loopwright.kernel.digests import Digest
from loopwright.kernel.errors import Corrupt, NotFound
from loopwright.monitoring.reference import Reference
from loopwright.monitoring.tallies import COUNTED_COLUMNS, Tally, feature_columns, served_only, tally_rows
from loopwright.monitoring.types import WindowTask
from loopwright.serving import predictions
from loopwright.store.blobs import BlobStore
from loopwright.store.types import Chunk

ENDS = 64
"""So many answers with the lowest ids of a chunk are kept by name, and as many with the highest."""
_MOST_PAIRS = 8
"""Where chunks overlap more of each other than this, on average, their rows are read at once."""
Answer = tuple[str, str, bool]
"""What names one answer: prediction id, variant, whether it is a shadow's."""
_ANSWER = ["prediction_id", "variant", "is_shadow"]


class ChunkProfile(msgspec.Struct, frozen=True):
    """What is known of a chunk of predictions.

    ``tally`` is in the bins of ``reference``. ``is_unique`` says that no answer is in it twice; ``first`` and ``last``
    are its answers with the lowest and highest ids, in order; a chunk of fewer than 64 has all of them in each.
    """

    reference: Digest
    tally: Tally
    is_unique: bool
    first: list[Answer]
    last: list[Answer]

    def answers_between(self, low: str, high: str) -> set[Answer] | None:
        """Return the answers with ids from ``low`` to ``high``, both inclusive; None where it does not know all."""
        if len(self.first) < ENDS or high < self.first[-1][0]:
            known = self.first
        elif low > self.last[0][0]:
            known = self.last
        else:
            return None
        return {answer for answer in known if low <= answer[0] <= high}


def profile_chunk(chunk: Chunk, blobs: BlobStore, digest: str, reference: Reference) -> ChunkProfile:
    """Return what is known of a chunk, in the bins of a reference that is stored under ``digest``."""
    columns = [*COUNTED_COLUMNS, *feature_columns(reference)]
    rows = predictions.scan([chunk], blobs, columns=columns).filter(served_only()).collect()
    answers = rows.select(_ANSWER).sort(_ANSWER)
    ends = [list(part.iter_rows()) for part in (answers.head(ENDS), answers.tail(ENDS))]
    return ChunkProfile(digest, tally_rows(rows, reference), not answers.is_duplicated().any(), *ends)


def usable_profiles(task: WindowTask, blobs: BlobStore, *, needs_bins: bool) -> dict[str, ChunkProfile]:
    """Return by id the chunks of a window whose profiles say the same as their rows would.

    Args:
        task: The window and its chunks.
        blobs: Where profiles are.
        needs_bins: False where only answers are counted, and it does not matter what they are compared with.
    """
    found = {}
    for chunk in task.predictions:
        is_inside = chunk.event_at_min >= task.start_at and chunk.event_at_max < task.end_at
        profile = _load(chunk, blobs) if is_inside and chunk.profile_digest else None
        if profile is None or not profile.is_unique:
            continue
        if not needs_bins or profile.reference == task.monitor.reference:
            found[chunk.chunk_id] = profile
    shared = _sharing(task.predictions, found, blobs) if found else set()
    return {chunk_id: profile for chunk_id, profile in found.items() if chunk_id not in shared}


def _load(chunk: Chunk, blobs: BlobStore) -> ChunkProfile | None:
    try:
        return profiles.decode(blobs.get(chunk.profile_digest), ChunkProfile)
    except (Corrupt, NotFound):
        return None  # the rows are the truth, and are read


def _sharing(chunks: Sequence[Chunk], known: Mapping[str, ChunkProfile], blobs: BlobStore) -> set[str]:
    """Return the chunks with an answer that another one has too; all, where too many overlap to look at each pair."""
    shared: set[str] = set()
    open_chunks: list[Chunk] = []
    pairs = 0
    for chunk in sorted(chunks, key=lambda chunk: chunk.id_first):
        open_chunks = [other for other in open_chunks if other.id_last >= chunk.id_first]
        for other in open_chunks:
            if chunk.chunk_id not in known and other.chunk_id not in known:
                continue  # both are read as rows, among which each answer is taken once
            pairs += 1
            if pairs > _MOST_PAIRS * len(chunks):
                return {chunk.chunk_id for chunk in chunks}
            if _share(chunk, other, known, blobs):
                shared |= {chunk.chunk_id, other.chunk_id}
        open_chunks.append(chunk)
    return shared


def _share(chunk: Chunk, other: Chunk, known: Mapping[str, ChunkProfile], blobs: BlobStore) -> bool:
    low, high = max(chunk.id_first, other.id_first), min(chunk.id_last, other.id_last)
    mine, theirs = (_answers(each, known.get(each.chunk_id), low, high, blobs) for each in (chunk, other))
    return not mine.isdisjoint(theirs)


def _answers(chunk: Chunk, profile: ChunkProfile | None, low: str, high: str, blobs: BlobStore) -> set[Answer]:
    answers = None if profile is None else profile.answers_between(low, high)
    if answers is None:
        rows = predictions.scan([chunk], blobs, columns=_ANSWER).filter(served_only())
        named = rows.filter(pl.col("prediction_id").is_between(pl.lit(low), pl.lit(high))).collect()  # by row groups
        answers = set(named.iter_rows())
    return answers
