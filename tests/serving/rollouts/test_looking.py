"""What a look reads: some rows at a time, with the same verdicts however they are parted."""

from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest

from loopwright.kernel.ids import encode_ulid
from loopwright.serving import CanaryStep, JudgeLook, ShadowStep, StepVerdict, predictions
from loopwright.serving.rollouts import harm
from loopwright.serving.rollouts.judging import columns_of, judge
from loopwright.serving.rollouts.looking import read_parts
from loopwright.store.blobs import BlobStore
from loopwright.store.chunks import describe_chunk, pack_rows
from loopwright.store.types import Chunk

SIZE = 2_000
BEGIN = 10**12
END = BEGIN + SIZE * 1_000


def make_log(seed: int, *, is_shadow: bool) -> pl.DataFrame:
    """Return answers of two gateways, up to four recorded together; some fail, are logged again, or were not drawn."""
    rng = np.random.default_rng(seed)
    at = BEGIN + np.sort(rng.integers(0, SIZE // 4, SIZE)) * 4_000
    is_candidate = rng.random(SIZE) < (0.0 if is_shadow else 0.4)
    fixed = {
        "prediction_id": [f"pred_{encode_ulid((int(t) // 1000 << 80) | n)}" for n, t in enumerate(at)],
        "release": rng.choice([1, 2], SIZE, p=[0.1, 0.9]),
        "variant": np.where(is_candidate, "candidate", "champion"),
        "model_version": 1,
        "is_shadow": False,
        "event_at": at + rng.integers(-50, 50, SIZE) * 1_000,
        "recorded_at": at,
        "latency_us": np.where(rng.random(SIZE) < 0.02, 10**6, rng.integers(1_000, 9_000, SIZE)),
        "score": rng.random(SIZE),
        "error": [None if share > 0.03 else "it failed" for share in rng.random(SIZE)],
        "bucket": pl.Series(rng.random(SIZE)).set(pl.Series(rng.random(SIZE) < 0.05), None),
    }
    served = _typed(pl.DataFrame(fixed))
    again = served.sample(20, seed=seed).with_columns(pl.col("recorded_at") + 7_000_000, error=pl.lit("late"))
    shadows = served.with_columns(
        variant=pl.lit("candidate"),
        is_shadow=pl.lit(True),
        score=pl.Series(rng.random(SIZE)),
        error=pl.lit(None, pl.String),
    )
    return pl.concat([served, again, *([shadows] if is_shadow else [])])


def _typed(rows: pl.DataFrame) -> pl.DataFrame:
    absent = [name for name in predictions.PREDICTION_SCHEMA if name not in rows.columns]
    rows = rows.with_columns(pl.lit(None).alias(name) for name in absent)
    return rows.select(pl.col(name).cast(dtype) for name, dtype in predictions.PREDICTION_SCHEMA.items())


def labels_of(rows: pl.DataFrame) -> pl.DataFrame:
    """Return outcomes of two in three, some of them known too late for the look."""
    ids = rows["prediction_id"].unique().sort()
    known = pl.DataFrame({"prediction_id": ids.gather_every(3).extend(ids.gather_every(3, offset=1))})
    number = pl.int_range(pl.len())
    return known.select(
        pl.format("label_{}", "prediction_id").alias("label_id"),
        "prediction_id",
        (number * 7 % 3 == 0).cast(pl.Float64).alias("label"),
        pl.lit(None, pl.String).alias("label_text"),
        pl.lit(END).alias("event_at") + number,
        pl.lit(END).alias("recorded_at"),
    ).sort("label_id")


def store(blobs: BlobStore, rows: pl.DataFrame, number: int, kind: str) -> Chunk:
    rows = rows.sort("prediction_id" if kind == "predictions" else "label_id")
    told = describe_chunk(rows, blobs.put(pack_rows(rows)), kind=kind, stream="late", writer="gateway-0", seq=number)
    named = {"project": "flights", "chunk_id": f"chunk_{kind}_{number:03}", "recorded_at": 0}
    return Chunk(**msgspec.structs.asdict(told), **named)


class Looked:
    """A log in chunks of two gateways, and a look at it."""

    def __init__(self, blobs: BlobStore, seed: int, step: Any) -> None:
        self.blobs, self.rows = blobs, make_log(seed, is_shadow=isinstance(step, ShadowStep))
        owner = np.random.default_rng(seed).integers(0, 2, self.rows.height) * 100 + (
            np.arange(self.rows.height) * 7 // self.rows.height
        )
        ordered = self.rows.sort("prediction_id", maintain_order=True)
        self.chunks = [
            store(blobs, ordered.filter(pl.Series(owner == each)), int(each), "predictions")
            for each in np.unique(owner)
        ]
        self.outcomes = labels_of(self.rows)
        self.labels = [store(blobs, part, n, "labels") for n, part in enumerate(self.outcomes.iter_slices(300))]
        self.spec = JudgeLook("roll_1", "late", 2, "binary", step, 0, 1, 2, BEGIN, END + SIZE // 2)

    def judge(self, most_rows: int, before: pl.DataFrame) -> list[StepVerdict]:
        parts = read_parts(self.spec, self.chunks, self.labels, self.blobs, most_rows=most_rows)
        return judge(self.spec, parts, before.lazy())


BEFORE = pl.DataFrame({"latency_us": np.random.default_rng(9).integers(500, 5_000, 500)})
GUARDS = ["error_rate", "latency_p99", "roc_auc", "squared_error"]
STEPS = [
    *(ShadowStep(86_400_000_000, metric, 0.02) for metric in ("roc_auc", "rmse", "log_loss")),
    CanaryStep(0.4, 86_400_000_000, GUARDS),
]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("before", [BEFORE, BEFORE.head(3)])
def test_verdicts_are_the_same_to_the_bit_however_many_rows_are_read_at_once(
    blob_store: BlobStore, step: Any, before: pl.DataFrame
) -> None:
    for seed in range(2):
        looked = Looked(blob_store, seed, step)
        whole = looked.judge(10**9, before)
        assert looked.judge(300, before) == whole
        assert all(verdict.rows for verdict in whole)


def test_a_look_holds_some_rows_at_a_time_and_no_exposure_that_is_over(
    blob_store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = Looked(blob_store, 1, CanaryStep(0.4, 86_400_000_000, ["error_rate"]))
    held, add = [], harm.Exposures.add

    def watch(exposures: harm.Exposures, rows: pl.DataFrame, closed_before: int = harm.NEVER) -> None:
        add(exposures, rows, closed_before)
        held.append((rows.height, exposures._open.height))

    monkeypatch.setattr(harm.Exposures, "add", watch)
    looked.judge(300, BEFORE)
    assert max(rows for rows, _ in held) < 700
    assert max(exposures for _, exposures in held) < 500
    assert held[-1][1] == 0


def test_a_look_reads_the_columns_that_its_step_asks_for() -> None:
    quick = columns_of(CanaryStep(0.4, 1, ["error_rate"]), "binary")
    assert quick == ["prediction_id", "release", "variant", "is_shadow", "recorded_at", "bucket", "error"]
    assert {"latency_us", "score", "label"} <= set(columns_of(CanaryStep(0.4, 1, GUARDS), "binary"))
    assert "latency_us" not in columns_of(STEPS[0], "binary")
    assert {"answer", "label_text"} <= set(columns_of(STEPS[0], "multiclass"))
