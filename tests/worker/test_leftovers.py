"""A worker removes the online stores of ended projects from its state folder, unless it does something for one.

And what workers left there that were killed.
"""

import os
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from loopwright.features.online import OnlineStores
from loopwright.governance import LOCAL_ACTOR, SYSTEM
from loopwright.store.types import Job
from loopwright.worker import leftovers
from loopwright.worker.context import WorkerContext, make_context
from loopwright.worker.leftovers import keep_swept, sweep_stores
from loopwright.worker.tasks import Tasks
from tests.waiting import wait_until
from tests.worker.conftest import Site

pytestmark = pytest.mark.slow


@pytest.fixture
def context(site: Site) -> Iterator[WorkerContext]:
    settings = msgspec.structs.replace(site.server.context.settings, url=site.server.url)
    made = make_context(settings, site.state / "worker", {})
    yield made
    made.children.close()


def test_what_another_worker_left_that_was_killed_goes(
    site: Site, context: WorkerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine of workers alone no server looks."""
    monkeypatch.setattr(leftovers, "FIRST_AFTER_S", 0.0)
    left = site.state / "worker-2" / "tmp" / "tmp_1" / "rows.arrow"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"rows")
    for path in (left, *left.parents[:3]):
        os.utime(path, (1, 1))
    is_over = threading.Event()
    sweeper = threading.Thread(target=leftovers.keep_swept, args=(context, Tasks(), is_over))
    sweeper.start()
    wait_until(lambda: not left.exists())
    is_over.set()
    sweeper.join()
    assert not left.exists()


def test_stores_of_closed_and_deleted_projects_go(site: Site, context: WorkerContext) -> None:
    call = site.server.dispatcher.call
    for name in ("gone", "busy"):
        call("projects.create", {"name": name}, actor=LOCAL_ACTOR, project=SYSTEM)
        call("loop.delete_project", {"name": name, "reason": "done"}, actor=LOCAL_ACTOR, project=name)
    call("projects.create", {"name": "closed"}, actor=LOCAL_ACTOR, project=SYSTEM)
    call("loop.close_project", {"reason": "done"}, actor=LOCAL_ACTOR, project="closed")
    for name in ("gone", "closed", "busy", "flights", "of-another-server"):
        OnlineStores(site.state).address(name)
    [job] = call("jobs.list", {}, actor=LOCAL_ACTOR, project="busy")
    assert isinstance(job, Job)
    tasks = Tasks()
    tasks.begin(job)
    sweep_stores(context, tasks)
    assert OnlineStores(site.state).projects() == {"busy", "flights", "of-another-server"}
    sweep_stores(context, Tasks())
    assert OnlineStores(site.state).projects() == {"flights", "of-another-server"}


def test_whatever_a_store_holds_the_next_sweep_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    is_over, sweeps = threading.Event(), list[int]()

    def sweep(*_: Any) -> None:
        sweeps.append(1)
        if len(sweeps) == 2:
            is_over.set()
        raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "of a project's code")

    monkeypatch.setattr(leftovers, "sweep_stores", sweep)
    monkeypatch.setattr(leftovers.garbage, "sweep_workers", lambda *_: None)
    monkeypatch.setattr(leftovers, "FIRST_AFTER_S", 0.0)
    monkeypatch.setattr(leftovers, "EVERY_S", 0.0)
    context: Any = SimpleNamespace(state_dir=None, wall=SimpleNamespace(now_us=lambda: 0))
    keep_swept(context, Tasks(), is_over)
    assert len(sweeps) == 2
