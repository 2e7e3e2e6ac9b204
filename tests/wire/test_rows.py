"""Rows of frames and dicts become what JSON can carry."""

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import polars as pl

from loopwright.wire.rows import to_rows

NOON = datetime(2026, 10, 25, 12, tzinfo=UTC)
NOON_US = int(NOON.timestamp()) * 1_000_000


def test_rows_of_json_hold_moments_and_no_nan() -> None:
    columns = {"at": [NOON], "x": [np.nan], "n": np.array([3], np.int64)}
    for frame in (pd.DataFrame(columns), pl.DataFrame(columns)):
        assert to_rows(frame) == [{"at": NOON_US, "x": None, "n": 3}]
    assert to_rows([{"x": np.float32(0.5)}]) == [{"x": 0.5}]
