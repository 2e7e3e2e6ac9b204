"""Columns at the door: moments, keys, dtypes, and fitting an older schema."""

from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl
import pytest

from loopwright.data import ColumnSchema, DatasetSpec, KnownAt, SourceSpec
from loopwright.data.columns import admit, align, schema_of
from loopwright.kernel.errors import InvalidInput

SPEC = DatasetSpec("d", SourceSpec("push"), ["id"], "at")
NOON = datetime(2013, 3, 1, 12, tzinfo=UTC)


def spec(zone: str | None = None, **changes: object) -> DatasetSpec:
    fields = {"name": "d", "source": SourceSpec("push", "", zone), "key": ["id"], "time": "at", **changes}
    return DatasetSpec(**fields)  # type: ignore[arg-type]


def test_moments_become_microseconds_in_utc() -> None:
    new_york = pl.Series([NOON]).dt.convert_time_zone("America/New_York").dt.cast_time_unit("ns")
    frame = admit(pl.DataFrame({"id": [1], "at": new_york}), SPEC)
    assert schema_of(frame)[1] == ColumnSchema("at", "Datetime(us, UTC)")
    assert frame["at"][0] == NOON


def test_a_naive_moment_needs_a_zone_and_a_date_is_midnight() -> None:
    naive = pl.DataFrame({"id": [1], "at": [datetime(2013, 3, 1, 7)]})  # noqa: DTZ001
    with pytest.raises(InvalidInput, match="names no time zone") as refused:
        admit(naive, spec())
    assert "zone=" in str(refused.value.next_step)
    with pytest.raises(InvalidInput, match="is String") as refused:
        admit(naive.with_columns(pl.col("at").dt.to_string("iso")), spec("America/New_York"))
    assert "str.to_datetime(" in str(refused.value.next_step)
    assert admit(naive, spec("America/New_York"))["at"][0] == NOON
    twice = pl.DataFrame({"id": [1], "at": [datetime(2013, 11, 3, 1, 30)]})  # noqa: DTZ001
    with pytest.raises(InvalidInput, match="has not, or has twice: 2013-11-03T01:30:00") as refused:
        admit(twice, spec("America/New_York"))
    step = str(refused.value.next_step).partition("transform: ")[2]
    chosen = twice.with_columns(eval(step, {"pl": pl}))  # what the error says to write
    assert admit(chosen, spec())["at"][0] == datetime(2013, 11, 3, 5, 30, tzinfo=UTC)
    days = pl.DataFrame({"id": [1], "at": [date(2013, 3, 1)]})
    assert [admit(days, spec(zone))["at"][0].hour for zone in (None, "UTC", "America/New_York")] == [0, 0, 5]


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["2025-01-01T00:00Z", "total"], "column at is String, not a moment: 'total'; field: at; value: total"),
        (["2025-01-01T00:00+01:00", "2025-01-02T00:00"], "at names a time zone in some rows alone: '2025-01-02T00:00'"),
        (["31.12.25"], "not a moment: '31.12.25'"),
    ],
)
def test_the_text_that_is_no_moment_is_shown_unless_it_is_personal(texts: list[str], says: str) -> None:
    rows = pl.DataFrame({"id": range(len(texts)), "at": texts})
    with pytest.raises(InvalidInput) as refused:
        admit(rows, spec())
    assert says in str(refused.value)
    with pytest.raises(InvalidInput) as refused:
        admit(rows, spec(personal=["at"]))
    assert not any(text in str(refused.value) for text in texts)


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"id": [1]}, "declares the column at"),
        ({"id": [1], "at": ["yesterday"]}, "not a moment"),
        ({"id": [None, 1], "at": [NOON, NOON]}, "1 of 2 rows have no id"),
        ({"id": [1, 2], "at": [NOON, None]}, "1 of 2 rows have no at"),
        ({"id": [1.5], "at": [NOON]}, "the key column id is Float64"),
        ({"id": [1], "at": [NOON], "s": [{"a": 1}]}, "column s is Struct"),
    ],
)
def test_what_a_dataset_cannot_hold_is_refused(columns: dict[str, list[object]], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        admit(pl.DataFrame(columns), SPEC)


def test_a_known_at_column_must_be_there() -> None:
    with pytest.raises(InvalidInput, match="landed_at") as refused:
        admit(pl.DataFrame({"id": [1], "at": [NOON]}), spec(known_at={"*": KnownAt("landed_at")}))
    assert refused.value.field == "known_at.*"


def test_categories_become_texts() -> None:
    frame = pl.DataFrame({"id": [1], "at": [NOON], "c": pl.Series(["x"], dtype=pl.Categorical)})
    assert admit(frame, SPEC).schema["c"] == pl.String


OLD = [ColumnSchema("a", "Int64"), ColumnSchema("f", "Float64"), ColumnSchema("e", "Null")]


def test_a_frame_takes_an_older_schema_where_nothing_is_lost() -> None:
    frame = pl.DataFrame({"new": ["x"], "e": ["y"], "f": [3], "a": pl.Series([2.0])})
    aligned, misfits = align(frame, OLD)
    assert misfits == []
    assert aligned.rows() == [(2, 3.0, "y", "x")]
    assert aligned.schema == {"a": pl.Int64, "f": pl.Float64, "e": pl.String, "new": pl.String}
    nothing = pl.DataFrame({"a": [None], "f": [None], "e": [None]})
    assert align(nothing, OLD)[0].schema == {"a": pl.Int64, "f": pl.Float64, "e": pl.Null}


@pytest.mark.parametrize(
    ("numbers", "fits"),
    [
        (["0.1", None, "-2.5"], True),
        (["7"], True),
        (["0.500"], True),
        (["0.125"], False),
        (["1" * 37 + ".5"], False),
    ],
)
def test_exact_numbers_keep_the_decimals_of_before(numbers: list[str | None], fits: bool) -> None:
    """Databases tell how many with each number, so that an import of a few may have fewer than those before."""
    column = pl.Series("x", [None if number is None else Decimal(number) for number in numbers])
    aligned, misfits = align(column.to_frame(), [ColumnSchema("x", "Decimal(38, 2)")])
    assert (aligned["x"].equals(column.cast(pl.Decimal(38, 2))) and not misfits) if fits else misfits


def test_what_does_not_fit_names_column_and_both_dtypes() -> None:
    _, misfits = align(pl.DataFrame({"a": [2.5], "f": ["x"]}), OLD)
    assert misfits == [
        "column a is Float64, was Int64",
        "column f is String, was Float64",
        "column e (Null) is missing",
    ]
    _, misfits = align(pl.DataFrame({"a": [1], "f": [2**53 + 1], "e": [None]}), OLD)
    assert misfits == ["column f is Int64, was Float64"]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ({"id": [1], "at": [NOON], "a\0b": [1]}, r"the column a\\x00b cannot be named so"),
        ({"id": [1], "at": [NOON], "c" * 501: [1]}, "letters left out"),
        ({"id": ["a", "b\0"], "at": [NOON, NOON]}, "a NUL stands in the key id of 1 of 2 rows"),
    ],
)
def test_what_names_a_row_or_a_column_holds_no_nul(rows: dict[str, list[object]], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        admit(pl.DataFrame(rows), SPEC)
    assert admit(pl.DataFrame({"id": [1], "at": [NOON], "a": ["b\0"]}), SPEC)["a"][0] == "b\0"
