"""Profiles of chunks: a window says the same whether it adds them up or reads the rows, however the rows are parted."""

import io
import itertools
from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.data import profiles
from loopwright.kernel.clock import DAY_US, HOUR_US
from loopwright.kernel.ids import encode_ulid
from loopwright.monitoring import Monitor, MonitorSpec, Window, answers, build_reference
from loopwright.monitoring import chunk_profiles as module
from loopwright.monitoring.chunk_profiles import ENDS, profile_chunk, usable_profiles
from loopwright.monitoring.evaluation import evaluate
from loopwright.monitoring.reference import SCORE, Reference
from loopwright.monitoring.tallies import tally_rows
from loopwright.monitoring.types import WindowTask
from loopwright.serving import predictions
from loopwright.store.blobs import BlobStore, open_blob_store
from loopwright.store.chunks import describe_chunk
from loopwright.store.types import Chunk
from tests.monitoring.conftest import Log, Worker, make_traffic

START = 400 * DAY_US
ANSWER = ["prediction_id", "variant"]
METRICS = ["psi", "js", "ks", "wasserstein", "missing"]


def make_rows(seed: int, size: int) -> pl.DataFrame:
    """Return answers before, in and after a day: shadows, errors, batch scores, odd values, some logged twice."""
    rng = np.random.default_rng(seed)
    traffic = make_traffic(size, rng)
    at = np.sort(START - 2 * HOUR_US + rng.integers(0, DAY_US + 4 * HOUR_US, size))
    distance = traffic["distance"].to_numpy().copy()
    distance[rng.random(size) < 0.05] = np.inf
    fixed = {
        "prediction_id": [f"pred_{encode_ulid((int(t) // 1000 << 80) | i)}" for i, t in enumerate(at)],
        "row_key": None,
        "release": 1,
        "variant": rng.choice(["champion", "canary", predictions.SCORED], size, p=[0.8, 0.1, 0.1]),
        "model_version": 1,
        "is_shadow": False,
        "event_at": at,
        "recorded_at": at + rng.integers(0, 10**6, size),
        "latency_us": rng.lognormal(8, 2, size).astype(np.int64),
        "score": traffic["score"],
        "answer": None,
        "error": [None if share > 0.05 else "it failed" for share in rng.random(size)],
        "missing": None,
        "bucket": 0.5,
        "f.distance": distance,
        "f.temp": traffic["temp"].set(pl.Series(rng.random(size) < 0.1), None),
        "f.carrier": traffic["carrier"].set(pl.Series(rng.random(size) < 0.1), None),
    }
    served = pl.DataFrame(fixed).select(
        *(pl.col(name).cast(dtype) for name, dtype in predictions.PREDICTION_SCHEMA.items()), pl.col("^f\\..*$")
    )
    shadows = served.sample(fraction=0.3, seed=seed).with_columns(
        variant=pl.lit("frozen"), is_shadow=pl.lit(True), score=pl.col("score") * 0.9
    )
    again = served.sample(n=int(rng.integers(0, 4)), seed=seed).with_columns(
        recorded_at=pl.col("recorded_at") + 10**7, score=pl.col("score") * 0.5
    )
    return pl.concat([served, shadows, again], how="diagonal")


class Shelf:
    """Stores rows as chunks, parted at random, some of them with profiles."""

    def __init__(self, blobs: BlobStore, reference: Reference, rows: pl.DataFrame, spec: MonitorSpec) -> None:
        self.blobs, self.reference, self.rows = blobs, reference, rows
        self.digest = blobs.put(profiles.to_bytes(reference)).digest
        monitor = Monitor("late", spec, "binary", False, None, self.digest, 0, 1, {}, None, 0, 0)
        ids = rows.filter(~pl.col("is_shadow"))["prediction_id"].unique().sort()
        labels = pl.DataFrame({"prediction_id": ids.gather_every(3)}).select(
            pl.format("label_{}", "prediction_id").alias("label_id"),
            "prediction_id",
            (pl.int_range(pl.len()) % 3 == 0).cast(pl.Float64).alias("label"),
            pl.lit(None, pl.String).alias("label_text"),
            pl.lit(START + DAY_US).alias("event_at"),
            pl.lit(START + DAY_US).alias("recorded_at"),
        )
        told = self.store(labels, 0, kind="labels")
        self.task = WindowTask(monitor, START, START + DAY_US, "settled", [], [told], [], None, START + 2 * DAY_US)

    def store(self, rows: pl.DataFrame, number: int, *, kind: str = "predictions") -> Chunk:
        rows = rows.sort("prediction_id" if kind == "predictions" else "label_id")
        body = io.BytesIO()
        rows.write_parquet(body, row_group_size=50)
        blob = self.blobs.put(body.getvalue())
        stored = describe_chunk(rows, blob, kind=kind, stream="late", writer="gateway-0", seq=number)
        return Chunk(**msgspec.structs.asdict(stored), project="flights", chunk_id=f"chunk_{number:04}", recorded_at=0)

    def part(self, seed: int, *, by: str = "prediction_id") -> list[Chunk]:
        """Return the rows as chunks: of neighbours with a few strayed, or of any rows."""
        rng = np.random.default_rng(seed)
        ordered = self.rows.sort(by) if by else self.rows.sample(fraction=1.0, shuffle=True, seed=seed)
        size = ordered.height
        stops = np.sort(rng.integers(0, size + 1, int(rng.integers(1, 14))))
        owner = np.searchsorted(stops, np.arange(size), side="right")
        strayed = rng.random(size) < 0.01
        owner[strayed] = np.maximum(owner[strayed] - 1, 0)
        parts = [ordered.filter(pl.Series(owner == each)) for each in np.unique(owner)]
        # Not every release has every feature.
        dropped = [part.drop("f.temp") if place == 1 and by else part for place, part in enumerate(parts)]
        return [self.store(part, number) for number, part in enumerate(dropped)]

    def inside(self) -> pl.DataFrame:
        """Return the rows of the day, each answer once, by their ids."""
        rows = self.rows.filter(pl.col("event_at").is_between(START, START + DAY_US - 1))
        return rows.sort("recorded_at").unique(ANSWER, keep="last").sort(ANSWER)

    def profiled(self, chunk: Chunk) -> Chunk:
        body = profiles.to_bytes(profile_chunk(chunk, self.blobs, self.digest, self.reference))
        return msgspec.structs.replace(chunk, profile_digest=self.blobs.put(body).digest)

    def measure(self, chunks: list[Chunk], **changed: Any) -> Window:
        task = msgspec.structs.replace(self.task, predictions=chunks, **changed)
        window, _ = evaluate(task, self.blobs)
        return window


@cache
def reference_rows() -> Reference:
    frame = make_traffic(2_000, np.random.default_rng(1))
    return build_reference(frame, ["distance", "temp", "carrier"], score="score")


def shelf_of(blobs: BlobStore, seed: int, size: int, drift: str = "psi") -> Shelf:
    assert SCORE in reference_rows().profile.columns
    return Shelf(blobs, reference_rows(), make_rows(seed, size), MonitorSpec(DAY_US, drift=drift, segments=["carrier"]))


@pytest.mark.slow
@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    size=st.integers(30, 600),
    share=st.sampled_from([0.3, 1.0]),
    by=st.sampled_from(["prediction_id", "prediction_id", "event_at", ""]),
    drift=st.sampled_from(METRICS),
    most_rows=st.sampled_from([40, 250_000]),
)
def test_a_window_is_the_same_from_profiles_and_from_rows_however_parted(
    tmp_path_factory: pytest.TempPathFactory, seed: int, size: int, share: float, by: str, drift: str, most_rows: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ENDS", 8)
        shelf = shelf_of(open_blob_store(str(tmp_path_factory.mktemp("blobs"))), seed, size, drift)
        whole = shelf.measure([shelf.store(shelf.rows.sort("prediction_id"), 99)])
        parted = shelf.part(seed, by=by)
        rng = np.random.default_rng(seed)
        some = [shelf.profiled(chunk) if rng.random() < share else chunk for chunk in parted]
        patch.setattr(answers, "MOST_ROWS", most_rows)
        by_rows, by_profiles = shelf.measure(parted), shelf.measure(some)
    assert by_profiles == by_rows
    # Another parting has other columns in its chunks only where a feature was left out.
    if by == "":
        assert by_profiles == whole
    assert by_profiles.predictions == whole.predictions


def test_profiles_are_used_where_chunks_follow_each_other_and_no_row_of_theirs_is_read(
    blob_store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf = shelf_of(blob_store, 5, 3_000)
    rows = shelf.rows.unique(ANSWER, maintain_order=True).filter(pl.col("event_at") < START + DAY_US + HOUR_US)
    shelf.rows = rows.sort("prediction_id")
    chunks = [shelf.profiled(shelf.store(part, place)) for place, part in enumerate(shelf.rows.iter_slices(400))]
    unlabelled = msgspec.structs.replace(shelf.task, predictions=chunks, labels=[])
    usable = usable_profiles(unlabelled, blob_store, needs_bins=True)
    inside = {chunk.chunk_id for chunk in chunks if chunk.event_at_min >= START and chunk.event_at_max < START + DAY_US}
    assert set(usable) == inside
    assert len(inside) == len(chunks) - 2  # the edges
    scanned: list[str] = []
    scan = predictions.scan
    monkeypatch.setattr(
        predictions, "scan", lambda parts, *a, **k: [scanned.extend(c.chunk_id for c in parts), scan(parts, *a, **k)][1]
    )
    expected = shelf.measure([msgspec.structs.replace(chunk, profile_digest="") for chunk in chunks], labels=[])
    scanned.clear()
    assert shelf.measure(chunks, labels=[]) == expected
    assert set(scanned) == {chunk.chunk_id for chunk in chunks} - inside


def test_an_answer_in_two_chunks_is_counted_once(blob_store: BlobStore) -> None:
    shelf = shelf_of(blob_store, 6, 2_000)
    rows = shelf.inside().filter(pl.col("variant") != predictions.SCORED)  # of those nothing is counted
    first, second, third = (part for part in rows.iter_slices(rows.height // 3 + 1))
    for again in (first[0], first[300], second[5]):  # at an end that is kept by name, and where it is not
        sent = pl.concat([third, again.with_columns(recorded_at=pl.lit(2**50), score=pl.lit(0.0))])
        chunks = [shelf.profiled(shelf.store(part, place)) for place, part in enumerate((first, second, sent))]
        task = msgspec.structs.replace(shelf.task, predictions=chunks)
        assert len(usable_profiles(task, blob_store, needs_bins=True)) == 1
        plain = [msgspec.structs.replace(chunk, profile_digest="") for chunk in chunks]
        assert shelf.measure(chunks) == shelf.measure(plain)


def test_bins_of_another_reference_and_damaged_profiles_are_not_used(blob_store: BlobStore) -> None:
    shelf = shelf_of(blob_store, 7, 500)
    chunk = shelf.store(shelf.inside(), 0)
    profiled = shelf.profiled(chunk)
    other = shelf_of(blob_store, 7, 500)
    other.reference = build_reference(make_traffic(99, np.random.default_rng(4)), ["distance", "temp"])
    other.digest = blob_store.put(profiles.to_bytes(other.reference)).digest
    elsewhere = other.profiled(chunk)
    spoiled = msgspec.structs.replace(chunk, profile_digest=blob_store.put(b"spoiled").digest)
    gone = msgspec.structs.replace(chunk, profile_digest="0" * 64)
    for unusable in (elsewhere, spoiled, gone):
        task = msgspec.structs.replace(shelf.task, predictions=[unusable])
        assert usable_profiles(task, blob_store, needs_bins=True) == {}
        assert shelf.measure([unusable]) == shelf.measure([chunk])
    task = msgspec.structs.replace(shelf.task, predictions=[elsewhere])
    assert usable_profiles(task, blob_store, needs_bins=False).keys() == {chunk.chunk_id}
    assert shelf.measure([profiled]) == shelf.measure([chunk])


def test_chunks_that_all_overlap_are_read_as_rows(blob_store: BlobStore) -> None:
    shelf = shelf_of(blob_store, 8, 4_000)
    rows = shelf.inside()
    mixed = [shelf.store(rows.gather_every(30, offset), offset) for offset in range(30)]
    chunks = [shelf.profiled(chunk) for chunk in mixed]
    assert usable_profiles(msgspec.structs.replace(shelf.task, predictions=chunks), blob_store, needs_bins=True) == {}
    assert shelf.measure(chunks) == shelf.measure(mixed)


def test_ends_know_what_lies_in_their_range(blob_store: BlobStore) -> None:
    shelf = shelf_of(blob_store, 9, 400)
    rows = shelf.rows.unique(ANSWER, maintain_order=True).filter(pl.col("variant") != predictions.SCORED)
    profile = profile_chunk(shelf.store(rows, 0), blob_store, shelf.digest, shelf.reference)
    assert (len(profile.first), len(profile.last), profile.is_unique) == (ENDS, ENDS, True)
    ids = sorted(rows["prediction_id"])
    every = sorted(rows.select("prediction_id", "variant", "is_shadow").iter_rows())
    for low, high in itertools.combinations([ids[0], ids[20], ids[100], ids[-20], ids[-1]], 2):
        known = profile.answers_between(low, high)
        assert known is None or known == {answer for answer in every if low <= answer[0] <= high}
    assert profile.answers_between(ids[0], ids[10])
    assert profile.answers_between(ids[-10], ids[-1])
    assert profile.answers_between(ids[10], ids[-10]) is None


def test_latencies_are_within_a_thousandth(blob_store: BlobStore) -> None:
    rows = shelf_of(blob_store, 10, 600).rows.filter(~pl.col("is_shadow") & (pl.col("variant") != predictions.SCORED))
    latencies = rows["latency_us"].filter(rows["latency_us"] > 0).to_numpy()
    found = tally_rows(rows, None).latency_p99_ms
    exact = float(np.quantile(latencies, 0.99)) / 1000
    assert found is not None
    assert exact * (1 - 2**-10) <= found <= exact


def test_the_job_counts_what_was_sealed_and_merged_and_windows_stay_the_same(
    worker: Worker, log: Log, served: Callable[..., Monitor], champion: Callable[..., str]
) -> None:
    served(MonitorSpec(DAY_US))
    champion(days=2)
    begin = worker.wall.at_us
    for part in range(4):
        log.predict(begin + part * 6 * HOUR_US, make_traffic(200, np.random.default_rng(part)), length=6 * HOUR_US)
    assert worker.call("monitoring.countable_chunks", {}, "flights") == []  # young
    worker.wall.at_us = begin + DAY_US
    named = {"deployment": "late", "start_at": begin, "end_at": begin + DAY_US, "state": "closed"}
    before, _ = evaluate(worker.call("monitoring.window_task", named, "flights"), worker.blobs)
    assert len(worker.call("monitoring.countable_chunks", {}, "flights")) == 4
    started = worker.call("monitoring.start_profiling", {}, "flights")
    assert worker.call("monitoring.start_profiling", {}, "flights").job_id == started.job_id
    worker.run()
    task = worker.call("monitoring.window_task", named, "flights")
    assert worker.call("monitoring.countable_chunks", {}, "flights") == []
    assert len(usable_profiles(task, worker.blobs, needs_bins=True)) == 4
    assert evaluate(task, worker.blobs)[0] == before
