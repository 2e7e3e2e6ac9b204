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
