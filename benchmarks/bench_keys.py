"""Predictions by the key of their row, in the index of labels by key, against a search of the log.

A log of chunks as merging leaves them, keys in no order. Few labels are looked for, as come in ten minutes; and many,
as come when a month's outcomes are known at once. The rival reads the keys of the log, and joins.
"""

import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from frame import Bench, timed

from loopwright.kernel.ids import encode_ulid
from loopwright.loop import key_index
from loopwright.loop.types import KeyRun
from loopwright.serving import predictions
from loopwright.store.blobs import BlobStore, open_blob_store
from loopwright.store.chunks import describe_chunk, pack_rows
from loopwright.store.streams import PREDICTIONS
from loopwright.store.types import Chunk

CHUNKS, ROWS = 32, 250_000
COLUMNS = ["prediction_id", "row_key", "event_at"]


def store_chunk(blobs: BlobStore, number: int) -> Chunk:
    """Store answers to rows with keys in no order."""
    chance = np.random.default_rng(number)
    rows = pl.DataFrame(
        {
            "prediction_id": [f"pred_{encode_ulid((number * ROWS + place) << 70)}" for place in range(ROWS)],
            "row_key": pl.Series(chance.integers(0, CHUNKS * ROWS, ROWS)).cast(pl.String),
            "event_at": number * ROWS + np.arange(ROWS),
            "score": chance.random(ROWS),
        }
    )
    missing = [pl.lit(None).alias(name) for name in PREDICTIONS.names if name not in rows.columns]
    typed = PREDICTIONS.typed(rows.with_columns(missing).select(PREDICTIONS.names))
    stored = describe_chunk(
        typed, blobs.put(pack_rows(typed)), kind="predictions", stream="late", writer="w", seq=number
    )
    told = {name: getattr(stored, name) for name in stored.__struct_fields__}
    return Chunk(**told, project="bench", chunk_id=f"chunk_{number:06}", recorded_at=number)


def build(blobs: BlobStore, chunks: list[Chunk]) -> list[KeyRun]:
    """Return the runs that matches make of chunks, eight chunks at a time."""
    runs: list[KeyRun] = []
    for first in range(0, len(chunks), 8):
        part = chunks[first : first + 8]
        rows = key_index.with_digests(predictions.scan(part, blobs, columns=COLUMNS).collect())
        runs.append(key_index.write_run(blobs, rows, number=first, level=0))
    return runs


def search(chunks: list[Chunk], blobs: BlobStore, labels: pl.DataFrame) -> pl.DataFrame:
    """Return the predictions of some keys by reading the log."""
    rows = predictions.scan(chunks, blobs, columns=COLUMNS)
    return rows.join(labels.lazy(), on="row_key").collect(engine="streaming")


def main() -> None:
    """Measure and claim."""
    bench = Bench("keys")
    with tempfile.TemporaryDirectory() as folder:
        blobs = open_blob_store(str(Path(folder) / "blobs"))
        bench.progress(f"storing {CHUNKS * ROWS:,} predictions")
        chunks = [store_chunk(blobs, number) for number in range(CHUNKS)]
        bench.progress("indexing them")
        runs: list[KeyRun] = []
        (indexing,) = timed(lambda: runs.extend(build(blobs, chunks)), rounds=1)
        per_s = CHUNKS * ROWS / indexing
        bench.claim("predictions indexed", per_s, "/s", goal="ours >= 100000")
        for count, goal in ((20, "ratio >= 10"), (1_000, "ratio >= 2"), (500_000, "")):
            keys = np.random.default_rng(1).choice(CHUNKS * ROWS, count, replace=False)
            labels = pl.DataFrame({"row_key": pl.Series(keys).cast(pl.String), "label": 1.0})
            digests = key_index.with_digests(labels)
            found = pl.concat(key_index.find_all(blobs, runs, digests)).height
            assert found == search(chunks, blobs, labels).height
            ours, rival = timed(
                lambda: list(key_index.find_all(blobs, runs, digests)),  # noqa: B023 - called at once
                lambda: search(chunks, blobs, labels),  # noqa: B023 - called at once
            )
            bench.claim(
                f"predictions of {count:,} keys", ours, "s", rival=rival, rival_name="a search of the log", goal=goal
            )
    bench.finish()


if __name__ == "__main__":
    main()
