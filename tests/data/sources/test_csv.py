"""CSV as it comes: types told by all values of all files, dialects, and errors by file, line and column."""

import bz2
import gzip
import io
import zipfile
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from loopwright.data import Dialect
from loopwright.kernel.errors import InvalidInput
from tests.data.sources.conftest import Read

HEAD = "id,x\n"


def zipped(**members: str) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "/") + ".csv", text)
        archive.writestr("__MACOSX/._a.csv", "junk")
    return body.getvalue()


@pytest.mark.parametrize(
    ("files", "values", "dtype"),
    [
        (["1", "2"], [1, 2], pl.Int64),
        (["1", "2.5"], [1.0, 2.5], pl.Float64),
        (["1", "NA", "2.5"], [1.0, None, 2.5], pl.Float64),
        (["1", "null", "-"], [1, None, None], pl.Int64),
        (["1.5", "NaN"], [1.5, None], pl.Float64),
        (["NA", "DE"], ["NA", "DE"], pl.String),
        (["NA", ""], [None, None], pl.Null),
        (["true", "FALSE", "N/A"], [True, False, None], pl.Boolean),
        (["007", "8"], ["007", "8"], pl.String),
        (["+491701234567", "1"], ["+491701234567", "1"], pl.String),
        (["+3", "-2"], [3, -2], pl.Int64),
        (["12345678901234567890", "1"], ["12345678901234567890", "1"], pl.String),
        (["2024-01-05", ""], [date(2024, 1, 5), None], pl.Date),
        (["2024-01-05", "2024-01-05 10:30"], [datetime(2024, 1, 5), datetime(2024, 1, 5, 10, 30)], pl.Datetime("us")),  # noqa: DTZ001
        (
            ["2024-01-05T10:00:00Z", "2024-01-05T10:00:00+02:00"],
            [datetime(2024, 1, 5, 10, tzinfo=UTC), datetime(2024, 1, 5, 8, tzinfo=UTC)],
            pl.Datetime("us", "UTC"),
        ),
        (["2024-01-05T10:00:00Z", "2024-01-05T10:00:00"], ["2024-01-05T10:00:00Z", "2024-01-05T10:00:00"], pl.String),
        (["05/01/2024", "06/01/2024"], ["05/01/2024", "06/01/2024"], pl.String),
        (["1", "x"], ["1", "x"], pl.String),
        ([" 1", "2 "], [1, 2], pl.Int64),
    ],
)
@pytest.mark.parametrize("is_parted", [False, True])
def test_a_type_is_what_all_values_of_all_files_fit(
    read: Read, files: list[str], values: list[Any], dtype: pl.DataType, is_parted: bool
) -> None:
    lines = [f"{number},{text}" for number, text in enumerate(files)]
    parts = [[line] for line in lines] if is_parted else [lines]
    rows = read("csv", {f"{at}.csv": HEAD + "\n".join(part) + "\n" for at, part in enumerate(parts)})
    assert rows.schema["x"] == dtype
    assert rows.sort("id")["x"].to_list() == values


def test_what_the_thousandth_row_does_not_tell_a_later_one_may(read: Read) -> None:
    lines = [f"{number},NA" for number in range(1500)]
    assert read("csv", {"a.csv": HEAD + "\n".join([*lines, "1500,7", "1501,x"])})["x"].to_list()[-2:] == ["7", "x"]


def test_a_file_is_read_as_it_is_declared(read: Read) -> None:
    dialect = Dialect(";", "'", "cp1252", ",", ".", dates="%d.%m.%Y", moments="%d.%m.%Y %H:%M", skip=1, comment="#")
    text = (
        "made by an old program\nid;price;day;at;who\n#1;x\n1;1.234,5;03.04.2024;03.04.2024 10:30;'Müller; K.'\n"
        "2;7;25.12.2024;25.12.2024 00:00;'it''s'\n"
    )
    rows = read("csv", {"a.csv": text.encode("cp1252")}, dialect=dialect)
    assert rows["price"].to_list() == [1234.5, 7.0]
    assert rows["day"].to_list() == [date(2024, 4, 3), date(2024, 12, 25)]
    assert rows["at"][0] == datetime(2024, 4, 3, 10, 30)  # noqa: DTZ001
    assert rows["who"].to_list() == ["Müller; K.", "it's"]


def test_no_header_no_quotes_and_words_of_ones_own(read: Read) -> None:
    dialect = Dialect("|", "", columns=["id", "x", "country"], missing=["?", "NA"])
    rows = read("csv", {"a.csv": '1|5|NA\n2|?|"DE\n'}, dialect=dialect)
    assert rows.to_dicts() == [{"id": 1, "x": 5, "country": None}, {"id": 2, "x": None, "country": '"DE'}]


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv.bz2", "a.csv.zip", "a.tsv", "a.csv"])
def test_packed_files_and_those_of_windows(read: Read, name: str) -> None:
    text = "id,x\r\n1,Müller\r\n"
    bodies = {
        "a.csv.gz": gzip.compress(text.encode()),
        "a.csv.bz2": bz2.compress(text.encode()),
        "a.csv.zip": zipped(x__a=text),
        "a.tsv": text.replace(",", "\t").encode(),
        "a.csv": text.encode("utf-16"),
    }
    assert read("csv", {name: bodies[name]}).to_dicts() == [{"id": 1, "x": "Müller"}]


def test_lines_that_end_as_on_old_machines_and_blank_ones(read: Read) -> None:
    assert read("csv", {"a.csv": "id,x\r1,2\r\r3,4\r"})["x"].to_list() == [2, 4]
    assert read("csv", {"a.csv": "\ufeffid,x\n1,2\n\n3,4\n\n"})["id"].to_list() == [1, 3]


def test_types_that_are_declared(read: Read) -> None:
    rows = read("csv", {"a.csv": "id,x,zip\n1,007,02116\n2,3.0,1\n"}, types={"x": "Int32", "zip": "String"})
    assert rows.schema == {"id": pl.Int64, "x": pl.Int32, "zip": pl.String}
    assert rows["x"].to_list() == [7, 3]
    with pytest.raises(InvalidInput, match=r"source.types.y.*one of id, x"):
        read("csv", {"a.csv": HEAD + "1,2\n"}, types={"y": "Int64"})


def test_an_append_is_read_as_what_was_there_before(read: Read) -> None:
    digits = {"a.csv": HEAD + "1,10001\n"}
    assert read("csv", digits, known={"x": pl.String()})["x"].to_list() == ["10001"]
    assert read("csv", digits, known={"x": pl.Float64()}).schema["x"] == pl.Int64, "which widens without loss"
    days = {"a.csv": HEAD + "1,2024-01-05\n"}
    assert read("csv", days, known={"x": pl.Datetime("us")}).schema["x"] == pl.Datetime("us")


@pytest.mark.parametrize(
    ("text", "options", "told"),
    [
        (
            "1,7\n2,eight\n",
            {"known": {"x": pl.Int64()}},
            "a.csv, line 3, column x: 'eight' is no Int64, as it was before",
        ),
        ("1,7\n2,007\n", {"known": {"x": pl.Int64()}}, "line 3, column x: '007' is no Int64"),
        ("1,7\n2,1.5\n", {"known": {"x": pl.Int64()}}, "line 3, column x: '1.5' is no Int64"),
        (
            '1,"a\nb"\n2,x\n',
            {"types": {"id": "Int8", "x": "Date"}},
            r"line 2, column x: 'a\\nb' is no Date, as its type",
        ),
        ("1,7\n2,99999999999\n", {"types": {"x": "Int32"}}, "line 3, column x: '99999999999' is no Int32"),
        (
            "1,7\n2,x\n",
            {"types": {"x": "Int64"}, "hidden": ("x",)},
            "line 3, column x: a value that is personal is no Int64",
        ),
        ("1,7\n2\n", {}, "line 3: 1 field where the header has 2"),
        ('1,"7\n8"\n2,3,4\n', {}, "line 4: 3 fields where the header has 2"),
        ('1,7\n2,5" pipe\n', {}, 'line 3: a " in a value that is not quoted'),
        ('1,"7\n2,8\n', {}, 'line 2: a " in a value'),
    ],
)
def test_what_does_not_fit_is_named_by_line_and_column(
    read: Read, text: str, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidInput, match=told) as refused:
        read("csv", {"a.csv": HEAD + text}, **options)
    assert refused.value.next_step


def test_short_lines_may_be_filled(read: Read) -> None:
    rows = read("csv", {"a.csv": "id,x,y\n1,7\n2\n"}, dialect=Dialect(short_lines="fill"))
    assert rows.to_dicts() == [{"id": 1, "x": 7, "y": None}, {"id": 2, "x": None, "y": None}]


def test_files_agree_in_their_columns_and_later_ones_may_have_more(read: Read) -> None:
    rows = read("csv", {"1.csv": "id,x\n1,2\n", "2.csv": "y,x,id\n5,4,3\n"})
    assert rows.sort("id").to_dicts() == [{"id": 1, "x": 2, "y": None}, {"id": 3, "x": 4, "y": 5}]
    with pytest.raises(InvalidInput, match=r"3.csv has a column z, .* has y instead"):
        read("csv", {"3.csv": "id,x,z\n1,2,3\n"})


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"id;x\n1;2\n", "seems to be separated by ';'"),
        (b"id,x,x\n1,2,3\n", "two columns x"),
        (b"PAR1", "is Parquet"),
        (b"id\0x\0", "is no text"),
        (b"PK\x03\x04rest", "cannot be unpacked"),
        (b"\x1f\x8brest", "is damaged"),
        ("id,x\nMüller,1\n".encode("cp1252"), 'a.csv is no UTF-8: line 2.*encoding="cp1252"'),
        (b"", "it is empty"),
    ],
)
def test_what_is_no_csv_says_what_it_is(read: Read, body: bytes, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        read("csv", {"a.csv": body})


def test_what_is_no_text_in_its_encoding(read: Read) -> None:
    with pytest.raises(InvalidInput, match=r"a.csv is no utf-16: about line 1"):
        read("csv", {"a.csv": b"id,x\n1,2\n3"}, dialect=Dialect(encoding="utf-16"))
