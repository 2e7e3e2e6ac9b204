"""Parquet as Polars, pandas, Spark and Hive write it."""

import io
from datetime import date
from typing import Any

import polars as pl
import pytest

from loopwright.kernel.errors import InvalidInput
from tests.data.sources.conftest import Read


def parquet(**columns: Any) -> bytes:
    body = io.BytesIO()
    pl.DataFrame(columns).write_parquet(body)
    return body.getvalue()


def test_folders_tell_columns_and_other_tools_files_none(read: Read) -> None:
    rows = read(
        "parquet",
        {
            "region=eu/day=2024-01-01/part-0.parquet": parquet(id=[1], v=[1.5]),
            "region=a%2Fb/day=2024-01-02/part-0.snappy.parquet": parquet(id=[2], v=[2.5]),
            "region=__HIVE_DEFAULT_PARTITION__/day=2024-01-03/part-0.parquet": parquet(id=[3], v=[3.5]),
            "_SUCCESS": "",
            "_metadata": "x",
            "_temporary/0.parquet": parquet(id=[9], v=[9.5]),
            ".part-0.parquet.crc": "x",
            "notes.txt": "x",
        },
    ).sort("id")
    assert rows["region"].to_list() == ["eu", "a/b", None]
    assert rows["day"].to_list() == [date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 3)]
    assert rows["v"].to_list() == [1.5, 2.5, 3.5]


def test_codes_with_noughts_in_folders_stay_texts_and_a_column_of_the_files_counts(read: Read) -> None:
    rows = read("parquet", {f"zip=0{n}/id=7/{n}.parquet": parquet(id=[n]) for n in (1, 2)})
    assert rows.sort("id").to_dicts() == [{"id": 1, "zip": "01"}, {"id": 2, "zip": "02"}]


def test_numbers_widen_and_columns_come_and_go(read: Read) -> None:
    rows = read(
        "parquet",
        {
            "2024-01.parquet": parquet(id=[1, 2], v=[1, 2]),
            "2024-02.parquet": parquet(v=[3.5, None], id=[3, 4], w=["x", "y"]),
        },
    ).sort("id")
    assert rows["v"].to_list() == [1.0, 2.0, 3.5, None]
    assert rows["w"].to_list() == [None, None, "x", "y"]


def test_what_does_not_fit_together_is_refused(read: Read) -> None:
    with pytest.raises(InvalidInput, match="column v is Int64 in one file and String in another"):
        read("parquet", {"1.parquet": parquet(v=[1]), "2.parquet": parquet(v=["x"])})
    with pytest.raises(InvalidInput, match="cannot be read") as refused:
        read("parquet", {"3.parquet": b"PAR1 and then nothing"})
    assert str(refused.value.value).endswith("3.parquet")


def test_the_index_of_pandas_is_left_out(read: Read) -> None:
    assert read("parquet", {"a.parquet": parquet(a=[1], __index_level_0__=[7])}).columns == ["a"]
