"""What an online store lost, or does not take, is told until it is mended, whatever is pushed meanwhile."""

import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from loopwright.data import KnownAt
from loopwright.features import (
    BoundView,
    ColumnViewSpec,
    DatasetPushSpec,
    FeaturePlan,
    LabelSpec,
    bind_views,
    online,
)
from loopwright.gateway import storewatch
from loopwright.gateway.disk import write_document
from loopwright.gateway.releases.known import Known
from loopwright.gateway.storewatch import StoreWatch
from loopwright.kernel.errors import StorageFull
from tests.redis_server import comes_back, picture_of
from tests.waiting import wait_until


def a_plan(**dtypes: str) -> FeaturePlan:
    weather = DatasetPushSpec("weather", ["id", "at"], "at", {"*": KnownAt("at", 0)}, dtypes=dtypes)
    view = ColumnViewSpec("recent", "weather", "id", ["value"])
    return FeaturePlan(
        "late", "at", ["id"], [], [view], [weather], ["value"], LabelSpec("weather", "value"), "binary", "c"
    )


class Watched:
    """A watch over the files of projects, of each of which one plan is live."""

    def __init__(
        self, folder: Path, plan: FeaturePlan, projects: str = "p", waits_s: float = 60.0, url: str = ""
    ) -> None:
        self.folder, self.stores = folder, online.OnlineStores(folder, url)
        releases: Any = [SimpleNamespace(project=each, deployment="late", plans={"abc": plan}) for each in projects]
        self.view: BoundView = bind_views(plan, "p")[0]
        self.known = Known()
        self.watch = StoreWatch(
            folder / "held-views.json", lambda: releases, self.stores, lambda: self.known, waits_s=waits_s
        )

    def told(self) -> list[tuple[str, bool]]:
        return [(sign.message, sign.is_in_the_way) for sign in self.watch.signs()]

    def push(self) -> None:
        store = self.stores.open("p")
        row = pl.DataFrame({"id": ["a"], "at": ["2026-03-01T12:00:00Z"], "value": [1.0]})
        store.push([self.view], row.with_columns(pl.col("at").str.to_datetime(time_zone="UTC")))
        store.close()

    def fill(self) -> None:
        store = self.stores.open("p")
        store.finish(self.view.key, store.try_out().name)
        store.close()


@pytest.fixture(params=["running", "stopped"])
def lost(request: Any, tmp_path: Path) -> Watched:
    """One whose store was filled, then removed under a running gateway, or a stopped one, and pushed to again."""
    plan = a_plan(value="Float64")
    watched = Watched(tmp_path, plan)
    watched.push()
    watched.fill()
    assert watched.told() == []
    shutil.rmtree(tmp_path / "online")
    if request.param == "stopped":
        watched = Watched(tmp_path, plan)
    watched.push()
    return watched


def test_a_lost_store_is_told_by_view_until_a_fill_has_ended(lost: Watched) -> None:
    for _ in range(2):
        [sign] = lost.watch.signs()
        assert sign.is_in_the_way
        assert "the view recent that late reads lost its rows" in sign.message
        assert "features.start_materialize view=recent plan_digest=abc -p p" in sign.next_step
        assert (sign.view, sign.plan_digest) == ("recent", "abc")
        lost.push()
    lost.fill()
    assert lost.told() == []


@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_redis_that_comes_back_older_is_told_until_a_fill_has_ended(
    tmp_path: Path, empty_redis: str, is_stopped: bool
) -> None:
    plan = a_plan(value="Float64")
    watched = Watched(tmp_path, plan, url=empty_redis)
    watched.push()
    watched.fill()
    assert watched.told() == []
    picture = picture_of(empty_redis)
    watched.push()
    assert watched.told() == []
    comes_back(empty_redis, picture)
    if is_stopped:
        watched = Watched(tmp_path, plan, url=empty_redis)
    for _ in range(2):
        [(message, is_in_the_way)] = watched.told()
        assert ("lost its rows" in message, is_in_the_way) == (True, True)
        watched.push()
    watched.fill()
    assert watched.told() == []


def test_what_no_fill_brings_back_is_told_with_what_is_lost(lost: Watched) -> None:
    [sign] = lost.watch.signs()
    assert "next version" not in sign.next_step
    lost.known = Known(pushed={"p/weather": ["value"]})
    [sign] = lost.watch.signs()
    assert "what was pushed to weather, of which not all is logged, comes with its next version alone" in sign.next_step


def test_a_view_with_a_past_that_was_never_filled_is_told(tmp_path: Path) -> None:
    watched = Watched(tmp_path, a_plan(value="Float64"))
    watched.push()
    [(message, is_in_the_way)] = watched.told()
    assert ("was never filled" in message, is_in_the_way) == (True, True)


def test_a_view_of_rows_that_were_only_ever_pushed_lacks_nothing_until_they_are_lost(tmp_path: Path) -> None:
    watched = Watched(tmp_path, a_plan())
    assert watched.told() == []
    watched.push()
    assert watched.told() == []
    shutil.rmtree(tmp_path / "online")
    [(message, is_in_the_way)] = watched.told()
    assert ("holds no rows" in message, is_in_the_way) == (True, True)
    watched.push()
    [(message, is_in_the_way)] = watched.told()
    assert ("lost its rows" in message, is_in_the_way) == (True, False)


def test_what_an_older_version_remembered_counts(tmp_path: Path) -> None:
    write_document(tmp_path / "held-views.json", [bind_views(a_plan(), "p")[0].key])
    [(message, _)] = Watched(tmp_path, a_plan()).told()
    assert "holds no rows" in message


def test_a_store_that_takes_no_rows_is_told_and_so_is_a_refused_push(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(tmp_path, a_plan())

    def full(*_: Any) -> str:
        raise StorageFull("the disk is full", next_step="free space")

    watched.watch.refused("p", StorageFull("no room"))
    assert watched.told() == [("a push was refused: no room", False)]
    watched.watch.taken("p")
    assert watched.told() == []
    with monkeypatch.context() as patch:
        patch.setattr("loopwright.features.online.sqlite.SqliteOnlineStore.try_out", full)
        [sign] = watched.watch.signs()
        assert ("takes no rows" in sign.message, sign.is_in_the_way, sign.next_step) == (True, True, "free space")
    assert watched.told() == []


def told_of(watched: Watched) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for sign in watched.watch.signs():
        found.setdefault(sign.project, []).append(sign.message)
    return found


def test_a_store_that_does_not_answer_keeps_nobody_from_hearing_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched, may_go_on, looks = Watched(tmp_path, a_plan(value="Float64"), "pq", 0.0), threading.Event(), list[str]()
    look = storewatch._look

    def look_long(stores: Any, project: str, *more: Any) -> Any:
        looks.append(project)
        if project == "p":
            may_go_on.wait()
        return look(stores, project, *more)

    monkeypatch.setattr(storewatch, "_look", look_long)
    assert told_of(watched) == {}, "nothing is known yet"
    wait_until(lambda: "q" in told_of(watched))
    assert set(told_of(watched)) == {"q"}
    monkeypatch.setattr(storewatch, "ANSWERS_WITHIN_S", 0.0)
    wait_until(lambda: "p" in told_of(watched))
    wait_until(lambda: told_of(watched) and looks.count("q") > 2)
    [message] = told_of(watched)["p"]
    assert "does not answer" in message
    assert looks.count("p") == 1, "nobody looks beside one who still looks"
    may_go_on.set()
    monkeypatch.setattr(storewatch, "ANSWERS_WITHIN_S", 60.0)
    wait_until(lambda: "holds no rows" in str(told_of(watched).get("p")))


def test_whatever_a_store_holds_others_are_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(tmp_path, a_plan(value="Float64"), "pq")
    look = storewatch._look

    def look_at_odd_bytes(stores: Any, project: str, *more: Any) -> Any:
        return b"\xff".decode() if project == "p" else look(stores, project, *more)

    monkeypatch.setattr(storewatch, "_look", look_at_odd_bytes)
    told = told_of(watched)
    assert "UnicodeDecodeError" in told["p"][0]
    assert "holds no rows" in told["q"][0]


def test_a_file_with_a_trigger_and_one_that_is_kept_locked_are_told(tmp_path: Path) -> None:
    watched = Watched(tmp_path, a_plan(value="Float64"), "pqr")
    for project in "pq":
        watched.stores.open(project).close()
    with closing(sqlite3.connect(watched.stores.address("p"))) as changed:
        changed.execute("CREATE TRIGGER t AFTER UPDATE ON identity BEGIN DELETE FROM fills; END")
    with closing(sqlite3.connect(watched.stores.address("q"), isolation_level=None)) as kept:
        for statement in ("PRAGMA journal_mode=DELETE", "PRAGMA locking_mode=EXCLUSIVE", "BEGIN EXCLUSIVE"):
            kept.execute(statement)
        told = told_of(watched)
    assert "it holds the trigger 't'" in told["p"][0]
    assert "locked" in told["q"][0]
    assert "holds no rows" in told["r"][0]
