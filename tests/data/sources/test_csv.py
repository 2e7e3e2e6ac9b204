"""CSV as it comes: types told by all values of all files, dialects, and errors by file, line and column."""

import bz2
import gzip
import io
import json
import lzma
import re
import zipfile
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from loopwright.data import Dialect
from loopwright.data.sources import base, plain
from loopwright.kernel.errors import InvalidInput, TooLarge
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
    with pytest.raises(InvalidInput, match=r"no column y; field: source.types.y"):
        read("csv", {"a.csv": HEAD + "1,2\n"}, types={"y": "Int64"})


def test_an_append_is_read_as_what_was_there_before(read: Read) -> None:
    digits = {"a.csv": HEAD + "1,10001\n"}
    assert read("csv", digits, known={"x": pl.String()})["x"].to_list() == ["10001"]
    assert read("csv", digits, known={"x": pl.Float64()}).schema["x"] == pl.Int64, "which widens without loss"
    days = {"a.csv": HEAD + "1,2024-01-05\n"}
    assert read("csv", days, known={"x": pl.Datetime("us")}).schema["x"] == pl.Datetime("us")


def test_moments_with_and_without_a_zone_go_together_where_the_zone_is_known(read: Read) -> None:
    """One office writes its own clock, the next one writes Z: the second file is no error, and no hour is guessed."""
    zoned = {"a.csv": HEAD + "1,2024-07-01T08:00:00Z\n2,2024-01-01T08:00:00+05:00\n"}
    local = {"a.csv": HEAD + "1,2024-07-01 10:00:00\n"}
    as_local = read("csv", zoned, known={"x": pl.Datetime("us")}, zone="Europe/Berlin")["x"]
    assert as_local.to_list() == [datetime(2024, 7, 1, 10), datetime(2024, 1, 1, 4)]  # noqa: DTZ001 - local on purpose
    moments = read("csv", local, known={"x": pl.Datetime("us", "UTC")}, zone="Europe/Berlin")["x"]
    assert moments.to_list() == [datetime(2024, 7, 1, 8, tzinfo=UTC)]
    twice = {"a.csv": HEAD + "1,2024-10-27T00:30:00Z\n"}
    with pytest.raises(InvalidInput, match="is no Datetime"):
        read("csv", twice, known={"x": pl.Datetime("us")}, zone="Europe/Berlin")
    with pytest.raises(InvalidInput, match="is no Datetime"):
        read("csv", zoned, known={"x": pl.Datetime("us")})


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
        ("1,7\n2\n", {}, "line 3: 1 field where there are 2 columns"),
        ('1,"7\n8"\n2,3,4\n', {}, "line 4: 3 fields where there are 2 columns"),
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
    with pytest.raises(InvalidInput, match=r"3.csv names column 3 otherwise than 2.csv"):
        read("csv", {"3.csv": "id,x,z\n1,2,3\n"})


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"id;x\n1;2\n", "seems to be separated by ';'"),
        (b"id,x,x\n1,2,3\n", "names column 2 and column 3 alike"),
        (b"PAR1", "is Parquet"),
        (b"id\0x\0", "is no text"),
        (b"PK\x03\x04rest", "cannot be unpacked"),
        (b"\x1f\x8brest", "that is damaged"),
        ("id,x\nMüller,1\n".encode("cp1252"), 'a.csv is no UTF-8: line 2.*encoding="cp1252"'),
        (b"", "a.csv is empty.*take the file away"),
        (b"sep=;\r\nid;x\r\n1;2\r\n", r"separator=';', skip=1"),
        (b'\xef\xbb\xbf"sep=,"\nid,x\n1,2\n', r"separator=',', skip=1"),
        (b"\n\n", "no line that names columns"),
    ],
)
def test_what_is_no_csv_says_what_it_is(read: Read, body: bytes, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        read("csv", {"a.csv": body})


def test_what_is_no_text_in_its_encoding(read: Read) -> None:
    with pytest.raises(InvalidInput, match=r"a.csv is no utf-16;"):
        read("csv", {"a.csv": b"id,x\n1,2\n3"}, dialect=Dialect(encoding="utf-16"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('id,size 5"\n1,2\n3,4\n', "line 1: a quote"),
        ('id,"x\n1,2\n3,4\n', "line 1: a quote"),
        ('id,x\n1,"say \\"hi\\" to"\n2,c\n', "line 2: a quote"),
        ('id,x\n1,"a" b "c"\n', "line 2: a quote"),
        ('id,x\n1,"a ""b"" c"\n2,"line\nof ""two"""\n3,"x"y\n', "line 5: a quote"),
    ],
)
def test_a_quote_in_the_wrong_place_is_never_left_out(read: Read, text: str, told: str) -> None:
    """Readers take some of these for no quote, others for the begin of a value as long as the file."""
    with pytest.raises(InvalidInput, match=told.replace("quote", '"')):
        read("csv", {"a.csv": text})
    whole = read("csv", {"a.csv": 'id,"a ""b"""\n1,"a ""b"" c"\n2,"line\nof ""two"""\n3,""\n'})
    assert whole['a "b"'].to_list() == ['a "b" c', 'line\nof "two"', ""]


@pytest.mark.parametrize("text", ["1e400", "12e345", "1e-400", "+nan", "10:15:60", "2024-02-28 23:59:60"])
def test_what_no_value_holds_stays_text(read: Read, text: str) -> None:
    assert read("csv", {"a.csv": f"id,x\n1,{text}\n"})["x"].to_list() == [text]


@pytest.mark.parametrize(
    ("text", "dtype", "value"),
    [
        ("18446744073709551615", "UInt64", 18446744073709551615),
        ("0.250", "Decimal(10, 2)", Decimal("0.25")),
        ("1234567890123456789.0", "Int64", None),
        ("9007199254740993e0", "Int64", None),
        ("1e39", "Float32", None),
        ("1.005", "Decimal(10, 2)", None),
        ("300", "UInt8", None),
    ],
)
def test_a_declared_type_holds_the_value_or_refuses_it(read: Read, text: str, dtype: str, value: Any) -> None:
    if value is not None:
        assert read("csv", {"a.csv": f"id,x\n1,{text}\n"}, types={"x": dtype})["x"].to_list() == [value]
        return
    with pytest.raises(InvalidInput, match=f"line 2, column x: '{text}' is no {re.escape(dtype)}"):
        read("csv", {"a.csv": f"id,x\n1,{text}\n"}, types={"x": dtype})


@pytest.mark.parametrize("form", ["%m/%d/%Y %H:%M:%S.%f", "%m/%d/%Y %I:%M %p", "%b %d %Y %T", "%d.%m.%Y %H:%M %z"])
def test_moments_are_read_whole(read: Read, form: str) -> None:
    moment = datetime(2024, 3, 4, 13, 5, 6, 500_000, UTC)
    precise = moment if "%f" in form else moment.replace(microsecond=0, second=6 if "%T" in form else 0)
    rows = read("csv", {"a.csv": f"id,at\n1,{moment.strftime(form)}\n"}, dialect=Dialect(moments=form))
    found = rows["at"].dt.replace_time_zone("UTC") if "%z" not in form else rows["at"]
    assert found.to_list() == [precise]


def test_the_same_text_is_the_same_value_however_it_is_packed_and_encoded(read: Read) -> None:
    text = 'id,x\r\n1,"a\r\nb"\r\n2,"c\rd"\r\n'
    values = [
        read("csv", {"a.csv": text})["x"].to_list(),
        read("csv", {"a.csv": text.encode("utf-16")})["x"].to_list(),
        read("csv", {"a.csv": text.encode("cp1252")}, dialect=Dialect(encoding="cp1252"))["x"].to_list(),
        read("csv", {"a.csv": gzip.compress(text.encode())})["x"].to_list(),
        read("csv", {"a.csv": lzma.compress(text.encode())})["x"].to_list(),
        read("csv", {"a.csv": plain.zstd.compress(text.encode())})["x"].to_list(),
    ]
    assert values == [["a\r\nb", "c\rd"]] * 6
    for body, told in ((b"id,x\n1,2\n3\n", "line 3: 1 field"), (b"id;x\n1;2\n", "separated by ';'")):
        with pytest.raises(InvalidInput, match=told):
            read("csv", {"a.csv": plain.zstd.compress(body)})


def test_damaged_archives_are_told_as_such(read: Read) -> None:
    body = ("id,x\n" + "".join(f"{n},{n * 7919 % 10007}\n" for n in range(20_000))).encode()
    flipped = bytearray(gzip.compress(body))
    flipped[20] ^= 255
    damaged = [
        bytes(flipped),
        lzma.compress(body)[:2000],
        gzip.compress(body)[:2000],
        plain.zstd.compress(body)[:2000],
        zipped(a=body.decode())[:3000],
    ]
    for place, packed in enumerate(damaged):
        for dialect in (Dialect(), Dialect(encoding="cp1252")):
            with pytest.raises(InvalidInput, match="cannot be unpacked"):
                read("csv", {"a.csv": packed}, dialect=dialect)
        assert place < len(damaged)


def test_what_unpacks_to_more_than_fits_is_refused_before_it_is_read(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain, "MOST_BYTES", 1_000_000)
    for body in (
        gzip.compress(b"id,x\n1," + b"y" * 2_000_000),
        zipped(**{f"m{n}": "id,x\n" + "1,2\n" * 50_000 for n in range(8)}),
    ):
        with pytest.raises(TooLarge, match="once it is unpacked"):
            read("csv", {"a.csv": body})


@pytest.mark.parametrize(
    ("text", "options", "line"),
    [
        ("\n\nid,x\n1,2\n2,y\n", {}, 5),
        ("id,x\r\n1,2\r\n\r\n2,y\r\n", {}, 4),
        ("id,x\n1,2\n,\n2,y\n", {}, 4),
        ("made by\n# x; y\nid,x\n1,2\n2,y\n", {"dialect": Dialect(skip=1, comment="#")}, 5),
    ],
)
def test_lines_are_counted_as_an_editor_does(read: Read, text: str, options: dict[str, Any], line: int) -> None:
    with pytest.raises(InvalidInput, match=f"line {line}, column x: 'y'"):
        read("csv", {"a.csv": text}, types={"x": "Int64"}, **options)


def test_words_for_no_value_are_no_blank_lines(read: Read) -> None:
    rows = read("csv", {"a.csv": "id,x\nNA,NA\n1,NA\n"}, dialect=Dialect(missing=["NA"]))
    assert rows.to_dicts() == [{"id": None, "x": None}, {"id": 1, "x": None}]


@pytest.mark.parametrize(
    ("name", "text", "columns"),
    [("a.csv", "x,x_duplicated_0\n1,2\n", ["x", "x_duplicated_0"]), ("a.tsv", "id,x\n1,2\n", ["id", "x"])],
)
def test_names_of_columns_and_files_may_be_unusual(read: Read, name: str, text: str, columns: list[str]) -> None:
    assert read("csv", {name: text}).columns == columns


def test_a_column_without_a_name_is_left_out_if_it_has_no_value(read: Read) -> None:
    assert read("csv", {"a.csv": "id,x,,\n1,2,,\n3,4,,\n"}).columns == ["id", "x"]
    assert read("csv", {"a.csv": "id,,x\n1,5,2\n"}).columns == ["id", "column_2", "x"]
    assert read("csv", {"a.csv": "id,x\n"}).height == 0, "columns without a value make no row"


def test_a_thousand_columns_take_no_longer_than_their_values(read: Read) -> None:
    """Planning one query of all their readings took minutes."""
    names = [f"c{number}" for number in range(1000)]
    rows = read("csv", {"a.csv": "\n".join([",".join(names), *(",".join(["5"] * 1000) for _ in range(20))])})
    assert set(rows.dtypes) == {pl.Int64()}


def test_there_are_so_many_columns_at_most(read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "MOST_COLUMNS", 50)
    wide = {f"c{number}": number for number in range(51)}
    header = ",".join(wide)
    for kind, files in (
        ("csv", {"a.csv": header + "\n"}),
        ("csv", {"a.csv": "c1\n1\n", "b.csv": "c1," + ",".join(f"d{number}" for number in range(50)) + "\n"}),
        ("jsonl", {"a.jsonl": json.dumps(wide) + "\n"}),
    ):
        with pytest.raises(TooLarge, match=r"51 columns.*at most 50"):
            read(kind, files)
        for file in files:
            (tmp_path / "rows" / file).unlink()
    assert read("csv", {"a.csv": header.removesuffix(",c50") + "\n"}).width == 50
