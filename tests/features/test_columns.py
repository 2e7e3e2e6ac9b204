"""Columns at the door: typed rows, moments, entities, features."""

from typing import Any

import polars as pl
import pytest

from loopwright.features.columns import as_feature, entities, moments, typed_frame
from loopwright.features.pointintime import NEVER
from loopwright.kernel.errors import InvalidInput

DTYPES = {"at": "Datetime(us, UTC)", "distance": "Int64", "origin": "String", "share": "Float64"}


def test_json_rows_get_the_datasets_dtypes() -> None:
    rows = [
        {"at": "2013-03-01T00:00:00Z", "distance": 3, "origin": "JFK", "share": 1},
        {"at": "2013-03-01T01:00:00+01:00", "origin": None, "extra": True},
    ]
    frame = typed_frame(rows, DTYPES)
    assert frame.schema["at"] == pl.Datetime("us", "UTC")
    assert frame["at"].n_unique() == 1
    assert frame.select("distance", "origin", "share", "extra").rows() == [
        (3, "JFK", 1.0, None),
        (None, None, None, True),
    ]


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"at": "2013-03-01T00:00:00"}, "rows[1].at"),
        ({"at": "yesterday"}, "rows[1].at"),
        ({"at": True}, "rows[1].at"),
        ({"distance": "far"}, "rows[1].distance"),
        ({"distance": 2.5}, "rows[1].distance"),
        ({"distance": 2.0**53}, "rows[1].distance"),
        ({"origin": 5}, "rows[1].origin"),
        ({"share": [1]}, "rows[1].share"),
    ],
)
def test_what_does_not_fit_is_named_by_row_and_column(row: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        typed_frame([{}, row], DTYPES)
    assert refused.value.field == field


def test_a_source_with_a_zone_may_leave_it_out() -> None:
    frame = typed_frame([{"at": "2013-03-01T00:00:00"}], DTYPES, zone="America/New_York")
    assert frame["at"].dt.hour().to_list() == [5]


@pytest.mark.parametrize("at", ["garbage", "", "11/03/2024", "2013-03-10T02:30:00", 2**63, 1.5])
def test_a_zone_does_not_make_a_moment_of_anything(at: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        typed_frame([{"at": "2013-03-01T00:00:00"}, {"at": at}], DTYPES, zone="America/New_York")
    assert refused.value.field == "rows[1].at"


def test_moments_are_microseconds_utc_and_name_a_zone() -> None:
    at = pl.Series([1_000, None]).cast(pl.Datetime("ms", "UTC"))
    assert moments(at, "at").tolist() == [1_000_000, NEVER]
    assert moments(pl.Series([5, None]), "at").tolist() == [5, NEVER]
    for wrong in (pl.Series([0]).cast(pl.Datetime("us")), pl.Series(["2013"])):
        with pytest.raises(InvalidInput):
            moments(wrong, "at")


def test_features_are_numbers_or_text() -> None:
    assert as_feature(pl.Series([True, None]), "x").to_list() == [1.0, None]
    assert as_feature(pl.Series([1.5, float("nan")]), "x").to_list() == [1.5, None]
    assert as_feature(pl.Series(["a"]).cast(pl.Categorical), "x").dtype == pl.String
    with pytest.raises(InvalidInput):
        as_feature(pl.Series([0]).cast(pl.Datetime("us", "UTC")), "x")


def test_entities_are_text_or_whole_numbers() -> None:
    assert entities(pl.Series([7, None]), "x").to_list() == ["7", None]
    with pytest.raises(InvalidInput):
        entities(pl.Series([7.5]), "x")
