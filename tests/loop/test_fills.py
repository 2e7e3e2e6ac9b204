"""Fills of the online store: a view that a plan reads has its past there, and nothing is filled for nothing."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from loopwright.kernel.clock import DAY_US, HOUR_US
from loopwright.store.blobs import BlobStore
from loopwright.store.work import JOBS
from tests.loop.conftest import PROJECT, RECENT, Loop, end_job

WEEKLY = msgspec.structs.replace(RECENT, windows_us=[7 * DAY_US])


@dataclass
class Fills:
    """Imports rows of ``flights`` as a worker does, and says what is to be filled."""

    loop: Loop
    blobs: BlobStore
    state_dir: Path
    imported: int = 0

    def call(self, verb: str, args: dict[str, Any], _project: str) -> Any:
        """Call a verb as a job does."""
        return self.loop.service(verb, **args)

    def progress(self, text: str) -> None:
        """Hear how far a job is."""

    def load(self, operation: str = "append") -> None:
        """Let a version with one more row become ready."""
        self.imported += 1
        moment = pl.Series([self.loop.wall.at_us + self.imported], dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))
        row = {"id": [f"F{self.imported}"], "carrier": ["UA"], "is_late": [True]}
        frame = pl.DataFrame(row).with_columns(scheduled_at=moment, landed_at=moment)
        body = io.BytesIO()
        frame.write_parquet(body)
        rows = [self.blobs.put(body.getvalue())]
        job = self.loop("data.start_import", dataset="flights", operation=operation, blobs=rows)
        JOBS["data.import"](self, job)  # type: ignore[arg-type]
        end_job(self.loop, job)

    def push(self) -> None:
        """Register a chunk of pushed rows."""
        chunk = {"kind": "pushes", "stream": "flights", "writer": "w", "seq": 1, "digest": "0" * 64, "rows": 1}
        ends = {"size_bytes": 1, "id_first": "a", "id_last": "b", "event_at_min": 0, "event_at_max": 0}
        self.loop.service("chunks.register", **chunk, **ends)

    def asked(self) -> list[Any]:
        """Return the fills that wait, oldest first, and end them."""
        jobs = self.loop("jobs.list", kind="features.materialize", states=["queued"])[::-1]
        for job in jobs:
            named = {"job_id": job.job_id, "view": job.args["view"], "rows": 1, "entities": 1}
            place = {"dataset_version": job.args["dataset_version"], "reason": job.args["reason"]}
            self.loop.service("features.finish_materialize", **named, **place)
            end_job(self.loop, job)
        return [(job.args["reason"], job.args["view"]["view"]["windows_us"][0] // HOUR_US) for job in jobs]

    def release(self) -> None:
        """Train and release a version of the present plan."""
        plan = self.loop("features.freeze_plan", service="late")
        version = self.loop.register(plan_digest=plan)
        self.loop("loop.deploy", deployment="late", version=version)


@pytest.fixture
def fills(loop: Loop, blob_store: BlobStore, tmp_path: Path) -> Fills:
    """The project with a first version of its dataset, filled; rollouts take no time."""
    loop.apply(deployments=[msgspec.structs.replace(PROJECT.deployments[0], rollout=[])])
    made = Fills(loop, blob_store, tmp_path)
    made.load()
    assert made.asked() == [("version 1 of flights is ready", 3)]
    return made


def change_view(loop: Loop) -> None:
    loop.apply(views=[WEEKLY], deployments=[msgspec.structs.replace(PROJECT.deployments[0], rollout=[])])


def test_what_is_filled_is_not_filled_again(fills: Fills) -> None:
    fills.release()
    fills.release()
    assert fills.asked() == []


def test_a_changed_view_of_a_pushed_dataset_is_filled_before_a_model_reads_it(fills: Fills) -> None:
    fills.release()
    fills.push()
    fills.load()
    assert fills.asked() == []
    change_view(fills.loop)
    fills.loop("features.freeze_plan", service="late")
    fills.loop("features.freeze_plan", service="late")
    assert fills.asked() == [("a new plan of late reads it", 168)]


def test_what_was_pushed_before_a_release_reads_a_view_is_filled_in(fills: Fills) -> None:
    fills.release()
    fills.push()
    change_view(fills.loop)
    fills.loop("features.freeze_plan", service="late")
    fills.asked()
    fills.release()
    assert fills.asked() == [("release 2 of late reads it", 168)]
    fills.loop.pass_time(DAY_US)
    assert fills.asked() == [("release 2 of late reads it", 168)]
    fills.release()
    fills.load()
    fills.loop.pass_time(DAY_US)
    assert fills.asked() == []
    fills.loop("loop.rollback", deployment="late", reason="back to the first")
    fills.loop("loop.rollback", deployment="late", reason="back to the first")
    assert fills.asked() == [("release 5 of late reads it", 3)]


def test_a_version_feeds_views_as_declared_and_as_served(fills: Fills) -> None:
    fills.release()
    change_view(fills.loop)
    fills.load()
    assert sorted(fills.asked()) == [("version 2 of flights is ready", 3), ("version 2 of flights is ready", 168)]
    fills.push()
    fills.load("replace")
    assert len(fills.asked()) == 2


def test_a_plan_without_rows_waits_for_them(loop: Loop) -> None:
    loop("features.freeze_plan", service="late")
    assert loop("jobs.list") == []
