"""Windows from profiles of chunks, against the same windows from their rows: the same figures, sooner.

Chunks of an hour of one stream, each begun some seconds before its hour as merged chunks are, so that two of 25 lie at
a day's edges and are read as rows. A month of a quiet stream, and three days of one that is ten times as busy: what is
added up is as large for both. Nothing is labelled: that is how a window closes.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
from frame import Bench

from loopwright.data import profiles
from loopwright.kernel.clock import DAY_US, HOUR_US, SECOND_US
from loopwright.kernel.ids import encode_ulid
from loopwright.monitoring import Monitor, MonitorSpec, Window, WindowTask, build_reference
from loopwright.monitoring.chunk_profiles import profile_chunk
from loopwright.monitoring.evaluation import evaluate
from loopwright.monitoring.reference import Reference
from loopwright.serving import predictions
from loopwright.store.blobs import BlobStore, open_blob_store
from loopwright.store.chunks import describe_chunk, pack_rows
from loopwright.store.types import Chunk

SHAPES = {"a month, 5,000 rows an hour": (30, 5_000), "three days, 50,000 rows an hour": (3, 50_000)}
NUMBERS, TEXTS = 18, 2
START = 1_700_006_400 * SECOND_US


def features(chance: np.random.Generator, rows: int) -> pl.DataFrame:
    """Return features of every kind: skewed and whole numbers, texts, some of them missing."""
    columns: dict[str, object] = {}
    for place in range(NUMBERS):
        whole = chance.integers(0, 30, rows).astype(float)
        columns[f"n{place}"] = whole if place % 3 == 0 else chance.lognormal(place / 4, 1, rows)
    for place in range(TEXTS):
        columns[f"t{place}"] = [f"v{value}" for value in chance.zipf(1.5, rows).clip(max=500).tolist()]
    return pl.DataFrame(columns)


def store_chunk(blobs: BlobStore, number: int, size: int) -> Chunk:
    """Store an hour of answers as a chunk."""
    chance = np.random.default_rng(number)
    at = START + number * HOUR_US - 4 * SECOND_US + np.sort(chance.integers(0, HOUR_US, size))
    fixed = {
        "prediction_id": [f"pred_{encode_ulid((int(t) // 1000 << 80) | place)}" for place, t in enumerate(at)],
        "row_key": None,
        "release": 1,
        "variant": "champion",
        "model_version": 1,
        "is_shadow": False,
        "event_at": at,
        "recorded_at": at,
        "latency_us": chance.lognormal(8, 1, size).astype(np.int64),
        "score": chance.random(size),
        "answer": None,
        "error": None,
        "missing": None,
        "bucket": chance.random(size),
    }
    typed = [pl.col(name).cast(dtype) for name, dtype in predictions.PREDICTION_SCHEMA.items()]
    rows = pl.DataFrame(fixed).select(typed).hstack(features(chance, size).select(pl.all().name.prefix("f.")))
    blob = blobs.put(pack_rows(rows))
    stored = describe_chunk(rows, blob, kind="predictions", stream="late", writer="gateway-0", seq=number)
    return Chunk(**msgspec.structs.asdict(stored), project="bench", chunk_id=f"chunk_{number:06}", recorded_at=0)


def measure(chunks: list[Chunk], days: int, monitor: Monitor, blobs: BlobStore) -> list[Window]:
    """Measure every day."""
    measured = []
    for start_at in range(START, START + days * DAY_US, DAY_US):
        end_at = start_at + DAY_US
        own = [chunk for chunk in chunks if chunk.event_at_max >= start_at and chunk.event_at_min < end_at]
        task = WindowTask(monitor, start_at, end_at, "closed", own, [], [], None, end_at)
        measured.append(evaluate(task, blobs)[0])
    return measured


def count_all(chunks: list[Chunk], blobs: BlobStore, digest: str, reference: Reference) -> list[Chunk]:
    """Return the chunks with their profiles, as the job of the lane ``upkeep`` makes them."""
    counted = []
    for chunk in chunks:
        body = profiles.to_bytes(profile_chunk(chunk, blobs, digest, reference))
        counted.append(msgspec.structs.replace(chunk, profile_digest=blobs.put(body).digest))
    return counted


def timed(way: Callable[[], object]) -> float:
    """Return how long a call takes, in seconds."""
    begun = time.perf_counter()
    way()
    return time.perf_counter() - begun


def compare(bench: Bench, label: str, days: int, size: int, blobs: BlobStore) -> None:
    """Measure one stream both ways."""
    trained = features(np.random.default_rng(1), 50_000)
    reference = build_reference(trained, trained.columns)
    digest = blobs.put(profiles.to_bytes(reference)).digest
    monitor = Monitor("late", MonitorSpec(DAY_US), "binary", False, None, digest, 0, 1, {}, None, 0, 0)
    bench.progress(f"{label}: storing {days * 24} chunks of {NUMBERS + TEXTS} features")
    chunks = [store_chunk(blobs, number, size) for number in range(days * 24 + 1)]
    counted: list[Chunk] = []
    counting = timed(lambda: counted.extend(count_all(chunks, blobs, digest, reference)))
    bench.progress("windows from rows, and from profiles")
    by_rows, by_profiles = [], []
    for _ in range(2):
        by_rows.append(timed(lambda: measure(chunks, days, monitor, blobs)))
        by_profiles.append(timed(lambda: measure(counted, days, monitor, blobs)))
    assert measure(chunks, days, monitor, blobs) == measure(counted, days, monitor, blobs)
    rival: dict[str, Any] = {"rival": min(by_rows), "rival_name": "the windows from rows"}
    bench.claim(f"daily windows of {label}", min(by_profiles), "s", goal="ratio >= 2", **rival)
    bench.claim("counting each of its chunks once, off their way", counting, "s", **rival)
    named = [chunk.profile_digest for chunk in counted], [chunk.digest for chunk in counted]
    sizes = [sum(len(blobs.get(name)) for name in digests) / 1e6 for digests in named]
    bench.claim("its profiles on disk", sizes[0], "MB", rival=sizes[1], rival_name="the chunks", goal="ratio >= 10")


def main() -> None:
    """Measure and claim."""
    bench = Bench("windows")
    for label, (days, size) in SHAPES.items():
        with tempfile.TemporaryDirectory() as folder:
            compare(bench, label, days, size, open_blob_store(str(Path(folder) / "blobs")))
    bench.finish()


if __name__ == "__main__":
    main()
