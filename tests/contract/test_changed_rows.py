"""Rows that were completed, corrected, taken away: what is served of them is what a training set holds."""

from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from loopwright.data import read
from loopwright.features import BoundView
from loopwright.features.join import compute_features
from loopwright.features.online import OnlineStores
from loopwright.kernel.clock import HOUR_US
from tests.features import conftest
from tests.features.conftest import Small, Worker

declared, small, worker = conftest.declared, conftest.small, conftest.worker
MOMENT = pl.Datetime("us", "UTC")
VIEWS = {"recent_carrier": "carrier", "landed_origin": "origin", "at_origin": "origin"}


class Served:
    """Versions of flights and weather, filled into the online store after each."""

    def __init__(self, call: Callable[..., Any], worker: Worker, small: Small) -> None:
        self.call, self.worker, self.small = call, worker, small
        worker.load("weather", small.weather([("JFK", 1, 20.0, "clear")]))
        worker.load("flights", self.flights(("A1", 1, 2, 30.0), ("A2", 2, 3, 0.0)))
        worker.load("flights", self.flights(("B1", 3, 4, 30.0), ("B2", 4, 5, 0.0)))
        self.plan = call("features.freeze_plan", service="late")
        views = worker.call("features.bound_views", {"plan_digest": self.plan}, "flights")
        self.views: dict[str, BoundView] = {view.view.name: view for view in views}
        self.fill()

    def flights(self, *rows: tuple[str, int, int, float]) -> pl.DataFrame:
        return self.small.flights([(key, at, landed, "UA", "JFK", delay) for key, at, landed, delay in rows])

    def load(self, dataset: str, rows: pl.DataFrame, operation: str = "append", **options: Any) -> None:
        self.worker.load(dataset, rows, operation, **options)
        self.fill()

    def fill(self) -> None:
        for name in VIEWS:
            self.worker.run_job(self.call("features.start_materialize", view=name, plan_digest=self.plan))

    def check(self, *at_us: int) -> None:
        """What is served at these moments is what is computed for them."""
        versions = [self.call("data.get_version", dataset=name) for name in ("flights", "weather")]
        scans = {version.dataset: read.stages(version, self.worker.blobs) for version in versions}
        asked = pl.DataFrame({"carrier": ["UA"] * len(at_us), "origin": ["JFK"] * len(at_us)})
        asked = asked.with_columns(pl.lit(None, MOMENT).alias("scheduled_at"))
        found = compute_features(self.small.plan, scans, asked, pl.Series(at_us).to_numpy(), self.small.run_requests)
        store = OnlineStores(self.worker.state_dir).open("flights")
        for name, entity in VIEWS.items():
            served = store.lookup([self.views[name]], {entity: asked[entity].to_list()}, list(at_us))
            for column, values in served.columns.items():
                computed = found.columns[column].to_list()
                told = [None if isinstance(value, float) and value != value else value for value in list(values)]
                assert told == computed, column
        store.close()


@pytest.fixture
def served(declared: Callable[..., Any], worker: Worker, small: Small) -> Served:
    return Served(declared, worker, small)


def keys(*names: str) -> pl.DataFrame:
    return pl.DataFrame({"flight_id": list(names)})


def test_rows_that_go_one_after_the_other(served: Served) -> None:
    """What is stored of each is alike to the byte: the first row of its fragment."""
    for key in ("A1", "B1"):
        served.load("flights", keys(key), "delete")
        served.check(4 * HOUR_US, 10 * HOUR_US)


def test_a_row_that_went_and_came_again(served: Served) -> None:
    row = served.flights(("C1", 5, 6, 30.0))
    for rows, operation in ((row, "append"), (keys("C1"), "delete"), (row, "append"), (keys("C1"), "delete")):
        served.load("flights", rows, operation)
        served.check(10 * HOUR_US)


def test_alike_corrections_of_two_fragments(served: Served) -> None:
    seen = pl.lit(8 * HOUR_US).cast(MOMENT)
    for key in ("A1", "B1"):
        corrected = keys(key).with_columns(is_late=pl.lit(value=False), seen=seen)
        served.load("flights", corrected, "complete", known_at="seen", corrects=True)
        served.check(7 * HOUR_US, 10 * HOUR_US)


@pytest.mark.parametrize("was", [1.0, None])
def test_what_comes_before_it_would_be_known_by_declaration(served: Served, was: float | None) -> None:
    now = served.worker.wall.at_us
    row = pl.DataFrame(
        {"origin": ["JFK"], "observed_at": pl.Series([now - HOUR_US // 6]).cast(MOMENT), "sky": ["clear"]}
    )
    served.load(
        "weather", row.with_columns(temp=pl.lit(was, pl.Float64)).select("origin", "observed_at", "temp", "sky")
    )
    said = row.select("origin", "observed_at", temp=pl.lit(2.0))
    served.load("weather", said, "complete", corrects=True)
    served.check(now, now + HOUR_US, now + 2 * HOUR_US)


def test_a_row_goes_though_others_are_still_to_come(served: Served) -> None:
    now = served.worker.wall.at_us
    at = pl.Series([now - 2 * HOUR_US, now + 72 * HOUR_US]).cast(MOMENT)
    rows = pl.DataFrame({"origin": ["JFK"] * 2, "observed_at": at, "temp": [1.0, 2.0], "sky": ["a", "b"]})
    served.load("weather", rows)
    served.load("weather", rows[:1].select("origin", "observed_at"), "delete")
    served.check(now)


def test_a_row_that_moves(served: Served) -> None:
    served.load("flights", served.flights(("A1", 6, 7, 30.0)), "upsert")
    served.check(3 * HOUR_US, 10 * HOUR_US)
