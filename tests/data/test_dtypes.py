"""Dtypes as texts."""

import polars as pl
import pytest

from loopwright.data.dtypes import dtype_text, parse_dtype


@pytest.mark.parametrize(
    "dtype",
    [
        *(pl.Int8(), pl.UInt64(), pl.Float32(), pl.String(), pl.Boolean(), pl.Date(), pl.Binary(), pl.Null()),
        *(pl.Datetime("us", "UTC"), pl.Datetime("us"), pl.Duration("us"), pl.Decimal(10, 2), pl.List(pl.Int64())),
    ],
)
def test_a_dtype_reads_back_from_its_text(dtype: pl.DataType) -> None:
    assert parse_dtype(dtype_text(dtype)) == dtype
