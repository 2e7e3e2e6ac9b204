"""What the tests of serving share: a log in real Parquet chunks, a worker in this process, timers to fire."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from loopwright.governance import SERVICE_ACTOR, Dispatcher
from loopwright.kernel.clock import FixedClock
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.ids import new_ids
from loopwright.registry import InputColumn, ModelFile, Signature
from loopwright.serving import CanaryStep, DeploymentSpec, Rollout, ShadowStep, predictions
from loopwright.store import sql as store_sql
from loopwright.store.blobs import BlobStore
from loopwright.store.chunks import describe_chunk
from tests.inprocess import InProcessWorker

HOUR = 3_600_000_000
DAY = 24 * HOUR
SHADOW = ShadowStep(hold_us=7 * DAY, no_worse="roc_auc", margin=0.02)
CANARY = CanaryStep(weight=0.1, hold_us=6 * HOUR, guard=["error_rate", "latency_p99"])

Call = Callable[..., Any]


@dataclass
class Log:
    """Writes chunks of predictions and labels for the deployment ``late`` in ``flights``."""

    worker: InProcessWorker
    seq: int = 0

    def write(self, kind: str, rows: pl.DataFrame) -> None:
        id_column = {"predictions": "prediction_id", "labels": "label_id"}[kind]
        rows = rows.sort(id_column)
        path = self.worker.state_dir / f"{kind}-{self.seq}.parquet"
        rows.write_parquet(path)
        stored = self.worker.blobs.put_file(path)
        self.seq += 1
        chunk = describe_chunk(rows, stored, kind=kind, stream="late", writer="gateway-0", seq=self.seq)
        self.worker.call("chunks.register", {"chunks": [to_builtins(chunk)]}, "flights")

    def predict(
        self,
        release: int,
        start_at: int,
        end_at: int,
        rows: int,
        *,
        candidate: float | None = None,
        weight: float = 0.0,
        errors: tuple[float, float] = (0.0, 0.0),
        slower: float = 1.0,
        labelled: float = 1.0,
        seed: int = 0,
    ) -> list[str]:
        """Log traffic of one stretch; return the prediction ids.

        Args:
            release: Number of the release that answered.
            start_at: First event time.
            end_at: First event time that is not there any more.
            rows: Requests.
            candidate: How much noise the candidate's score has against the champion's; None for no candidate.
            weight: Its share of traffic; 0 for a shadow.
            errors: Share of failures of champion and candidate.
            slower: Its latency against the champion's.
            labelled: Share of rows whose outcome is known an hour later.
            seed: Of chance.
        """
        rng = np.random.default_rng(seed)
        times = np.sort(rng.integers(start_at, end_at, rows))
        ids = new_ids("pred", rows, start_at)
        truth = rng.random(rows) < 0.3
        signal = truth + rng.normal(0, 1.0, rows)
        noisy = signal + rng.normal(0, candidate or 0.0, rows)
        is_canary = rng.random(rows) < (weight if candidate is not None else 0.0)
        latency = rng.lognormal(7, 0.3, rows)
        served = self._rows(ids, times, release, is_canary, np.where(is_canary, noisy, signal), False)
        failed = rng.random(rows) < np.where(is_canary, errors[1], errors[0])
        served = served.with_columns(
            latency_us=pl.Series((latency * np.where(is_canary, slower, 1.0)).astype(np.int64)),
            error=pl.Series(np.where(failed, "model failed", ""), dtype=pl.String()).replace("", None),
        )
        frames = [served]
        if candidate is not None and weight == 0:
            shadow = self._rows(ids, times, release, np.ones(rows, bool), noisy, True)
            failed = rng.random(rows) < errors[1]
            frames.append(
                shadow.with_columns(
                    error=pl.Series(np.where(failed, "shadow failed", ""), dtype=pl.String()).replace("", None)
                )
            )
        self.write("predictions", pl.concat(frames))
        known = rng.random(rows) < labelled
        if known.any():
            self.label(
                [name for name, is_known in zip(ids, known, strict=True) if is_known], truth[known], times[known]
            )
        return ids

    def label(self, ids: list[str], truth: Any, times: Any) -> None:
        moments = np.asarray(times, np.int64) + HOUR
        self.write(
            "labels",
            pl.DataFrame(
                {
                    "label_id": new_ids("label", len(ids), int(moments[0])),
                    "prediction_id": ids,
                    "label": np.asarray(truth, np.float64),
                    "label_text": pl.Series([None] * len(ids), dtype=pl.String()),
                    "event_at": moments,
                    "recorded_at": moments,
                }
            ),
        )

    @staticmethod
    def _rows(
        ids: list[str], times: Any, release: int, is_candidate: Any, scores: Any, is_shadow: bool
    ) -> pl.DataFrame:
        frame = pl.DataFrame(
            {
                "prediction_id": ids,
                "release": release,
                "variant": np.where(is_candidate, "candidate", "champion"),
                "model_version": np.where(is_candidate, 2, 1),
                "is_shadow": is_shadow,
                "event_at": times,
                "recorded_at": times,
                "latency_us": 1000,
                "score": scores,
                "bucket": 0.5,
            }
        )
        absent = {n: t for n, t in predictions.PREDICTION_SCHEMA.items() if n not in frame.columns}
        frame = frame.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in absent.items())
        distance = pl.lit(None, pl.Float64()) if is_shadow else pl.lit(2.5)
        typed = frame.select(pl.col(name).cast(dtype) for name, dtype in predictions.PREDICTION_SCHEMA.items())
        return typed.with_columns(distance.alias("f.distance"))


@pytest.fixture
def worker(dispatcher: Dispatcher, blob_store: BlobStore, tmp_path: Path, wall: FixedClock) -> InProcessWorker:
    """A worker beside the test."""
    return InProcessWorker(dispatcher, blob_store, tmp_path, wall)


@pytest.fixture
def service(dispatcher: Dispatcher) -> Call:
    """Call a verb as the platform itself."""

    def by_name(verb: str, /, **args: Any) -> Any:
        return dispatcher.call(verb, args, actor=SERVICE_ACTOR, project="flights")

    return by_name


@pytest.fixture
def log(worker: InProcessWorker) -> Log:
    """The prediction log of ``late``."""
    return Log(worker)


@pytest.fixture
def register(service: Call, blob_store: BlobStore) -> Call:
    """Register the next version of the model ``late`` with content of its own."""

    def one(content: str = "v", task: str = "binary", plan_digest: str = "") -> int:
        stored = blob_store.put(content.encode())
        files = [ModelFile("model.json", stored.digest, stored.size_bytes)]
        signature = Signature([InputColumn("distance", "number")], task)
        version = service(
            "registry.register",
            model="late",
            flavour="constant",
            files=to_builtins(files),
            signature=to_builtins(signature),
            metrics={},
            plan_digest=plan_digest,
        )
        return int(version.version)

    return one


@pytest.fixture
def declare(call: Call) -> Call:
    """Declare the deployment ``late`` with a shadow and a canary, approvals left to policy unless told."""

    def one(**changes: Any) -> Any:
        settings: dict[str, Any] = {
            "name": "late",
            "model": "late",
            "task": "binary",
            "rollout": [SHADOW, CANARY],
            "approve": {"first": "policy", "retrain": "policy"},
            **changes,
        }
        spec = DeploymentSpec(**{name: value for name, value in settings.items() if name != "approve"})
        document = {**to_builtins(spec), "approve": settings["approve"]}
        return call("serving.declare", spec=document)

    return one


@pytest.fixture
def serving_one(declare: Call, register: Call, call: Call) -> int:
    """Version 1 serves all traffic of ``late``, version 2 is registered; return 1."""
    declare()
    register("one")
    register("two")
    call("serving.start_rollout", deployment="late", version=1, reason="the first")
    return 1


@pytest.fixture
def candidate(serving_one: int, call: Call) -> Rollout:
    """The rollout of version 2, in shadow."""
    rollout: Rollout = call("serving.start_rollout", deployment="late", version=2, reason="trained on newer rows")
    return rollout


@pytest.fixture
def pass_time(dispatcher: Dispatcher, wall: FixedClock, worker: InProcessWorker) -> Call:
    """Move the clock to a moment; timers due on the way fire at their own, and their jobs end before the next."""

    def to(moment: int) -> int:
        fired = 0
        while due := dispatcher.database.read(lambda c: store_sql.due_timers(c, "flights", moment)):
            timer = due[0]
            wall.at_us = max(wall.at_us, timer.due_at)
            assert dispatcher.database.write(lambda c, timer=timer: store_sql.take_timer(c, timer))
            dispatcher.call(timer.verb, timer.args, actor=SERVICE_ACTOR, project="flights")
            worker.run()
            fired += 1
        wall.at_us = max(wall.at_us, moment)
        return fired

    return to


@pytest.fixture
def events(call: Call) -> Call:
    """Return the types of the newest events of ``late``, oldest first, those of serving."""

    def of(limit: int = 30) -> list[str]:
        return [event.type for event in reversed(call("audit.list", limit=limit)) if event.type.startswith("serving.")]

    return of
