"""What the tests of the loop share: an applied project, a reactor to drain, trainings that end as told."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from loopwright.data import DatasetSpec, KnownAt, SourceSpec
from loopwright.features import Aggregate, AggregateViewSpec, LabelSpec, ServiceSpec
from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, SYSTEM, Dispatcher
from loopwright.kernel.clock import DAY_US, HOUR_US, FixedClock
from loopwright.kernel.code import CodeRef
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.lanes import LANES
from loopwright.loop import Reactor, RetrainRecord, RetrainSpec, TrainSpec, When, fire_due
from loopwright.loop.types import ProjectSpec
from loopwright.monitoring import FeatureDrift, MonitorSpec, Performance, Window
from loopwright.registry import InputColumn, ModelFile, Signature
from loopwright.serving import ApproveSpec, DeploymentSpec, ShadowStep
from loopwright.store.blobs import BlobStore
from loopwright.store.types import Job
from tests.inprocess import InProcessWorker

CODE = CodeRef("c" * 64, "project", "fit", "f" * 64)
BY_POLICY = ApproveSpec("policy", "policy")
LATE = DeploymentSpec("late", "late", "binary", rollout=[ShadowStep(7 * DAY_US, "roc_auc", 0.01)], approve=BY_POLICY)
POLICY = RetrainSpec("late", "fit", [When("older_than", {"age_us": 60 * DAY_US})], 1, 30 * DAY_US)
RECENT = AggregateViewSpec("recent", "flights", "carrier", [3 * HOUR_US], [Aggregate("landed", "count", "is_late")])
PROJECT = ProjectSpec(
    "flights",
    datasets=[
        DatasetSpec("flights", SourceSpec("frame"), ["id"], "scheduled_at", {"is_late": KnownAt("landed_at")}),
    ],
    views=[RECENT],
    services=[ServiceSpec("late", [], ["recent"], LabelSpec("flights", "is_late"), "binary")],
    trains=[TrainSpec("fit", "late", "late", CODE, None, None, False)],
    deployments=[LATE],
    monitors={"late": MonitorSpec(DAY_US, performance="roc_auc", label_lag_us=0)},
    retrains=[POLICY],
)


@dataclass
class Loop:
    """A project of one model and what happens in it; every call is followed by the reactor's answers."""

    dispatcher: Dispatcher
    reactor: Reactor
    blobs: BlobStore
    wall: FixedClock

    def __call__(self, verb: str, /, **args: Any) -> Any:
        """Call a verb as a person."""
        return self._called(verb, args, LOCAL_ACTOR)

    def service(self, verb: str, /, **args: Any) -> Any:
        """Call a verb as the platform itself."""
        return self._called(verb, args, SERVICE_ACTOR)

    def _called(self, verb: str, args: dict[str, Any], actor: Any) -> Any:
        plain = {name: to_builtins(value) for name, value in args.items()}
        result = self.dispatcher.call(verb, plain, actor=actor, project="flights")
        self.reactor.drain()
        return result

    def apply(self, **changes: Any) -> None:
        """Apply the project with some of its parts changed."""
        self("loop.apply", spec=msgspec.structs.replace(PROJECT, **changes))

    def register(self, model: str = "late", task: Any = "binary", **facts: Any) -> int:
        """Register the next version of a model."""
        number = len(self("registry.versions", model=model)) + 1
        stored = self.blobs.put(f"model {number}".encode())
        profile = self.blobs.put(f"profile {number}".encode()).digest
        version = self.service(
            "registry.register",
            model=model,
            flavour="constant",
            files=[ModelFile("model.json", stored.digest, stored.size_bytes)],
            signature=Signature([InputColumn("recent", "number")], task),
            monitoring_profile=profile,
            **facts,
        )
        return int(version.version)

    def train(self, execution_id: str = "exe_by_hand", *, passed: bool = True, reason: str = "it ran") -> int:
        """End a training with a new version; returns that."""
        version = self.register()
        facts = {"execution_id": execution_id, "model": "late", "version": version}
        self.service("loop.finish_training", **facts, passed=passed, reason=reason)
        return version

    def retrain(self, deployment: str = "late") -> RetrainRecord:
        """Start the deployment's retrain as a person."""
        record: RetrainRecord = self("loop.start_retrain", deployment=deployment, reason="new rows are in")
        return record

    def retrains(self, deployment: str = "late") -> list[tuple[str, str]]:
        """Return state and outcome of the retrains of a deployment, newest first."""
        return [(one.state, one.outcome) for one in self("loop.retrains", deployment=deployment)]

    def rollout(self, deployment: str = "late") -> Any:
        """Return the newest rollout."""
        return self("serving.rollouts", deployment=deployment)[0]

    def promote(self, deployment: str = "late") -> None:
        """Let the live rollout pass its steps."""
        rollout = self.rollout(deployment)
        facts = {"metric": "roc_auc", "champion": 0.7, "candidate": 0.8, "difference": 0.1, "low": 0.05, "high": 0.15}
        for step in range(rollout.step, len(rollout.steps)):
            verdict = {"step": step, **facts, "verdict": "go", "message": "better", "rows": 500}
            verdict["at_us"] = self.wall.at_us + 30 * DAY_US
            place = {"rollout_id": rollout.rollout_id, "step": step, "look": 1}
            self.service("serving.finish_step", **place, verdicts=[verdict])

    def window(self, deployment: str = "late", *, drifted: int = 0, **served: Any) -> None:
        """Let a day pass and store its settled window: so many features drift, and so the champion did."""
        day = self.wall.at_us - self.wall.at_us % DAY_US
        monitor = self("monitoring.get", deployment=deployment)
        drift = [FeatureDrift(f"f{n}", float(n < drifted), 0.0, 0.0, 900, False, 0.2) for n in range(4)]
        span = [Performance("champion", predictions=900, **{"labels": 900, **served})] if served else []
        window = Window(
            deployment,
            day,
            day + DAY_US,
            "settled",
            *(900, 900, 0, 5.0, drift, span, span, {}, "", day + DAY_US),
            reference=monitor.reference,
            model_version=monitor.model_version,
        )
        self.wall.at_us = day + DAY_US
        self.service("monitoring.finish_window", window=window)

    def pass_time(self, us: int) -> None:
        """Move the clock and fire what falls due."""
        self.wall.at_us += us
        fire_due(self.dispatcher)
        self.reactor.drain()

    def needs_person(self) -> list[str]:
        """Return what calls for a person."""
        return list(self("loop.status").needs_attention)


def end_job(loop: Loop, job: Job, verb: str = "jobs.finish", **outcome: Any) -> None:
    """Claim what is queued of a job's kind, as a worker does, and end the job."""
    claim = {"worker": "w", "kinds": [job.kind], "slots": dict.fromkeys(LANES, 100)}
    loop.dispatcher.call("jobs.claim", claim, actor=SERVICE_ACTOR, project=SYSTEM)
    loop.service(verb, job_id=job.job_id, worker="w", **outcome)


@dataclass
class Importer(InProcessWorker):
    """Imports rows of ``flights`` as a worker does."""

    loop: Loop = None  # type: ignore[assignment]
    imported: int = 0

    def load(self, operation: str = "append", carrier: str | None = "UA", dataset: str = "flights") -> None:
        """Let a version with one more row be made."""
        self.imported += 1
        moment = pl.Series([self.loop.wall.at_us + self.imported], dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))
        row = {"id": [f"F{self.imported}"], "carrier": pl.Series([carrier], dtype=pl.String), "is_late": [True]}
        frame = pl.DataFrame(row).with_columns(scheduled_at=moment, landed_at=moment)
        body = io.BytesIO()
        frame.write_parquet(body)
        rows = [self.blobs.put(body.getvalue())]
        job = self.loop("data.start_import", dataset=dataset, operation=operation, blobs=rows)
        self.run_job(job)
        end_job(self.loop, job)


@pytest.fixture
def importer(loop: Loop, blob_store: BlobStore, tmp_path: Path) -> Importer:
    """Whoever brings rows."""
    return Importer(loop.dispatcher, blob_store, tmp_path, loop.wall, loop=loop)


@pytest.fixture
def loop(dispatcher: Dispatcher, blob_store: BlobStore, wall: FixedClock) -> Loop:
    """The project, applied, before its first version."""
    made = Loop(dispatcher, Reactor(dispatcher), blob_store, wall)
    made.apply()
    return made


@pytest.fixture
def serving(loop: Loop) -> Loop:
    """The project with version 1 in traffic."""
    loop.train()
    assert loop("serving.status", deployment="late").champion == 1
    return loop
