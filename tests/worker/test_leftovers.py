"""A worker removes the online stores of ended projects from its state folder, unless it does something for one."""

import msgspec
import pytest

from loopwright.features.online import OnlineStores
from loopwright.governance import LOCAL_ACTOR, SYSTEM
from loopwright.store.types import Job
from loopwright.worker.context import make_context
from loopwright.worker.leftovers import sweep_stores
from loopwright.worker.tasks import Tasks
from tests.worker.conftest import Site

pytestmark = pytest.mark.slow


def test_stores_of_closed_and_deleted_projects_go(site: Site) -> None:
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
    settings = msgspec.structs.replace(site.server.context.settings, url=site.server.url)
    context = make_context(settings, site.state / "worker", {})
    sweep_stores(context, tasks)
    assert OnlineStores(site.state).projects() == {"busy", "flights", "of-another-server"}
    sweep_stores(context, Tasks())
    assert OnlineStores(site.state).projects() == {"flights", "of-another-server"}
    context.children.close()
