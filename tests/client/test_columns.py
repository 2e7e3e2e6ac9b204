"""A column that is named wrongly is told before anything is sent, with the one that was meant."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

import loopwright as lw
from loopwright.client import Project
from loopwright.client.columns import check_columns, find_schema
from loopwright.kernel.errors import InvalidInput


def doubled(raw: pl.LazyFrame) -> pl.LazyFrame:
    return raw.with_columns(twice=pl.col("km") * 2)


def broken(raw: pl.LazyFrame) -> pl.LazyFrame:
    return raw.with_columns(twice=pl.col("kilometres") * 2)


def test_a_schema_is_found_by_a_pattern_too(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"orders-{number}.csv").write_text("id,amount\na,3\n")
    dataset = lw.Project("shop").dataset("orders", lw.source.csv("orders-*.csv"), key="id")
    assert list(find_schema(dataset, tmp_path) or {}) == ["id", "amount"]
    assert find_schema(dataset, tmp_path / "elsewhere") is None


def test_whoever_plans_reads_their_own_files_wherever_they_are(tmp_path: Path) -> None:
    """What no worker reads for others: hidden folders, and those that a path leads up to."""
    hidden = tmp_path / ".demo" / "project"
    (hidden / "data").mkdir(parents=True)
    (hidden / "data" / "orders.csv").write_text("id,amount\na,3\n")
    for location in ("data/", "../project/data/orders.csv", str(hidden / "data" / "*.csv")):
        dataset = lw.Project("shop").dataset("orders", lw.source.csv(location), key="id")
        assert list(find_schema(dataset, hidden) or {}) == ["id", "amount"]


def test_a_header_that_is_one_column_says_what_separates_it(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("id;at;amount\na;2026-11-01T00:00:00Z;3\n")
    dataset = lw.Project("shop").dataset("orders", lw.source.csv("orders.csv"), key="id", time="at")
    with pytest.raises(InvalidInput, match=r"seems to be separated by ';'.*separator=';'"):
        check_columns([dataset], [], [], tmp_path)


def declare(p: Project, **options: Any) -> Any:
    settings: dict[str, Any] = {"key": "trip_id", "time": "started_at", "transform": doubled, **options}
    return p.dataset("trips", lw.source.parquet("data/trips.parquet"), **settings)


def test_a_schema_is_that_after_the_transform(folder: Path) -> None:
    p = lw.Project("trips")
    assert list(find_schema(declare(p), folder) or {})[-1] == "twice"
    assert find_schema(declare(p), folder / "elsewhere") is None
    assert find_schema(p.dataset("sent", lw.source.push(), key="a"), folder) is None
    with pytest.raises(InvalidInput, match=r"dataset trips cannot be read.*kilometres"):
        find_schema(declare(p, transform=broken), folder)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"key": "tripid"}, "no column tripid; field: datasets.trips.key.*did you mean trip_id"),
        ({"time": "startd_at"}, "datasets.trips.time"),
        ({"known_at": {"km": "ended"}}, r"known_at\.km"),
        ({"known_at": {"kms": "ended_at"}}, "no column kms"),
        ({"personal": ["cty"]}, "did you mean city"),
        ({"checks": [lw.check.not_null("citty")]}, "checks.not_null.*did you mean city"),
    ],
)
def test_what_a_dataset_names_must_be_there(options: dict[str, Any], told: str, folder: Path) -> None:
    with pytest.raises(InvalidInput, match=told):
        check_columns([declare(lw.Project("trips"), **options)], [], [], folder)


def test_what_views_and_services_name_must_be_there(folder: Path) -> None:
    p = lw.Project("trips")
    trips = declare(p)
    good = p.aggregates(trips, entity="city", over=["1d"], km=lw.agg.mean("km"))
    service = p.feature_service("near", [good], label=trips["twice"], task="regression")
    check_columns([trips], [good], [service], folder)
    for view in (
        p.aggregates(trips, entity="town", over=["1d"], km=lw.agg.mean("km")),
        p.aggregates(trips, entity="city", over=["1d"], km=lw.agg.mean("kms")),
        p.features(trips, entity="city", columns=["kms"]),
    ):
        with pytest.raises(InvalidInput, match=r"views.trips_by_"):
            check_columns([trips], [view], [], folder)
    wrong = p.feature_service("near", [good], label=trips["twyce"], task="regression")
    with pytest.raises(InvalidInput, match=r"services.near.label.*did you mean twice"):
        check_columns([trips], [good], [wrong], folder)
