"""How large rows become: a small file may say that one value comes a billion times."""

from pathlib import Path

import polars as pl
import pytest

from loopwright.kernel.errors import TooLarge
from loopwright.wire.sizes import check_rows_fit, check_texts_fit


def test_rows_are_counted_before_they_are_read(tmp_path: Path) -> None:
    """A million nulls, moments and numbers that are all the same take a few hundred bytes of a file."""
    rows = pl.DataFrame({"n": [7]}).select(
        pl.col("n").repeat_by(1_000_000).explode(), pl.lit(None, pl.Int16).alias("none"), pl.lit(0).cast(pl.Datetime)
    )
    rows.write_parquet(tmp_path / "x.parquet")
    assert (tmp_path / "x.parquet").stat().st_size < 10_000
    scanned = pl.scan_parquet(tmp_path / "x.parquet")
    check_rows_fit(scanned, most_bytes=18_000_000)
    with pytest.raises(TooLarge, match=r"0\.0 GB in memory"):
        check_rows_fit(scanned, most_bytes=17_999_999)
    check_rows_fit(scanned)


def test_a_column_of_arrays_counts_with_all_that_is_in_them() -> None:
    arrays = pl.LazyFrame({"a": [[0.0] * 50] * 10}, schema={"a": pl.Array(pl.Float64, 50)})
    check_rows_fit(arrays, most_bytes=4000)
    with pytest.raises(TooLarge):
        check_rows_fit(arrays, most_bytes=3999)


def test_a_text_counts_as_often_as_it_comes() -> None:
    """In memory it is there once; in a file of rows, and for a model, each time."""
    frame = pl.DataFrame({"s": ["x" * 1000] * 1000, "b": [b"yy"] * 999 + [None], "n": range(1000)})
    check_texts_fit(frame, most_bytes=1_001_998)
    with pytest.raises(TooLarge):
        check_texts_fit(frame, most_bytes=1_001_997)
    check_texts_fit(pl.DataFrame({"n": [1]}), most_bytes=0)


def test_lists_count_with_all_that_is_in_them(tmp_path: Path) -> None:
    """Lists that repeat are a few kilobytes on the disk."""
    path = tmp_path / "lists.parquet"
    pl.DataFrame({"x": [[1.0] * 10_000] * 100}).write_parquet(path)
    assert path.stat().st_size < 100_000
    rows = pl.scan_parquet(path)
    with pytest.raises(TooLarge):
        check_rows_fit(rows, most_bytes=7_900_000)
    check_rows_fit(rows, most_bytes=8_100_000)
