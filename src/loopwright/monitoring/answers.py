"""The answers of a window: tallied from profiles of chunks where they serve, else from rows, some at a time."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import polars as pl

from loopwright.monitoring.chunk_profiles import usable_profiles
from loopwright.monitoring.reference import Reference
from loopwright.monitoring.tallies import (
    BASE_COLUMNS,
    COUNTED_COLUMNS,
    Tally,
    add_up,
    feature_columns,
    served_only,
    tally_rows,
)
from loopwright.monitoring.types import WindowTask
from loopwright.serving import predictions
from loopwright.store.blobs import BlobStore
from loopwright.store.slices import slices
from loopwright.store.streams import FEATURE_PREFIX
from loopwright.store.types import Chunk

MOST_ROWS = 250_000
"""Rows of the log that are held at once; those with labels are kept."""


class Answers(NamedTuple):
    """What was answered in a window, and the rows whose outcome is known: ``BASE_COLUMNS``, segments, the label."""

    tally: Tally
    labelled: pl.DataFrame


def read_answers(task: WindowTask, blobs: BlobStore, reference: Reference | None) -> Answers:
    """Return what was answered in a window, each answer once, as it was recorded last.

    Args:
        task: The window, its chunks, what is known of it.
        blobs: Where rows and profiles are.
        reference: In whose bins values are counted; None to count none.
    """
    profiled = usable_profiles(task, blobs, needs_bins=reference is not None)
    segments = [FEATURE_PREFIX + name for name in task.monitor.spec.segments]
    kept = [*BASE_COLUMNS, *segments]
    columns = list(dict.fromkeys([*COUNTED_COLUMNS, *segments, *feature_columns(reference)]))
    tallies, labelled = [profile.tally for profile in profiled.values()], []
    if reference is None:
        tallies = [msgspec.structs.replace(tally, profile=None) for tally in tallies]
    rest = [chunk for chunk in task.predictions if chunk.chunk_id not in profiled]
    for part in predictions.parts(rest, MOST_ROWS):
        rows = predictions.latest(_scan(task, part, blobs, columns)).collect()
        tallies.append(tally_rows(rows, reference))
        labels = predictions.latest_labels(task.labels, blobs, among=rows.get_column("prediction_id")).collect()
        labelled.append(rows.select(kept).join(labels, on="prediction_id", how="inner"))
    counted = [chunk for chunk in task.predictions if chunk.chunk_id in profiled]
    labels = _read_labels(task, counted, blobs)
    for chunks in slices(_with_labels(counted, labels), MOST_ROWS):
        rows = (
            _scan(task, predictions.Part(chunks), blobs, kept)
            .join(labels.lazy(), on="prediction_id", how="inner")
            .collect()
        )
        labelled.append(rows)
    return Answers(add_up(tallies), pl.concat(labelled, how="diagonal_relaxed"))


def _scan(task: WindowTask, part: predictions.Part, blobs: BlobStore, columns: list[str]) -> pl.LazyFrame:
    span = {"start_at": task.start_at, "end_at": task.end_at}
    return part.within(predictions.scan(part.chunks, blobs, columns=columns, **span).filter(served_only()))


def _read_labels(task: WindowTask, chunks: Sequence[Chunk], blobs: BlobStore) -> pl.DataFrame:
    """Return the labels of predictions whose ids lie where those of some chunks do: ids follow time where few overlap.

    What the ids are is not known, for nobody reads them.
    """
    ids = [name for chunk in chunks for name in (chunk.id_first, chunk.id_last)]
    between = (min(ids), max(ids)) if ids else ("", "")
    return predictions.latest_labels(task.labels, blobs, between=between).collect()


def _with_labels(chunks: Sequence[Chunk], labels: pl.DataFrame) -> list[Chunk]:
    """Return the chunks among whose ids there are labels."""
    ids = labels.get_column("prediction_id").sort()
    bounds = pl.DataFrame([(chunk.id_first, chunk.id_last) for chunk in chunks], schema=["low", "high"], orient="row")
    if not len(chunks) or not len(ids):
        return []
    below = ids.search_sorted(bounds.get_column("low"), side="left")
    upto = ids.search_sorted(bounds.get_column("high"), side="right")
    return [chunk for chunk, is_named in zip(chunks, (upto > below).to_list(), strict=True) if is_named]
