"""Which predictions were made for which row: digests of keys in sorted files, of which a look-up reads little.

New predictions become a run, a file. Runs of one size are merged into a larger one, so that there are few of them and
each prediction is written a few times in its life. Keys are kept as digests, so no key stands in an index.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import polars as pl

from loopwright.loop.types import KeyRun
from loopwright.store.blobs import BlobStore
from loopwright.store.chunks import pack_rows

MERGED_AT = 8
"""How many runs of one level become one of the next."""
MOST_MERGED = 4_000_000
"""Rows of the largest run that merging makes, for it is held in memory meanwhile."""
ROWS_OF_KEY = 1_000
"""Where fewer keys are looked for than one in so many rows, what lies between them is passed over."""
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
    blob = blobs.put(pack_rows(rows.select(list(INDEX)).sort("key_high")))
    event_last: int = rows["event_at"].max()  # type: ignore[assignment]  # whole numbers, as every event time of the log
    return KeyRun(number, level, rows.height, event_last, blob.digest, blob.size_bytes)


def find_all(blobs: BlobStore, runs: Iterable[KeyRun], labels: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield the predictions of some keys, with what is told of the keys, run by run.

    Args:
        blobs: Where the files are.
        runs: Where to look.
        labels: ``DIGEST``, each once, and further columns.
    """
    asked = pl.lit(labels["key_high"]).implode()
    for run in runs:
        rows = pl.scan_parquet(blobs.path(run.digest))
        if labels.height * ROWS_OF_KEY < run.rows:
            rows = rows.filter(pl.col("key_high").is_in(asked))  # by row groups
        yield rows.join(labels.lazy(), on=list(DIGEST), how="inner").collect(engine="streaming")


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
