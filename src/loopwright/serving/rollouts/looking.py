"""What a look at a rollout step reads: rows of the log some at a time, and their labels."""

from collections.abc import Iterator
from itertools import chain

import polars as pl

from loopwright.serving import predictions
from loopwright.serving.rollouts.harm import NEVER
from loopwright.serving.rollouts.judging import LookPart, columns_of
from loopwright.serving.types import JudgeLook
from loopwright.store.blobs import BlobStore
from loopwright.store.types import Chunk

MOST_ROWS = 250_000
"""Rows of the log that are held at once."""
LABELS = ("label", "label_text")


def needs_labels(spec: JudgeLook) -> bool:
    """Say whether a look asks for outcomes."""
    return not set(LABELS).isdisjoint(columns_of(spec.step, spec.task))


def read_parts(
    spec: JudgeLook, chunks: list[Chunk], labels: list[Chunk], blobs: BlobStore, *, most_rows: int = MOST_ROWS
) -> Iterator[LookPart]:
    """Yield what a look sees: rows of its step, each answer once as it was recorded last, and labels known by then.

    Args:
        spec: The look.
        chunks: Chunks of what was predicted while the step ran.
        labels: Chunks of labels that may tell of it.
        blobs: Where their bytes are.
        most_rows: How many rows are held at once.
    """
    columns = [name for name in columns_of(spec.step, spec.task) if name not in LABELS]
    span = {"start_at": spec.start_at, "end_at": spec.end_at + 1}
    parts = predictions.parts(chunks, most_rows)
    for part, closed_before in zip(parts, _closings(parts, blobs), strict=True):
        scanned = part.within(predictions.scan(part.chunks, blobs, columns=columns, **span))
        read = scanned.filter(pl.col("release") >= spec.release).collect()
        rows = predictions.latest(read.lazy()).sort("prediction_id", "variant", "is_shadow").collect()
        among = rows.get_column("prediction_id")
        known = predictions.latest_labels(labels, blobs, known_by=spec.end_at, among=among).collect()
        yield LookPart(rows, known, closed_before)


def _closings(parts: list[predictions.Part], blobs: BlobStore) -> list[int]:
    """Return for each part a moment before which nothing of a later one was recorded."""
    if len(parts) == 1:
        return [NEVER]
    earliest: dict[str, int] = {}
    for chunk in chain.from_iterable(part.chunks for part in parts):
        if chunk.chunk_id not in earliest:
            recorded = predictions.scan([chunk], blobs, columns=["recorded_at"]).min().collect()
            earliest[chunk.chunk_id] = int(recorded.item())
    closings, later = [], NEVER
    for part in reversed(parts):
        closings.append(later)
        later = min([later, *(earliest[chunk.chunk_id] for chunk in part.chunks)])
    return closings[::-1]
