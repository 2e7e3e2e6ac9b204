"""JSON lines: numbers and truths as JSON has them, moments read as those of CSV."""

from datetime import UTC, date, datetime

import polars as pl
import pytest

from loopwright.kernel.errors import InvalidInput
from tests.data.sources.conftest import Read


def test_moments_are_read_and_other_texts_stay(read: Read) -> None:
    rows = read(
        "jsonl",
        {
            "a.jsonl": '{"id": 1, "at": "2024-01-05T10:00:00Z", "day": "2024-01-05", "zip": "02116", "v": 1}\n',
            "b.ndjson": '{"v": 2.5, "id": 2, "at": "2024-01-05T12:00:00+02:00", "day": null, "zip": "1", "n": true}\n',
        },
    ).sort("id")
    assert rows["at"].to_list() == [datetime(2024, 1, 5, 10, tzinfo=UTC)] * 2
    assert rows["day"].to_list() == [date(2024, 1, 5), None]
    assert rows["zip"].to_list() == ["02116", "1"]
    assert rows["v"].to_list() == [1.0, 2.5]
    assert rows["n"].to_list() == [None, True]


def test_what_was_text_stays_so_and_types_may_be_declared(read: Read) -> None:
    line = {"a.jsonl": '{"day": "2024-01-05", "n": 7}\n'}
    assert read("jsonl", line, known={"day": pl.String()}).schema["day"] == pl.String
    assert read("jsonl", line, types={"n": "Int8", "day": "String"}).schema == {"day": pl.String, "n": pl.Int8}


def test_a_line_that_is_no_json_is_refused(read: Read) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        read("jsonl", {"a.jsonl": '{"id": 1}\n{"id": \n'})


def test_an_append_reads_moments_as_before(read: Read) -> None:
    line = '{"id": 1, "at": "2024-01-05T10:00:00Z"}\n'
    before = dict(read("jsonl", {"a.jsonl": line}).schema)
    assert read("jsonl", {"a.jsonl": line}, known=before).schema["at"] == pl.Datetime("us", "UTC")


@pytest.mark.parametrize(
    ("value", "dtype", "found"),
    [
        ("1.7", "Int64", None),
        ("7", "Boolean", None),
        ("1", "Boolean", True),
        ("7", "String", "7"),
        ('"2024-01-05"', "Date", date(2024, 1, 5)),
        ('"yesterday"', "Date", None),
        ('"007"', "Int64", 7),
    ],
)
def test_a_declared_type_holds_the_value_or_refuses_it(read: Read, value: str, dtype: str, found: object) -> None:
    line = {"a.jsonl": f'{{"x": {value}}}\n'}
    if found is not None:
        assert read("jsonl", line, types={"x": dtype})["x"].to_list() == [found]
        return
    with pytest.raises(InvalidInput, match=f"row 1, column x: .* is no {dtype}, as its type was declared"):
        read("jsonl", line, types={"x": dtype})


def test_a_type_of_no_column_and_numbers_that_would_be_rounded(read: Read) -> None:
    with pytest.raises(InvalidInput, match=r"no column nope; field: source.types.nope"):
        read("jsonl", {"a.jsonl": '{"x": 1}\n'}, types={"nope": "Int64"})
    with pytest.raises(
        InvalidInput, match="column x holds whole numbers that the decimals of another file would round"
    ):
        read("jsonl", {"a.jsonl": '{"x": 9007199254740993}\n', "b.jsonl": '{"x": 1.5}\n'})
