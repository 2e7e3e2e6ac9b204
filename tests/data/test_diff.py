"""Diff by key."""

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.data import ColumnChange, ColumnSchema
from loopwright.data.diff import diff_profiles, diff_rows, diff_schemas
from loopwright.data.profiles import profile_frame

CONTENT = st.dictionaries(st.integers(0, 12), st.one_of(st.none(), st.floats()), max_size=12)


def frame(content: dict[int, float | None]) -> pl.DataFrame:
    return pl.DataFrame({"id": list(content), "x": list(content.values())}, schema={"id": pl.Int64, "x": pl.Float64})


@settings(max_examples=100)
@given(CONTENT, CONTENT)
def test_counts_are_those_of_the_dictionaries(before: dict[int, float | None], after: dict[int, float | None]) -> None:
    found = diff_rows(frame(before), frame(after), ["id"])
    assert found.added == len(after.keys() - before.keys())
    assert found.removed == len(before.keys() - after.keys())
    both = before.keys() & after.keys()
    assert found.changed == sum(content(before[key]) != content(after[key]) for key in both)


def content(value: float | None) -> str:
    """The value's text; zero has one sign and NaN one form."""
    return "null" if value is None else repr(value + 0.0)


def test_samples_show_what_changed() -> None:
    before = pl.DataFrame({"id": [1, 2, 3], "x": ["a", "b", "c"], "gone": [None, 5, 6]})
    after = pl.DataFrame({"id": [4, 3, 2], "x": ["d", "c", "B"], "new": [0, None, 7]})
    found = diff_rows(before, after, ["id"], masked=["x"])
    assert found.samples["added"] == [{"id": 4, "x": "•••", "new": 0}]
    assert found.samples["removed"] == [{"id": 1, "x": "•••", "gone": None}]
    changes = {row["id"]: row["changes"] for row in found.samples["changed"]}
    assert changes[2] == {"new": {"before": None, "after": 7}, "gone": {"before": 5, "after": None}}
    assert changes[3] == {"gone": {"before": 6, "after": None}}


def test_schemas_and_statistics() -> None:
    old, new = [ColumnSchema("a", "Int64"), ColumnSchema("b", "String")], [ColumnSchema("a", "Float64")]
    assert diff_schemas(old, new) == [
        ColumnChange("a", "dtype", "Int64", "Float64"),
        ColumnChange("b", "dtype", "String", None),
    ]
    changes = diff_profiles(profile_frame(pl.DataFrame({"a": [1, 2]})), profile_frame(pl.DataFrame({"a": [1, None]})))
    assert {change.what: (change.before, change.after) for change in changes} == {
        "nulls": (0, 1),
        "distinct": (2, 1),
        "mean": (1.5, 1.0),
        "high": (2.0, 1.0),
    }
