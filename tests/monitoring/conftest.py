"""What the tests of monitoring share: a log in real Parquet chunks, a worker in this process, a clock with timers."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from loopwright.data import profiles
from loopwright.governance import LOCAL_ACTOR, Dispatcher
from loopwright.kernel.clock import FixedClock
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.ids import new_ids
from loopwright.monitoring import Monitor, MonitorSpec, build_reference
from loopwright.registry import Signature
from loopwright.serving import DeploymentSpec, predictions
from loopwright.store import sql as store_sql
from loopwright.store.blobs import BlobStore
from loopwright.store.chunks import describe_chunk
from tests.inprocess import InProcessWorker

HOUR = 3_600_000_000
DAY = 24 * HOUR
Call = Callable[..., Any]


@dataclass
class Worker(InProcessWorker):
    """Runs queued jobs, and fires timers."""

    def advance(self, to: int) -> None:
        """Move the clock, firing timers in order and running their jobs."""
        while True:
            with self.dispatcher.database.reading() as connection:
                due = store_sql.due_timers(connection, "flights", to)
            if not due:
                break
            timer = due[0]
            self.wall.at_us = max(self.wall.at_us, timer.due_at)
            self.dispatcher.database.write(lambda connection, timer=timer: store_sql.take_timer(connection, timer))
            self.call(timer.verb, timer.args, "flights")
            self.run()
        self.wall.at_us = max(self.wall.at_us, to)


def make_traffic(rows: int, rng: np.random.Generator, *, shift: float = 0.0, noise: float = 1.0) -> pl.DataFrame:
    """Return features, a score and an outcome; ``shift`` moves the feature ``distance``, ``noise`` blurs the score."""
    distance = rng.lognormal(6.5, 0.6, rows)
    truth = rng.random(rows) < 0.3
    signal = np.where(truth, 1.0, 0.0) + rng.normal(0, noise, rows)
    return pl.DataFrame(
        {
            "distance": distance * np.exp(shift),
            "temp": rng.normal(10, 5, rows),
            "carrier": rng.choice(["AA", "UA", "DL", "B6"], rows, p=[0.4, 0.3, 0.2, 0.1]),
            "score": 1 / (1 + np.exp(-signal)),
            "label": truth.astype(np.float64),
        }
    )


@dataclass
class Log:
    """Writes chunks of predictions and labels for a deployment in ``flights``."""

    worker: Worker
    deployment: str = "late"
    variant: str = "champion"
    seq: int = 0

    def write(self, kind: str, rows: pl.DataFrame) -> None:
        id_column = {"predictions": "prediction_id", "labels": "label_id"}[kind]
        path = self.worker.state_dir / f"{self.deployment}-{kind}-{self.seq}.parquet"
        rows = rows.sort(id_column)
        rows.write_parquet(path)
        stored = self.worker.blobs.put_file(path)
        self.seq += 1
        chunk = describe_chunk(rows, stored, kind=kind, stream=self.deployment, writer="gateway-0", seq=self.seq)
        self.worker.call("chunks.register", {"chunks": [to_builtins(chunk)]}, "flights")

    def predict(
        self, start_at: int, traffic: pl.DataFrame, *, shadow: bool = False, failed: int = 0, length: int = DAY
    ) -> list[str]:
        """Log traffic spread over a stretch; return the prediction ids."""
        rows = len(traffic)
        ids = new_ids("pred", rows, start_at)
        times = start_at + np.arange(rows) * (length // rows)
        base = pl.DataFrame(
            {
                "prediction_id": ids,
                "row_key": pl.Series([None] * rows, dtype=pl.String),
                "release": 1,
                "variant": self.variant,
                "model_version": 1,
                "is_shadow": False,
                "event_at": times,
                "recorded_at": times,
                "latency_us": 1500,
                "score": traffic["score"],
                "answer": pl.Series([None] * rows, dtype=pl.String),
                "error": pl.Series(["model failed"] * failed + [None] * (rows - failed), dtype=pl.String),
                "missing": pl.Series([None] * rows, dtype=pl.String),
                "bucket": 0.5,
            }
        )
        base = base.select(pl.col(name).cast(dtype) for name, dtype in predictions.PREDICTION_SCHEMA.items())
        features = traffic.drop("score", "label")
        served = base.hstack(features.rename({name: f"f.{name}" for name in features.columns}))
        frames = [served]
        if shadow:
            blurred = base.with_columns(
                variant=pl.lit("frozen"), is_shadow=pl.lit(True), score=pl.col("score").sqrt() * 0.5 + 0.2
            )
            frames.append(blurred)
        self.write("predictions", pl.concat(frames, how="diagonal"))
        return ids

    def label(self, ids: list[str], truth: Any, at: int) -> None:
        """Log outcomes that became known at one moment."""
        labels = pl.DataFrame(
            {
                "label_id": new_ids("label", len(ids), at),
                "prediction_id": ids,
                "label": np.asarray(truth, np.float64),
                "label_text": pl.Series([None] * len(ids), dtype=pl.String),
                "event_at": at,
                "recorded_at": at,
            }
        )
        schema = predictions.LABEL_SCHEMA.items()
        self.write("labels", labels.select(pl.col(name).cast(dtype) for name, dtype in schema))

    def day(self, start_at: int, traffic: pl.DataFrame, **options: Any) -> None:
        """Log a day's traffic, and its outcomes two hours after its end."""
        self.label(self.predict(start_at, traffic, **options), traffic["label"], start_at + DAY + 2 * HOUR)


@pytest.fixture
def worker(dispatcher: Dispatcher, blob_store: BlobStore, tmp_path: Path, wall: FixedClock) -> Worker:
    """A worker beside the test."""
    return Worker(dispatcher, blob_store, tmp_path, wall)


@pytest.fixture
def log(worker: Worker) -> Log:
    """The prediction log of the deployment ``late``."""
    return Log(worker)


@pytest.fixture
def served(dispatcher: Dispatcher) -> Callable[..., Monitor]:
    """Declare a deployment and its monitor: ``served(spec, task="binary")``."""

    def declare(spec: MonitorSpec, *, task: str = "binary", is_external: bool = False, **options: Any) -> Monitor:
        name = "scorecard" if is_external else "late"
        deployment = DeploymentSpec(name, name, task, is_external=is_external)
        for verb, args in (
            ("serving.declare", {"spec": to_builtins(deployment)}),
            ("monitoring.declare", {"deployment": name, "spec": to_builtins(spec), **options}),
        ):
            result = dispatcher.call(verb, args, actor=LOCAL_ACTOR, project="flights")
        return result

    return declare


@pytest.fixture
def champion(worker: Worker) -> Callable[..., str]:
    """Register a version of ``late``, set plain traffic as its reference; returns the digest of that."""

    def make(*, auc: float = 0.76, start_at: int = 0, days: int = 30) -> str:
        traffic = make_traffic(days * 900, np.random.default_rng(99))
        at = start_at + np.arange(len(traffic)) * (DAY // 900)
        rows = traffic.with_columns(event_at=pl.Series(at))
        body = profiles.to_bytes(build_reference(rows, ["distance", "temp", "carrier"]))
        digest = worker.blobs.put(body).digest
        version = {
            "model": "late",
            "flavour": "lightgbm",
            "files": [to_builtins({"path": "m", "digest": digest, "size_bytes": len(body)})],
            "signature": to_builtins(Signature([], "binary")),
            "metrics": {"roc_auc": auc},
            "monitoring_profile": digest,
        }
        made = worker.call("registry.register", version, "flights")
        args = {"deployment": "late", "profile_digest": digest, "model_version": made.version}
        worker.call("monitoring.set_reference", args, "flights")
        return digest

    return make
