"""Sources as users write them: what cannot be meant is refused where it is written."""

from typing import Any

import pytest

from loopwright.data import Dialect, SourceSpec, source_specs
from loopwright.kernel.errors import InvalidInput


def test_a_source_is_what_was_written() -> None:
    assert source_specs.parquet("rows/") == SourceSpec("parquet", "rows/")
    declared = source_specs.csv("a.csv", "UTC", separator=";", decimal=",", missing=["-"], types={"zip": "String"})
    assert declared == SourceSpec("csv", "a.csv", "UTC", Dialect(";", decimal=",", missing=["-"]), {"zip": "String"})
    assert source_specs.excel("a.xlsx", sheet="June").sheet == "June"
    assert (source_specs.push().kind, source_specs.frame().kind) == ("push", "frame")
    assert [each.is_sent for each in (source_specs.push(), source_specs.jsonl("a"))] == [True, False]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"separator": ""}, "separator"),
        ({"separator": ";;"}, "separator"),
        ({"separator": ","} | {"decimal": "\n"}, "decimal"),
        ({"separator": ";", "decimal": ".", "thousands": "."}, "one mark means two things"),
        ({"separator": '"'}, "one mark means two things"),
        ({"encoding": "klingon"}, "no encoding has this name"),
        ({"encoding": "base64"}, "no encoding has this name"),
        ({"dates": "DD/MM/YYYY"}, "strptime"),
        ({"moments": "%H:%M"}, "strptime"),
        ({"moments": "%d/%m/%Y %R"}, "strptime"),
        ({"moments": "%d/%m/%Y %H:%M %Z"}, "strptime"),
        ({"moments": "%d/%m/%Y %H:%M %p"}, "strptime"),
        ({"moments": "%d/%m/%Y"}, "strptime"),
        ({"dates": "%d/%m/%Y %H:%M"}, "strptime"),
        ({"types": {"x": "Duration(us)"}}, "text is not read as this"),
        ({"types": {"x": "Decimal(50, 2)"}}, "text is not read as this"),
        ({"columns": ["a", "a"]}, "each column once"),
        ({"skip": -1}, "0 to 10000 lines"),
        ({"skip": 10**12}, "0 to 10000 lines"),
        ({"encoding": "undefined"}, "a name of Python's codecs"),
        ({"encoding": "idna"}, "a name of Python's codecs"),
        ({"types": {"zip": "str"}}, r"source.types.zip.*such as Int64, String"),
        ({"zone": "Mars"}, "no time zone has this name"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        source_specs.csv("a.csv", **options)


def test_a_kind_that_nobody_reads_and_a_path_that_is_none() -> None:
    with pytest.raises(InvalidInput, match="needs a path"):
        source_specs.parquet("")
    with pytest.raises(InvalidInput, match=r"source.kind.*one of arrow, csv, excel, jsonl, parquet, push, frame"):
        source_specs.check_source(SourceSpec("avro", "a.avro"))


@pytest.mark.parametrize(
    "query", ["", "DELETE FROM x", "/* select */ drop table x", "--select\nupdate x", "/*" * 4000, "selection x"]
)
def test_a_query_that_asks_for_no_rows_is_refused(query: str) -> None:
    with pytest.raises(InvalidInput, match="asks for no rows"):
        source_specs.sql(query, "warehouse")


def test_a_query_may_begin_with_comments() -> None:
    comments = "-- one\n/* two */" * 500
    assert source_specs.sql(comments + "WITH x AS (SELECT 1) SELECT * FROM x;", "warehouse").query.endswith("x")
    assert source_specs.sql("select(1) AS x", "warehouse").kind == "sql"
