"""A worker for the tests of data: real verbs through the dispatcher, real blobs, user code in a real child process."""

import io
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from loopwright.data import CheckSpec, DatasetSpec, DatasetVersion, ImportResult, KnownAt, SourceSpec, read
from loopwright.governance import SERVICE_ACTOR, SYSTEM, Dispatcher
from loopwright.kernel.clock import Clock
from loopwright.kernel.code import CodeRef
from loopwright.kernel.documents import convert
from loopwright.kernel.errors import LoopwrightError, StepFailed, error_from_dict
from loopwright.store.blobs import BlobStore
from loopwright.store.types import EVERY_STREAM, BlobRef, Job, Streams
from loopwright.store.work import JOBS

CHILD = """
import importlib, sys, polars
module, name, rows, out = sys.argv[1:]
frame = getattr(importlib.import_module(module), name)(polars.scan_parquet(rows))
frame.lazy().collect().write_parquet(out)
"""


@dataclass
class Worker:
    """Runs queued jobs, as the worker process does."""

    dispatcher: Dispatcher
    blobs: BlobStore
    state_dir: Path
    wall: Clock
    said: list[str] = field(default_factory=list)
    before_call: Callable[[str], None] = lambda verb: None

    def call(self, verb: str, args: dict[str, Any], project: str) -> Any:
        self.before_call(verb)
        return self.dispatcher.call(verb, args, actor=SERVICE_ACTOR, project=project)

    def progress(self, text: str) -> None:
        self.said.append(text)

    def transform(self, code: CodeRef, rows: Path, out: Path) -> None:
        command = [sys.executable, "-c", CHILD, code.module, code.qualname, str(rows), str(out)]
        answer = subprocess.run(command, cwd=self.state_dir, capture_output=True, text=True, check=False)
        if answer.returncode:
            raise StepFailed(answer.stderr.strip().split("\n")[-1])

    def seal(self, streams: Streams = EVERY_STREAM) -> None:
        self.said.append("sealed")

    def run_job(self, job: Job) -> dict[str, Any] | None:
        return JOBS[job.kind](self, job)

    def run_all(self) -> list[Job]:
        """Claim and do every queued job; return them ended."""
        done = []
        while claimed := self.call("jobs.claim", {"worker": "w1", "kinds": list(JOBS)}, SYSTEM):
            (job,) = claimed
            ended = {"job_id": job.job_id, "worker": "w1"}
            try:
                result = self.run_job(job)
            except LoopwrightError as error:
                done.append(self.call("jobs.fail", {**ended, "error": error.to_dict()}, job.project))
            else:
                done.append(self.call("jobs.finish", {**ended, "result": result}, job.project))
        return done


@pytest.fixture
def worker(dispatcher: Dispatcher, blob_store: BlobStore, tmp_path: Path) -> Worker:
    return Worker(dispatcher, blob_store, tmp_path, dispatcher.wall)


@pytest.fixture
def import_rows(worker: Worker, call: Callable[..., Any]) -> Callable[..., ImportResult]:
    """Import a frame and return how it ended; an error of the job is raised."""

    def run(dataset: str, frame: pl.DataFrame, operation: str = "append", **options: Any) -> ImportResult:
        blobs = [put_frame(worker.blobs, frame)]
        call("data.start_import", dataset=dataset, operation=operation, blobs=blobs, **options)
        (job,) = worker.run_all()
        if job.error is not None:
            raise error_from_dict(job.error)
        return convert(job.result, ImportResult)

    return run


def put_frame(blobs: BlobStore, frame: pl.DataFrame) -> BlobRef:
    body = io.BytesIO()
    frame.write_parquet(body)
    return blobs.put(body.getvalue())


def weather_spec(**changes: Any) -> DatasetSpec:
    fields: dict[str, Any] = {
        "name": "weather",
        "source": SourceSpec("push"),
        "key": ["origin", "observed_at"],
        "time": "observed_at",
        "known_at": {"*": KnownAt("observed_at", 3_600_000_000)},
        "checks": [CheckSpec("between", "temp", {"low": -60, "high": 60})],
    }
    return DatasetSpec(**{**fields, **changes})


def weather(day: int, hours: int = 24, temp: float = 10.0, origins: tuple[str, ...] = ("JFK",)) -> pl.DataFrame:
    """Hourly weather of one day of March 2013."""
    start = pl.datetime(2013, 3, day, time_zone="UTC")
    hour = pl.DataFrame({"hour": range(hours)}).select(
        observed_at=start + pl.duration(hours="hour"), hour=pl.col("hour")
    )
    frame = hour.join(pl.DataFrame({"origin": list(origins)}), how="cross")
    return frame.select("origin", "observed_at", temp=pl.col("hour") + temp, wind=pl.col("hour").cast(pl.Int64) * 2)


def rows_of(version: DatasetVersion, blobs: BlobStore) -> pl.DataFrame:
    return read.scan(version, blobs, may_be_quarantined=True).collect()
