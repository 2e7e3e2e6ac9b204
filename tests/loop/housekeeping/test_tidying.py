"""The online store keeps what somebody may still ask for; what leaves it is told, and comes back when it is read."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from loopwright.features import ColumnViewSpec
from loopwright.features.online import OnlineStore, OnlineStores
from loopwright.kernel.clock import DAY_US, HOUR_US
from loopwright.loop.housekeeping import tidying
from tests.loop.conftest import PROJECT, Importer, Loop

LATEST = ColumnViewSpec("latest", "flights", "carrier", ["is_late"], ttl_us=HOUR_US)


@pytest.fixture
def store(importer: Importer) -> Iterator[OnlineStore]:
    opened = OnlineStores(Path(importer.state_dir)).open("flights")
    yield opened
    opened.close()


def tidy(loop: Loop, importer: Importer) -> dict[str, int]:
    """Let a worker do what is queued, the tidying among it; return what that freed."""
    job = loop("loop.start_tidying")
    assert loop("loop.start_tidying").job_id == job.job_id
    importer.run()
    result: dict[str, int] = loop("jobs.get", job_id=job.job_id).result
    return result


def pushed_rows(loop: Loop) -> pl.DataFrame:
    moment = pl.Series([loop.wall.at_us] * 2, dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))
    carriers = {"id": ["A", "B"], "carrier": ["UA", "AA"], "is_late": [True, False]}
    return pl.DataFrame(carriers).with_columns(scheduled_at=moment, landed_at=moment)


def test_values_that_are_long_over_leave_and_it_is_told(loop: Loop, importer: Importer, store: OnlineStore) -> None:
    loop.apply(views=[*PROJECT.views, LATEST])
    views = {bound.view.name: bound for bound in loop.service("loop.online_use").views}
    for bound in views.values():
        store.push([bound], pushed_rows(loop))
    assert tidy(loop, importer) == {"views": 0, "entities": 0, "size_bytes": 0, "freed_bytes": 0}
    loop.wall.at_us += 9 * DAY_US + HOUR_US + 1
    freed = tidy(loop, importer)
    assert (freed["views"], freed["entities"]) == (0, 2)
    assert freed["size_bytes"] > 0
    keys = {bound.key for bound in views.values()}
    assert keys - store.held(keys).keys() == {views["latest"].key}
    [event] = loop("audit.list", type_prefix="features.online_tidied")
    assert event.payload["entities"] == 2


def test_a_view_that_nobody_reads_leaves_and_is_filled_again_for_whoever_does(
    loop: Loop, importer: Importer, store: OnlineStore
) -> None:
    loop.apply(views=[*PROJECT.views, LATEST])
    importer.load()
    importer.run()
    [key] = [bound.key for bound in loop.service("loop.online_use").views if bound.view.name == "latest"]
    assert key in store.upkeep.view_keys("flights")
    loop("deletion.delete", ref="view:latest", reason="nobody reads it")
    assert tidy(loop, importer)["views"] == 1
    assert key not in store.upkeep.view_keys("flights")
    loop.apply(views=[*PROJECT.views, LATEST])
    loop("features.start_materialize", view="latest")
    importer.run()
    assert key in store.upkeep.view_keys("flights")


def test_what_was_filled_for_a_training_waits_a_week_for_its_release(
    loop: Loop, importer: Importer, store: OnlineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    importer.load()
    importer.run()
    [bound] = loop.service("loop.online_use").views
    monkeypatch.setattr(tidying, "_read_views", lambda _tx: {})
    assert loop.service("loop.let_views_go", view_keys=[bound.key]) == []
    loop.wall.at_us += tidying.FRESH_US + 1
    assert loop.service("loop.let_views_go", view_keys=[bound.key]) == [bound.key]
    assert loop("features.materializations") == []


def test_a_release_that_begins_to_read_it_meanwhile_has_it_filled_anew(serving: Loop, importer: Importer) -> None:
    importer.load()
    plan = serving("features.freeze_plan", service="late")
    version = serving.register(plan_digest=plan, service="late")
    serving.service("serving.release", deployment="late", champion=version, reason="by hand")
    [bound] = serving.service("loop.online_use").views
    assert serving.service("loop.finish_tidying", views=[bound.key], entities=3, size_bytes=9) == 1
    newest = serving("jobs.list", kind="features.materialize")[0]
    assert (newest.args["reset"], newest.args["reason"]) == (True, "read again while it was dropped")
