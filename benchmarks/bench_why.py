"""``loop.why`` over HTTP with a million predictions in the log, against scanning every chunk for the id."""

import random
import statistics
import time

import httpx
import numpy as np
import polars as pl
from frame import Bench, Platform, percentile, platform, serve_model, settle, write_booster

from loopwright.kernel.ids import new_ids
from loopwright.serving import Release
from loopwright.store.blobs import BlobStore, open_blob_store
from loopwright.store.chunks import describe_chunk, pack_rows

CHUNKS = 100
ROWS = 10_000
ASKED = 200
SCANS = 5


def chunk_frame(release: Release, at_us: int, features: dict[str, pl.Series]) -> pl.DataFrame:
    """Return what a gateway logs in about a minute at 170 rows a second."""
    none = pl.lit(None, pl.String)
    times = pl.Series(np.arange(ROWS) * 1000 + at_us)
    served = release.variants[0]
    return pl.DataFrame({"prediction_id": new_ids("pred", ROWS, at_us), **features}).with_columns(
        *(none.alias(name) for name in ("row_key", "answer", "error", "missing")),
        pl.lit(release.number, pl.Int64).alias("release"),
        pl.lit(served.name).alias("variant"),
        pl.lit(served.version, pl.Int64).alias("model_version"),
        pl.lit(False).alias("is_shadow"),
        times.alias("event_at"),
        times.alias("recorded_at"),
        pl.lit(700, pl.Int64).alias("latency_us"),
        pl.lit(0.25).alias("score"),
        pl.lit(0.5).alias("bucket"),
    )


def fill(at: Platform, release: Release, blobs: BlobStore) -> list[str]:
    """Store and register the chunks as a gateway would; return an id of each."""
    chance = np.random.default_rng(0)
    features = {f"f.x{place}": pl.Series(chance.normal(size=ROWS)) for place in range(30)}
    start = time.time_ns() // 1000
    ids: list[str] = []
    for number in range(1, CHUNKS + 1):
        frame = chunk_frame(release, start + number * 60_000_000, features)
        chunk = describe_chunk(
            frame, blobs.put(pack_rows(frame)), kind="predictions", stream="late", writer="bench", seq=number
        )
        at.remote.call("chunks.register", chunks=[chunk])
        ids += frame["prediction_id"].sample(10, seed=number).to_list()
    return ids


def main() -> None:
    bench = Bench("why")
    with platform() as at:
        settings = at.supervisor.settings
        model = settings.state_dir / "late.txt"
        write_booster(model)
        release = serve_model(at, model)
        blobs = open_blob_store(settings.blobs_url)
        bench.progress(f"{CHUNKS} chunks of {ROWS:,} rows")
        ids = fill(at, release, blobs)
        settle(at)
        random.Random(0).shuffle(ids)
        bench.progress(f"{ASKED} ids")
        took = []
        headers = {"authorization": f"Bearer {settings.service_token}"}
        with httpx.Client(base_url=at.supervisor.server_url, headers=headers) as client:
            for asked in ids[: ASKED + 20]:
                started = time.perf_counter()
                answer = client.post("/v1/bench/verbs/loop.why", json={"prediction_id": asked})
                took.append((time.perf_counter() - started) * 1e3)
                assert len(answer.raise_for_status().json()["nodes"]) >= 3
        took = took[20:]
        bench.progress("the scan")
        paths = [blobs.path(chunk.digest) for chunk in at.remote.call("chunks.find", kind="predictions", stream="late")]
        scans = []
        for asked in ids[:SCANS]:
            started = time.perf_counter()
            assert pl.scan_parquet(paths).filter(pl.col("prediction_id") == asked).collect().height == 1
            scans.append((time.perf_counter() - started) * 1e3)
    name = f"polars scan of all {len(paths)} chunks for the row alone, median"
    rival = statistics.median(scans)
    for label, share in (("p50", 0.5), ("p99", 0.99)):
        ours = percentile(took, share)
        bench.claim(f"why at 1M predictions, {label}, over HTTP", ours, "ms", rival=rival, rival_name=name, goal="< 20")
    bench.finish()


if __name__ == "__main__":
    main()
