"""Frames at the door: typed rows, moments, ids and hashes."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.features.frames import as_feature, entities, hash_texts, moments, row_hashes, row_ids, typed_frame
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


def test_composite_keys_do_not_run_together() -> None:
    frame = pl.DataFrame({"a": ["x|y", "x", "x\\"], "b": ["z", "y|z", "|z"]})
    assert row_ids(frame, ["a", "b"]).n_unique() == 3
    assert row_ids(frame, ["a"]).to_list() == ["x|y", "x", "x\\"]


@given(st.lists(st.text(max_size=200), unique=True, max_size=8))
def test_a_hash_depends_on_its_text_alone(texts: list[str]) -> None:
    together = hash_texts(texts)
    assert together.tolist() == [int(hash_texts([text])[0]) for text in texts]
    assert len(np.unique(together)) == len(texts)
    assert (together >= 0).all()


def test_a_hash_is_the_same_in_every_release() -> None:
    assert hash_texts(["", "UA-1545", "é" * 80]).tolist() == HASHES


def test_a_rows_hash_is_the_same_in_every_release() -> None:
    at = pl.Series("at", [1_363_000_000_123, None, -1]).cast(pl.Datetime("ms", "America/New_York"))
    columns = {
        "origin": ["J|K", None, "\\"],
        "flight": [7, -1, None],
        "share": [1e-7, float("nan"), 1e20],
        "late": [True, None, False],
        "sky": pl.Series(["clear", None, "rain"]).cast(pl.Categorical),
        "day": at.dt.date(),
    }
    frame = pl.DataFrame({"at": at, **columns})
    assert row_hashes(frame, ["origin"]).tolist() == ROW_HASHES[0]
    assert row_hashes(frame, ["origin", "at"], ["flight", "share", "late", "sky", "day"]).tolist() == ROW_HASHES[1]


ROW_HASHES = [
    [3727566328051635771, 8147104208329303767, 6799829543074845603],
    [8547294053744021171, 7825066474788624869, 8303564895326009144],
]
HASHES = [8147104208329303767, 5447220694363288281, 5790989372839655922]
