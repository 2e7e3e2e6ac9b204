"""Row keys of requests: the text that training writes for the same row, else predictions and labels never meet."""

from typing import Any

import polars as pl
import pytest

from loopwright.data import KnownAt, row_keys
from loopwright.features import DatasetPushSpec, FeaturePlan
from loopwright.gateway.answering.inputs import ColumnReader, RowKey, RowKeys
from loopwright.registry import InputColumn, Signature

NOON = "2013-03-01T12:00:00Z"
MOMENT = pl.Datetime("us", "UTC")


def plan(key: list[str], dtypes: dict[str, str]) -> FeaturePlan:
    dataset = DatasetPushSpec("flights", key, "at", {"*": KnownAt("landed_at")}, None, dtypes)
    return FeaturePlan("late", "at", key, [], [], [dataset])


@pytest.mark.parametrize("dtypes", [{}, {"at": "Datetime(us, UTC)", "flight": "Int64", "is_return": "Boolean"}])
@pytest.mark.parametrize(
    "row",
    [
        {"at": NOON, "flight": 1545, "carrier": "UA|x", "is_return": True},
        {"at": "2013-03-01T13:00:00+01:00", "flight": 7.0, "carrier": "\\", "is_return": False},
    ],
)
def test_a_request_has_the_key_that_training_writes(row: dict[str, Any], dtypes: dict[str, str]) -> None:
    at = pl.Series("at", [row["at"]]).str.to_datetime(time_unit="us", time_zone="UTC").dt.convert_time_zone("UTC")
    frame = pl.DataFrame({**row, "flight": int(row["flight"])}).with_columns(at)
    for key in (["at", "flight", "carrier", "is_return"], ["is_return"], ["at"], ["flight"]):
        assert RowKeys(RowKey.of(plan(key, dtypes))).read([row]) == row_keys.row_ids(frame, key).to_list(), key


def test_a_row_without_its_whole_key_brings_its_own() -> None:
    keys = RowKeys(RowKey.of(plan(["carrier", "flight"], {})))
    rows = [{"carrier": "UA", "flight": None, "row_key": 7}, {"carrier": "UA"}, {"carrier": "UA", "flight": 1}]
    assert keys.read(rows) == ["7", None, "UA|1"]
    assert RowKeys(RowKey()).read([{"row_key": "a"}, {}]) == ["a", None]


def test_a_text_is_answered_and_logged_as_it_came() -> None:
    """Datasets hold such values too, and models are fitted on them."""
    reader = ColumnReader(Signature([InputColumn("carrier", "category", ["A\0A", "UA"])], "binary"))
    encoded = reader.read([{"carrier": "A\0A"}, {"carrier": "B\0"}])
    assert reader.logged(encoded) == [["A\0A", "B\0"]]
    assert (encoded.matrix[0, 0], encoded.missing) == (0.0, {1: {"carrier": "UNKNOWN_CATEGORY"}})
