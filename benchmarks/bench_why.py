"""``loop.why`` over HTTP with a million predictions in the log, against scanning every chunk for the id.

Once of a model that says nothing about its data, and once of one that was trained on a year of daily appends.
"""

import random
import statistics
import time

import httpx
import msgspec
import numpy as np
import polars as pl
from frame import Bench, Platform, percentile, platform, serve_model, settle, write_booster

from loopwright.data import DatasetSpec, KnownAt, SourceSpec
from loopwright.features import Aggregate, AggregateViewSpec, LabelSpec, ServiceSpec, TrainingSetSpec
from loopwright.kernel.clock import DAY_US
from loopwright.kernel.ids import new_ids
from loopwright.loop import ProjectSpec
from loopwright.serving import Release
from loopwright.store.blobs import BlobStore, open_blob_store
from loopwright.store.chunks import describe_chunk, pack_rows

CHUNKS = 100
ROWS = 10_000
DAYS, DATASETS = 263, ("flights", "weather")
ASKED = 200
SCANS = 5
SCAN = f"polars scan of all {CHUNKS} chunks for the row alone, median"


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


def fill(at: Platform, release: Release, blobs: BlobStore, first: int) -> list[str]:
    """Store and register half of the chunks as a gateway would, from a number on; return ids of each."""
    chance = np.random.default_rng(0)
    features = {f"f.x{place}": pl.Series(chance.normal(size=ROWS)) for place in range(30)}
    start = time.time_ns() // 1000
    ids: list[str] = []
    for number in range(first, first + CHUNKS // 2):
        frame = chunk_frame(release, start + number * 60_000_000, features)
        chunk = describe_chunk(
            frame, blobs.put(pack_rows(frame)), kind="predictions", stream="late", writer="bench", seq=number
        )
        at.remote.call("chunks.register", chunks=[chunk])
        ids += frame["prediction_id"].sample(10, seed=number).to_list()
    return ids


def append_daily(at: Platform) -> dict[str, int]:
    """Append to two datasets for a year, a row a day; return their newest versions."""
    spec = DatasetSpec("", SourceSpec("frame"), ["id"], "at", {"is_late": KnownAt("landed_at")})
    datasets = [msgspec.structs.replace(spec, name=name) for name in DATASETS]
    view = AggregateViewSpec("recent", DATASETS[0], "carrier", [DAY_US], [Aggregate("landed", "count", "is_late")])
    service = ServiceSpec("late", [], ["recent"], LabelSpec(DATASETS[0], "is_late"), "binary")
    at.remote.call("loop.apply", spec=ProjectSpec("bench", datasets=datasets, views=[view], services=[service]))
    for day in range(DAYS):
        moment = pl.Series([day * DAY_US], dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))
        row = pl.DataFrame({"id": [str(day)], "carrier": ["UA"], "is_late": [True], "at": moment, "landed_at": moment})
        for job in [at.remote.dataset(name).append(row) for name in DATASETS]:
            job.wait()
    return {name: at.remote.call("data.get", dataset=name).newest for name in DATASETS}


def release_trained(at: Platform, blobs: BlobStore) -> Release:
    """Release a version of the model that was trained on a year of appends."""
    remote, versions = at.remote, append_daily(at)
    made = remote.call(
        "features.record_training_set",
        spec=TrainingSetSpec("late", versions, None, DAYS * DAY_US, DAYS * DAY_US),
        blob=blobs.put(b"rows of the training set"),
        rows=DAYS,
        plan_digest=remote.call("features.freeze_plan", service="late"),
        event_at_min=0,
        event_at_max=DAYS * DAY_US,
    )
    first = remote.call("registry.get_version", model="late", version=1)
    trained = remote.call(
        "registry.register",
        model="late",
        flavour=first.flavour,
        files=first.files,
        signature=first.signature,
        training_set=f"bench/training_set:late/{made.version}",
    )
    released: Release = remote.call("serving.release", deployment="late", champion=trained.version, reason="trained")
    return released


def ask(at: Platform, ids: list[str], least_nodes: int) -> list[float]:
    """Return how long each of some answers took, in milliseconds; the first are not measured."""
    took = []
    headers = {"authorization": f"Bearer {at.supervisor.settings.service_token}"}
    with httpx.Client(base_url=at.supervisor.server_url, headers=headers) as client:
        for asked in ids[: ASKED + 20]:
            started = time.perf_counter()
            answer = client.post("/v1/bench/verbs/loop.why", json={"prediction_id": asked})
            took.append((time.perf_counter() - started) * 1e3)
            assert len(answer.raise_for_status().json()["nodes"]) >= least_nodes
    return took[20:]


def scan(at: Platform, blobs: BlobStore, ids: list[str]) -> float:
    """Return how long Polars looks through every chunk for a row, median in milliseconds."""
    paths = [blobs.path(chunk.digest) for chunk in at.remote.call("chunks.find", kind="predictions", stream="late")]
    took = []
    for asked in ids[:SCANS]:
        started = time.perf_counter()
        assert pl.scan_parquet(paths).filter(pl.col("prediction_id") == asked).collect().height == 1
        took.append((time.perf_counter() - started) * 1e3)
    return statistics.median(took)


def main() -> None:
    bench = Bench("why")
    with platform() as at:
        settings = at.supervisor.settings
        model = settings.state_dir / "late.txt"
        write_booster(model)
        blobs = open_blob_store(settings.blobs_url)
        imported = serve_model(at, model)
        bench.progress(f"{DAYS} days of appends to two datasets")
        trained = release_trained(at, blobs)
        bench.progress(f"2 x {CHUNKS // 2} chunks of {ROWS:,} rows")
        ids = {
            "": fill(at, imported, blobs, 1),
            ", trained on a year of appends": fill(at, trained, blobs, 1 + CHUNKS // 2),
        }
        settle(at)
        for whose, least_nodes in zip(ids, (3, 7), strict=True):
            random.Random(0).shuffle(ids[whose])
            bench.progress(f"{ASKED} ids{whose}")
            took = ask(at, ids[whose], least_nodes)
            rival = scan(at, blobs, ids[whose])
            for label, share in (("p50", 0.5), ("p99", 0.99)):
                what = f"why at 1M predictions{whose}, {label}, over HTTP"
                bench.claim(what, percentile(took, share), "ms", rival=rival, rival_name=SCAN, goal="< 10")
    bench.finish()


if __name__ == "__main__":
    main()
