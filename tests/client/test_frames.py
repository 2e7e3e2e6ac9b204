"""Frames and files: what is wrong in one is told by column and row."""

import io
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import loopwright as lw
from loopwright.client.columns import find_schema
from loopwright.client.frames import (
    read_features,
    read_moments,
    read_numbers,
    read_table,
    read_texts,
    require_columns,
    to_parquet,
)
from loopwright.data import SourceSpec
from loopwright.data.sources import Asked, SourceRoots, find_files, open_files
from loopwright.kernel.errors import InvalidInput

NOON = datetime(2026, 10, 25, 12, tzinfo=UTC)
NOON_US = int(NOON.timestamp()) * 1_000_000


def test_files_and_frames_of_both_libraries_are_read(tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": [1, 2], "at": [NOON, NOON]})
    frame.write_parquet(tmp_path / "a.parquet")
    frame.write_csv(tmp_path / "a.csv")
    assert read_table(tmp_path / "a.parquet")[1] == "a.parquet"
    for table in (tmp_path / "a.parquet", str(tmp_path / "a.csv"), frame.to_pandas(), frame):
        found, _ = read_table(table)
        assert read_moments(found, "at", "UTC").to_list() == [NOON_US, NOON_US]
    (tmp_path / "b.parquet").write_text("no")
    for wrong, told in (
        (tmp_path / "c.parquet", "no such file"),
        (tmp_path / "a.xlsx", "no such file"),
        (tmp_path / "b.parquet", "cannot be read"),
        ([1, 2], "no rows"),
    ):
        with pytest.raises(InvalidInput, match=told):
            read_table(wrong)  # type: ignore[arg-type]


def test_a_file_at_which_the_reader_panics_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def panic(*_: Any) -> Any:
        raise pl.exceptions.PanicException("called `Result::unwrap()` on an `Err` value")

    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    monkeypatch.setattr(pl, "read_parquet_schema", panic)
    with pytest.raises(InvalidInput, match=r"damaged.*cut.parquet"):
        read_table(tmp_path / "cut.parquet")


@pytest.mark.parametrize(
    ("values", "zone"),
    [
        ([NOON], "UTC"),
        ([NOON.replace(tzinfo=None)], "UTC"),
        ([datetime(2026, 10, 25, 13)], "Europe/Oslo"),  # noqa: DTZ001 - stored without a zone is the point
        (["2026-10-25T12:00:00Z"], "Europe/Oslo"),
        (["2026-10-25 13:00"], "Europe/Oslo"),
        ([NOON_US], "UTC"),
    ],
)
def test_moments_of_every_kind_are_the_same(values: list[Any], zone: str) -> None:
    assert read_moments(pl.DataFrame({"at": values}), "at", zone).to_list() == [NOON_US]


def test_moments_that_are_none_are_told() -> None:
    assert read_moments(pl.DataFrame({"at": [date(1970, 1, 2)]}), "at", "UTC").to_list() == [86_400_000_000]
    skipped = datetime(2026, 3, 29, 2, 30)  # noqa: DTZ001 - Oslo's clocks went from 2 to 3
    for values, told in (
        ([NOON, None], r"missing; field: rows\[1\].at"),
        (["noon"], r"not a moment; field: rows\[0\].at; value: noon"),
        ([0.5], "holds no moments"),
        ([skipped], "skipped this hour"),
    ):
        with pytest.raises(InvalidInput, match=told):
            read_moments(pl.DataFrame({"at": values}), "at", "Europe/Oslo")


def test_numbers_ids_and_features() -> None:
    frame = pl.DataFrame({"n": [1.5, float("nan")], "t": ["1", "x"], "b": [True, None], "l": [[1], [2]]})
    assert read_numbers(frame, "n").to_list() == [1.5, None]
    assert read_numbers(frame, "b").to_list() == [1.0, None]
    with pytest.raises(InvalidInput, match=r"not a number; field: rows\[1\].t; value: x"):
        read_numbers(frame, "t")
    with pytest.raises(InvalidInput, match=r"not finite; field: rows\[0\].n"):
        read_numbers(pl.DataFrame({"n": [np.inf]}), "n")
    assert read_texts(pl.DataFrame({"id": [7]}), "id").to_list() == ["7"]
    with pytest.raises(InvalidInput, match=r"an id is missing; field: rows\[1\].id"):
        read_texts(pl.DataFrame({"id": ["a", None]}), "id")
    with pytest.raises(InvalidInput, match="cannot name rows"):
        read_texts(frame, "n")
    assert read_features(frame, ["n", "t"]).schema == {"n": pl.Float64, "t": pl.String}
    with pytest.raises(InvalidInput, match=r"no feature; field: l"):
        read_features(frame, ["l"])
    with pytest.raises(InvalidInput, match=r"rows\[1\].t"):
        read_features(frame, ["t"], {"t"})
    with pytest.raises(InvalidInput, match=r"october has no column pd.*did you mean p_d"):
        require_columns(pl.DataFrame({"p_d": []}), ["pd"], "october")


def test_a_frame_of_pandas_becomes_parquet() -> None:
    frame = pd.DataFrame({"at": [NOON], "x": [np.nan], "n": np.array([3], np.int64)})
    assert pl.read_parquet(to_parquet(frame)).columns == ["at", "x", "n"]


def opened(spec: SourceSpec, folder: Path) -> pl.DataFrame:
    """Return the rows of a source as a worker reads them."""
    with TemporaryDirectory() as scratch, find_files(spec, SourceRoots([folder])) as found:
        return open_files(found, Asked(spec, Path(scratch))).collect()


def test_a_csv_file_reads_alike_as_a_source_a_table_an_upload_and_in_a_plan(tmp_path: Path) -> None:
    values = [f"{number},2013-03-01T00:00:00Z,," for number in range(150)]
    late = "150.5,2013-03-02T00:00:00Z,2013-03-02,"  # what the first hundred rows do not tell
    (tmp_path / "rows.csv").write_text("\n".join(["x,at,day,empty", *values, late]) + "\n")
    typed = {"x": pl.Float64, "at": pl.Datetime("us", "UTC"), "day": pl.Date}
    spec = lw.source.csv(str(tmp_path / "rows.csv"))
    source = opened(spec, tmp_path)
    assert source.schema == {**typed, "empty": pl.Null}
    assert pl.read_parquet(io.BytesIO(to_parquet(tmp_path / "rows.csv"))).equals(source)
    assert read_table(tmp_path / "rows.csv")[0].schema == {**typed, "empty": pl.Null}
    planned = find_schema(lw.Project("trips").dataset("trips", spec, key="x"), tmp_path)
    assert planned == {**typed, "empty": pl.Null}
    with pytest.raises(InvalidInput, match="no such file"):
        to_parquet(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (["02116", "10001"], pl.String),
        (["007", "1.5"], pl.String),
        (["9007199254740993", "1.5"], pl.String),
        (["01/05/2024", "02/06/2024"], pl.String),
        (["5.1.2024", "6.1.2024"], pl.String),
        (["05-01-2024 10:00:00", "06-01-2024 10:00:00"], pl.String),
        (["0", "-7"], pl.Int64),
        (["0.5", "-0.25"], pl.Float64),
        (["2024-01-05", "2024/01/06"], pl.Date),
    ],
)
def test_what_would_not_be_what_a_csv_file_says_stays_text(
    values: list[str], dtype: pl.DataType, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("\n".join(["x,y", *(f"{value},1" for value in values)]) + "\n")
    rows, _ = read_table(tmp_path / "a.csv")
    assert rows.schema["x"] == dtype
    if dtype == pl.String:
        assert rows["x"].to_list() == values


def test_a_column_that_is_text_in_one_file_is_as_it_stands_in_all(tmp_path: Path) -> None:
    for number, value in enumerate(["1.50", "02116", "x"]):
        (tmp_path / f"{number}.csv").write_text(f"x\n{value}\n")
    rows = opened(lw.source.csv(str(tmp_path)), tmp_path)
    assert rows["x"].to_list() == ["1.50", "02116", "x"]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"id;x\na;1,5\n", "separated by ';'"),
        (b"id\tx\na\t1\n", r"separated by '\\t'"),
        (b"PK\x03\x04rest", "a zip archive"),
        (b"id\0x\0", "is no text"),
        ("id,x\nM\u00fcller,1\n".encode("cp1252"), "no UTF-8: line 2"),
        (b"", "is empty"),
        (b"id,x\na,1,2\n", "line 2: 3 fields where there are 2 columns"),
    ],
)
def test_a_file_that_is_no_csv_says_what_it_is(body: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(body)
    for read in (
        lambda: to_parquet(tmp_path / "a.csv"),
        lambda: opened(lw.source.csv(str(tmp_path)), tmp_path),
    ):
        with pytest.raises(InvalidInput, match=says) as refused:
            read()
        assert "truncate" not in str(refused.value)


def test_a_frame_of_pandas_that_is_no_table_says_which_column() -> None:
    with pytest.raises(InvalidInput, match="column v holds int and str") as refused:
        to_parquet(pd.DataFrame({"id": [1, 2, 3], "v": [1, "a", None]}))
    assert refused.value.field == "v"
    with pytest.raises(InvalidInput, match="two columns of one name") as refused:
        to_parquet(pd.DataFrame([[1, 2, 3]], columns=["id", "v", "v"]))
    assert refused.value.field == "v"
