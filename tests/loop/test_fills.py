"""Fills of the online store: a view that a plan reads has its past there, and nothing is filled for nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from loopwright.kernel.clock import DAY_US, HOUR_US
from tests.loop.conftest import PROJECT, RECENT, Importer, Loop, end_job

WEEKLY = msgspec.structs.replace(RECENT, windows_us=[7 * DAY_US])


@dataclass
class Fills:
    """What is known of ``flights``, and what is to be filled of it."""

    loop: Loop
    load: Callable[..., None]
    pushed: int = 0

    def push(self) -> None:
        """Register a chunk of pushed rows."""
        self.pushed += 1
        chunk = {
            "kind": "pushes",
            "stream": "flights",
            "writer": "w",
            "seq": self.pushed,
            "digest": "0" * 64,
            "rows": 1,
        }
        ends = {"rows": 1, "size_bytes": 1, "id_first": "a", "id_last": "b", "event_at_min": 0, "event_at_max": 0}
        self.loop.service("chunks.register", chunks=[{**chunk, **ends}])

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
def fills(loop: Loop, importer: Importer) -> Fills:
    """The project with a first version of its dataset, filled; rollouts take no time."""
    loop.apply(deployments=[msgspec.structs.replace(PROJECT.deployments[0], rollout=[])])
    made = Fills(loop, importer.load)
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
    assert fills.asked() == [("version 2 of flights is ready", 3)]
    change_view(fills.loop)
    fills.loop("features.freeze_plan", service="late")
    fills.loop("features.freeze_plan", service="late")
    assert fills.asked() == [("a new plan of late reads it", 168)]


def test_rows_of_a_pushed_dataset_that_nobody_pushed_are_filled_in(fills: Fills) -> None:
    """Pushes failed on the first day and came again on the second: as many rows do not say that they are the same."""
    fills.release()
    fills.loop.wall.at_us += HOUR_US
    fills.push()
    fills.load()
    assert fills.asked() == [("version 2 of flights is ready", 3)]
    fills.loop.wall.at_us += HOUR_US
    fills.load()
    assert fills.asked() == [("version 3 of flights is ready", 3)]


def test_what_lay_in_a_spool_while_a_release_was_loaded_is_filled_in(fills: Fills) -> None:
    fills.release()
    assert fills.asked() == []
    fills.loop.pass_time(DAY_US)
    assert fills.asked() == [("release 1 of late reads it", 3)]
    fills.release()
    fills.loop.pass_time(DAY_US)
    assert fills.asked() == []


def test_what_was_pushed_before_a_release_reads_a_view_is_filled_in(fills: Fills) -> None:
    fills.release()
    fills.loop.pass_time(DAY_US)
    fills.asked()
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
    assert fills.asked() == [("version 2 of flights is ready", 168)]
    fills.loop("loop.rollback", deployment="late", reason="back to the first")
    fills.loop("loop.rollback", deployment="late", reason="back to the first")
    assert fills.asked() == [("release 5 of late reads it", 3)]


def test_a_version_feeds_views_as_declared_and_as_served(fills: Fills) -> None:
    fills.release()
    change_view(fills.loop)
    fills.load()
    assert sorted(fills.asked()) == [("version 2 of flights is ready", 3), ("version 2 of flights is ready", 168)]
    fills.push()
    fills.load(operation="replace")
    assert len(fills.asked()) == 2


def test_a_plan_without_rows_waits_for_them(loop: Loop) -> None:
    loop("features.freeze_plan", service="late")
    assert loop("jobs.list") == []
