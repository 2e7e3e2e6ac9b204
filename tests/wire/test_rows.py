"""Rows of frames and dicts become what JSON can carry."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from loopwright.kernel.errors import InvalidInput
from loopwright.wire.rows import to_rows

NOON = datetime(2026, 10, 25, 12, tzinfo=UTC)
NOON_US = int(NOON.timestamp()) * 1_000_000


def test_rows_of_json_hold_moments_and_no_nan() -> None:
    columns = {"at": [NOON], "x": [np.nan], "n": np.array([3], np.int64)}
    for frame in (pd.DataFrame(columns), pl.DataFrame(columns)):
        assert to_rows(frame) == [{"at": NOON_US, "x": None, "n": 3}]
    assert to_rows([{"x": np.float32(0.5)}]) == [{"x": 0.5}]


def test_what_libraries_have_in_place_of_values_is_null() -> None:
    frame = pd.DataFrame(
        {"at": [NOON, pd.NaT], "n": pd.array([3, None], "Int64"), "b": pd.array([True, None], "boolean")}
    )
    assert to_rows(frame) == [{"at": NOON_US, "n": 3, "b": True}, {"at": None, "n": None, "b": None}]
    assert to_rows([{"x": np.float32("nan")}, {"x": np.datetime64("NaT", "us")}]) == [{"x": None}, {"x": None}]


def test_decimals_are_numbers() -> None:
    for rows in ([{"x": Decimal("1.50")}], pl.DataFrame({"x": [Decimal("1.50")]})):
        assert to_rows(rows) == [{"x": 1.5}]
        assert type(to_rows(rows)[0]["x"]) is float


@pytest.mark.parametrize("x", [float("inf"), -float("inf"), np.float32("inf"), Decimal("Infinity")])
def test_an_infinite_number_is_refused_by_its_place(x: Any) -> None:
    for rows in ([{"x": 1.0}, {"x": x}], pd.DataFrame({"x": [1.0, float(x)]}), pl.DataFrame({"x": [1.0, float(x)]})):
        with pytest.raises(InvalidInput, match="infinite") as refused:
            to_rows(rows)
        assert refused.value.field == "rows[1].x"
