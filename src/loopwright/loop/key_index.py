"""Which predictions were made for which row: digests of keys in sorted files, of which a look-up opens few.

New predictions become a run of files. Runs of one size are merged into a larger one, so that there are few of them and
each prediction is written a few times in its life. Keys are kept as digests, so no key stands in an index.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import polars as pl

from loopwright.loop.types import KeyPart, KeyRun
from loopwright.store.blobs import BlobStore
from loopwright.store.chunks import pack_rows

ROWS_OF_PART = 500_000
"""Rows of a file; digests are spread evenly, so a look-up of few keys opens few files."""
MERGED_AT = 8
"""How many runs of one level become one of the next."""
MOST_MERGED = 4_000_000
"""Rows of the largest run that merging makes, for it is held in memory meanwhile."""
DIGEST = {"key_high": pl.Int64(), "key_low": pl.Int64()}
"""The two halves of a key's digest; files are sorted by the first."""
INDEX = pl.Schema({**DIGEST, "prediction_id": pl.String(), "event_at": pl.Int64()})


def with_digests(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows with the digests of their ``row_key`` in its place.

    They are BLAKE2b of 16 bytes (RFC 7693): those of a billion keys meet with a chance of 10^-21.
    """
    texts = rows["row_key"].to_list()
    digests = b"".join(hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts)
    halves = np.frombuffer(digests, ">i8").reshape(-1, 2).astype(np.int64)
    columns = [pl.Series(name, halves[:, place], pl.Int64) for place, name in enumerate(DIGEST)]
    return rows.drop("row_key").with_columns(columns)


def write_run(blobs: BlobStore, rows: pl.DataFrame, *, number: int, level: int) -> KeyRun:
    """Store predictions as a run.

    Args:
        blobs: Where.
        rows: As ``INDEX``.
        number: Of the run.
        level: 0 for what is new, one more for what was merged.
    """
    ordered = rows.select(list(INDEX)).sort("key_high")
    parts = [_write_part(blobs, part) for part in ordered.iter_slices(ROWS_OF_PART)]
    event_last: int = rows["event_at"].max()  # type: ignore[assignment]  # whole numbers, as every event time of the log
    return KeyRun(number, level, rows.height, event_last, parts)


def _write_part(blobs: BlobStore, part: pl.DataFrame) -> KeyPart:
    blob = blobs.put(pack_rows(part))
    return KeyPart(blob, part.height, part["key_high"][0], part["key_high"][-1])


def read_run(blobs: BlobStore, run: KeyRun) -> pl.DataFrame:
    """Return the predictions of a run."""
    return pl.concat([pl.read_parquet(blobs.path(part.blob.digest)) for part in run.parts])


def find_all(blobs: BlobStore, runs: Iterable[KeyRun], labels: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield the predictions of some keys, with what is told of the keys, file by file.

    Args:
        blobs: Where the files are.
        runs: Where to look.
        labels: ``DIGEST``, each once, and further columns.
    """
    asked = labels["key_high"].sort()
    for part in (part for run in runs for part in run.parts):
        at = int(asked.search_sorted(part.first, side="left"))
        if at < len(asked) and asked[at] <= part.last:
            yield match(pl.read_parquet(blobs.path(part.blob.digest)), labels)


def match(rows: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """Return the rows whose keys are among those of the labels, with what these say."""
    return rows.join(labels, on=list(DIGEST), how="inner")


def to_merge(runs: Sequence[KeyRun]) -> list[KeyRun]:
    """Return runs of one level that are to become one; none where they are few."""
    for level in sorted({run.level for run in runs}):
        same = [run for run in runs if run.level == level and run.rows * MERGED_AT <= MOST_MERGED]
        if len(same) >= MERGED_AT:
            return same[:MERGED_AT]
    return []
