"""The worker's part: filling the online store and freezing training sets from real dataset versions."""

from collections.abc import Callable
from typing import Any

import msgspec
import polars as pl
import pytest

from loopwright.data import read
from loopwright.features import BoundView, DatasetPushSpec, jobs
from loopwright.features.join import compute_features
from loopwright.features.online import OnlineStores
from loopwright.features.online.sqlite import SqliteOnlineStore
from loopwright.governance import SERVICE_ACTOR, SYSTEM
from loopwright.kernel.clock import HOUR_US, parse_moment
from loopwright.kernel.code import CodeRef
from loopwright.kernel.documents import digest_bytes, to_builtins
from loopwright.kernel.errors import NotFound
from loopwright.store.chunks import describe_chunk
from loopwright.store.work import NotYet
from tests.features.conftest import FLOWN

Call = Callable[..., Any]
MINUTES = """
import polars as pl

def minutes(frame):
    return frame.with_columns(pl.col("delay").str.replace(",", ".").cast(pl.Float64))
"""
OUTCOME = ["flight_id", "landed_at", "delay", "is_late"]


def test_a_view_is_filled_and_what_is_done_is_not_read_again(loaded: Call, worker: Any, small: Any) -> None:
    plan = loaded("features.freeze_plan", service="late")
    bound = {view.view.name: view for view in worker.call("features.bound_views", {"plan_digest": plan}, "flights")}
    view: BoundView = bound["recent_carrier"]
    job = loaded("features.start_materialize", view="recent_carrier", reason="first")
    assert worker.run_job(job) == {"rows": 3, "entities": 2}
    assert worker.run_job(job) == {"rows": 0, "entities": 2}
    worker.load("flights", small.flights([("F4", 9, 10, "UA", "JFK", 50.0)]))
    more = loaded("features.start_materialize", view="recent_carrier", plan_digest=plan)
    assert worker.run_job(more) == {"rows": 1, "entities": 2}
    again = loaded("features.start_materialize", view="recent_carrier", reset=True)
    assert worker.run_job(again) == {"rows": 4, "entities": 2}

    store = OnlineStores(worker.state_dir).open("flights")
    found = store.lookup([view], {"carrier": ["UA"]}, [10 * HOUR_US])
    assert found.columns["carrier_late_share_1d"].tolist() == [2 / 3]
    store.close()
    fills = loaded("features.materializations", view="recent_carrier")
    assert sorted((fill.dataset_version, fill.rows) for fill in fills) == [(1, 3), (2, 1), (2, 4)]
    assert fills[0].view_key == view.key
    assert len(loaded("audit.list", type_prefix="features.materialized")) == 3


def push(worker: Any, dataset: str, rows: pl.DataFrame, seq: int = 1) -> None:
    """Log rows as a gateway does that took them."""
    push_id = pl.format("push_{}", seq * 1_000 + pl.int_range(pl.len()))
    logged = rows.with_columns(push_id=push_id, event_at=pl.lit(0), recorded_at=pl.lit(worker.wall.at_us))
    path = worker.state_dir / "pushed.parquet"
    logged.write_parquet(path)
    stored = worker.blobs.put_file(path)
    chunk = describe_chunk(logged, stored, kind="pushes", stream=dataset, writer="w", seq=seq)
    worker.call("chunks.register", {"chunks": [to_builtins(chunk)]}, "flights")


def test_a_fill_takes_pushed_rows_that_no_version_holds_yet_and_each_row_once(
    loaded: Call, worker: Any, small: Any
) -> None:
    pushed = small.flights([FLOWN[1], ("F4", 9, 10, "UA", "JFK", 50.0), ("F5", 9, 10, "DL", "JFK", 1.0)])
    logged = pushed.with_columns(pl.col("delay").cast(pl.Float32), pl.lit("x").alias("raw.event_at"))
    push(worker, "flights", logged)
    plan = loaded("features.freeze_plan", service="late")
    job = loaded("features.start_materialize", view="recent_carrier", plan_digest=plan)
    assert worker.run_job(job)["rows"] == 6
    assert worker.sealed
    bound = {view.view.name: view for view in worker.call("features.bound_views", {"plan_digest": plan}, "flights")}
    store = OnlineStores(worker.state_dir).open("flights")
    found = store.lookup([bound["recent_carrier"]], {"carrier": ["UA", "DL", "B6"]}, [10 * HOUR_US] * 3)
    store.close()
    assert found.columns["carrier_landed_1d"].tolist() == [3, 1, 1]
    assert worker.run_job(job) == {"rows": 3, "entities": 3}


def test_a_fill_holds_few_rows_at_a_time_and_finds_what_all_of_them_say(
    loaded: Call, worker: Any, small: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it depends on how rows lie in fragments and chunks, nor on columns that only some of them have."""
    for hour in range(10, 16):
        row = (f"G{hour}", hour, hour + 1, "UA", "JFK", float(hour % 4 * 10))
        worker.load("flights", small.flights([row]))
        pushed = small.flights([(f"P{hour}", hour, hour + 1, "B6", "JFK", 40.0)] * 2)
        push(worker, "flights", pushed.drop("delay", "is_late") if hour == 12 else pushed, hour)
    plan = loaded("features.freeze_plan", service="late")
    bound = {view.view.name: view for view in worker.call("features.bound_views", {"plan_digest": plan}, "flights")}
    asked = [bound["recent_carrier"]], {"carrier": ["UA", "B6"]}, [17 * HOUR_US] * 2
    answers, held = [], list[int]()
    fill = SqliteOnlineStore.fill
    monkeypatch.setattr(
        SqliteOnlineStore,
        "fill",
        lambda store, view, frame, *rest: held.append(frame.height) or fill(store, view, frame, *rest),
    )
    for most_rows in (1_000, 2):
        monkeypatch.setattr(jobs, "MOST_ROWS", most_rows)
        held.clear()
        job = loaded("features.start_materialize", view="recent_carrier", plan_digest=plan, reset=True)
        done = worker.run_job(job)
        store = OnlineStores(worker.state_dir).open("flights")
        answers.append((done["rows"], {name: str(found) for name, found in store.lookup(*asked).columns.items()}))
        store.close()
    assert answers[0] == answers[1]
    assert answers[0][0] == sum(held) == 3 + 6 + 12
    assert max(held) <= 3  # a fragment has three


def test_pushed_rows_without_what_is_personal_are_not_filled_in(loaded: Call, worker: Any, small: Any) -> None:
    loaded(
        "data.declare", spec=msgspec.structs.replace(loaded("data.get", dataset="flights").spec, personal=["carrier"])
    )
    pushed = small.flights([("F4", 9, 10, "UA", "JFK", 50.0)])
    push(worker, "flights", pushed.drop("carrier").with_columns(note=pl.lit("x")))
    job = loaded("features.start_materialize", view="recent_carrier")
    assert worker.run_job(job)["rows"] == 3


def test_a_fill_gives_a_transform_what_was_pushed(loaded: Call, worker: Any, small: Any) -> None:
    """Text that the transform makes a number of is text until it has run."""
    (worker.state_dir / "delays.py").write_text(MINUTES)
    spec = loaded("data.get", dataset="flights").spec
    code = CodeRef(digest_bytes(b"code"), "delays", "minutes", digest_bytes(b"minutes"))
    loaded("data.declare", spec=msgspec.structs.replace(spec, transform=code))
    pushed = small.flights([("F4", 9, 10, "UA", "JFK", 50.0)])
    push(worker, "flights", pushed.with_columns(delay=pl.lit("50,5")))
    job = loaded("features.start_materialize", view="recent_carrier")
    assert worker.run_job(job)["rows"] == 4


def test_rows_of_the_future_stay_out(loaded: Call, worker: Any, small: Any) -> None:
    years = (parse_moment("2015-01-01") - parse_moment("1970-01-01")) // HOUR_US
    worker.load("weather", small.weather([("JFK", years, 99.0, "hail")]))
    job = loaded("features.start_materialize", view="at_origin")
    assert worker.run_job(job) == {"rows": 2, "entities": 2}


def test_rows_of_the_future_come_in_when_it_is_time(loaded: Call, worker: Any, small: Any) -> None:
    now = worker.wall.now_us() // HOUR_US
    worker.load("weather", small.weather([("JFK", now, 1.0, "clear"), ("JFK", now + 60, 2.0, "hail")]))
    first = loaded("features.start_materialize", view="at_origin")
    assert worker.run_job(first)["rows"] == 3
    worker.wall.at_us += 60 * HOUR_US
    later = loaded("features.start_materialize", view="at_origin")
    assert worker.run_job(later)["rows"] == 2
    again = loaded("features.start_materialize", view="at_origin")
    assert worker.run_job(again)["rows"] == 0
    plan = loaded("features.freeze_plan", service="late")
    view = worker.call("features.bound_views", {"plan_digest": plan}, "flights")[0]
    store = OnlineStores(worker.state_dir).open("flights")
    found = store.lookup([view], {"origin": ["JFK"]}, [worker.wall.now_us() + HOUR_US])
    store.close()
    assert found.columns["sky"] == ["hail"]


def test_a_view_the_plan_lacks_is_named(loaded: Call) -> None:
    plan = loaded("features.freeze_plan", service="late")
    with pytest.raises(NotFound, match="did you mean at_origin"):
        loaded("features.start_materialize", view="at_origins", plan_digest=plan)


def test_a_plan_frozen_before_any_version_knows_no_dtypes(declared: Call) -> None:
    plan = declared("features.plan", digest=declared("features.freeze_plan", service="late"))
    assert isinstance(plan.datasets[0], DatasetPushSpec)
    assert plan.datasets[0].dtypes == {}


def test_the_online_store_is_filled_with_what_came_and_what_was_corrected(
    declared: Call, worker: Any, small: Any
) -> None:
    flown = [(f"F{hour}", hour, hour + 2, "UA", "JFK", float(hour % 3) * 10) for hour in range(12)]
    flights = small.flights(flown)
    worker.load("weather", small.weather([("JFK", 1, 20.0, "clear")]))
    worker.load("flights", flights.with_columns(pl.lit(None, flights.schema[name]).alias(name) for name in OUTCOME[1:]))
    plan = declared("features.freeze_plan", service="late")
    bound: dict[str, BoundView] = {
        view.view.name: view for view in worker.call("features.bound_views", {"plan_digest": plan}, "flights")
    }

    def fill() -> None:
        for name in ("recent_carrier", "landed_origin"):
            worker.run_job(declared("features.start_materialize", view=name, plan_digest=plan))

    def check() -> None:
        version = declared("data.get_version", dataset="flights")
        scans = {"flights": read.stages(version, worker.blobs), "weather": small.weather([]).lazy()}
        asked = pl.DataFrame({"carrier": ["UA"] * 9, "origin": ["JFK"] * 9, "scheduled_at": [None] * 9})
        asked = asked.with_columns(pl.col("scheduled_at").cast(pl.Datetime("us", "UTC")))
        at = [hour * HOUR_US for hour in (1, 3, 5, 8, 11, 12, 13, 20, 30)]
        found = compute_features(small.plan, scans, asked, pl.Series(at).to_numpy(), small.run_requests)
        store = OnlineStores(worker.state_dir).open("flights")
        for name, entity in (("recent_carrier", "carrier"), ("landed_origin", "origin")):
            view = bound[name]
            served = store.lookup([view], {entity: asked[entity].to_list()}, at)
            for column, values in served.columns.items():
                computed = found.columns[column].fill_null(float("nan")).to_list()
                assert [str(value) for value in values] == [str(value) for value in computed], column
        store.close()

    fill()
    worker.load("flights", flights[:5].select(OUTCOME), "complete")
    fill()
    check()
    worker.load("flights", flights[5:].select(OUTCOME), "complete")
    fill()
    check()
    seen = pl.lit(14 * HOUR_US).cast(pl.Datetime("us", "UTC"))
    wrong = flights[:2].with_columns(delay=pl.lit(55.0), is_late=pl.lit(True), seen=seen)
    worker.load("flights", wrong, "upsert", known_at="seen")
    fill()
    check()
    worker.load("flights", flights[3:5].select("flight_id"), "delete")
    fill()
    check()


def test_a_replacement_takes_out_of_the_online_store_what_it_no_longer_holds(
    loaded: Call, worker: Any, small: Any
) -> None:
    plan = loaded("features.freeze_plan", service="late")
    views = {view.view.name: view for view in worker.call("features.bound_views", {"plan_digest": plan}, "flights")}
    view: BoundView = views["recent_carrier"]

    def fill(**more: Any) -> dict[str, int]:
        job = loaded("features.start_materialize", view="recent_carrier", plan_digest=plan, **more)
        return dict(worker.run_job(job))

    def landed() -> list[float]:
        store = OnlineStores(worker.state_dir).open("flights")
        found = store.lookup([view], {"carrier": ["UA", "B6"]}, [10 * HOUR_US] * 2)
        store.close()
        return [float(value) for value in found.columns["carrier_landed_1d"]]

    fill()
    before = landed()
    kept = [("F9", 8, 9, "UA", "JFK", 50.0)]
    worker.load("flights", small.flights(kept), "replace")
    assert fill(dataset_version=1)["rows"] == 0, "an older version takes nothing out"
    assert landed() == before
    assert fill() == {"rows": 1, "entities": 1}
    assert before == [2.0, 1.0]
    assert landed() == [1.0, 0.0]
    loaded("data.restore", dataset="flights", version=1, reason="the replacement was wrong")
    fill()
    assert landed() == before


@pytest.mark.parametrize("anew", [False, True])
def test_a_fill_whose_store_is_lost_meanwhile_begins_again(
    loaded: Call, worker: Any, monkeypatch: pytest.MonkeyPatch, anew: bool
) -> None:
    job = loaded("features.start_materialize", view="recent_carrier", reset=anew)
    fill = SqliteOnlineStore.fill

    def fill_and_lose(store: SqliteOnlineStore, *args: Any) -> Any:
        filled = fill(store, *args)
        for path in store.path.parent.iterdir():
            path.unlink()
        return filled

    with monkeypatch.context() as patch:
        patch.setattr(SqliteOnlineStore, "fill", fill_and_lose)
        with pytest.raises(NotYet):
            worker.run_job(job)
    assert worker.run_job(job) == {"rows": 3, "entities": 2}


def test_a_fill_waits_for_an_older_one_of_the_same_view(loaded: Call, worker: Any) -> None:
    jobs = [loaded("features.start_materialize", view="recent_carrier") for _ in range(2)]
    other = loaded("features.start_materialize", view="landed_origin")
    running = worker.dispatcher.call(
        "jobs.claim",
        {"worker": "w", "kinds": ["features.materialize"], "slots": {"work": 3}},
        actor=SERVICE_ACTOR,
        project=SYSTEM,
    )
    assert {job.job_id for job in running} == {job.job_id for job in (*jobs, other)}
    with pytest.raises(NotYet):
        worker.run_job(jobs[1])
    assert worker.run_job(other)["rows"] == 3
    assert worker.run_job(jobs[0])["rows"] == 3


def test_pushed_rows_that_no_version_holds_stay_in_the_features_through_a_restore(
    loaded: Call, worker: Any, small: Any
) -> None:
    plan = loaded("features.freeze_plan", service="late")
    views = {view.view.name: view for view in worker.call("features.bound_views", {"plan_digest": plan}, "flights")}

    def landed() -> float:
        worker.run_job(loaded("features.start_materialize", view="recent_carrier", plan_digest=plan))
        store = OnlineStores(worker.state_dir).open("flights")
        found = store.lookup([views["recent_carrier"]], {"carrier": ["UA"]}, [10 * HOUR_US])
        store.close()
        return float(found.columns["carrier_landed_1d"][0])

    def later() -> None:
        worker.wall.at_us += HOUR_US

    later()
    push(worker, "flights", small.flights([(f"P{each}", 5, 6, "UA", "JFK", 0.0) for each in range(5)]))
    assert landed() == 7.0
    later()
    worker.load("flights", small.flights([("F9", 8, 9, "UA", "JFK", 50.0)]), "replace")
    later()
    loaded("data.restore", dataset="flights", version=1, reason="the replacement was wrong")
    assert landed() == 7.0
    later()
    worker.load("flights", small.flights([("F8", 8, 9, "UA", "JFK", 50.0)]))
    assert landed() == 8.0
    worker.run_job(loaded("features.start_materialize", view="recent_carrier", plan_digest=plan, reset=True))
    assert landed() == 8.0
