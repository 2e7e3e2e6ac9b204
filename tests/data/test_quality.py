"""Checks: what fails, what is not evaluated, and what is said."""

import math
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from loopwright.data import CheckResult, CheckSpec
from loopwright.data.quality import failing_rows, run_checks
from loopwright.governance.arguments import check_content
from loopwright.kernel.clock import parse_moment
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import InvalidInput

FRAME = pl.DataFrame(
    {
        "id": ["a", "b", "c", "d"],
        "x": [1.0, None, math.nan, 200.0],
        "n": [1, 2, 2, None],
        "at": [datetime(2013, 3, 1, hour, tzinfo=UTC) for hour in range(4)],
        "on": [date(2013, 3, day) for day in range(1, 5)],
    }
)


def run(kind: str, column: str | None = None, frame: pl.DataFrame = FRAME, **args: Any) -> CheckResult:
    severity = args.pop("severity", "block")
    spec = CheckSpec(kind, column, args, severity, args.pop("most_share", 0.0))
    return run_checks(frame, [spec], parse_moment("2013-03-01T05:00:00Z"), key=["id"], time="at")[0]


@pytest.mark.parametrize(
    ("kind", "column", "args", "failed", "evaluated"),
    [
        ("not_null", "x", {}, 2, 4),
        ("not_null", "n", {}, 1, 4),
        ("between", "x", {"low": 0, "high": 100}, 2, 3),
        ("between", "x", {"low": 0}, 1, 3),
        ("between", "n", {"high": 1}, 2, 3),
        ("between", "at", {"low": "2013-03-01T01:00:00Z"}, 1, 4),
        ("between", "on", {"high": "2013-03-03"}, 1, 4),
        ("is_in", "n", {"values": [1, 3]}, 2, 3),
        ("is_in", "x", {"values": [1, 0.5]}, 2, 3),
        ("is_in", "id", {"values": ["a", "b", "c", "d"]}, 0, 4),
        ("unique", "n", {}, 2, 3),
        ("unique", "n", {"columns": ["id"]}, 0, 3),
        ("matches", "id", {"pattern": "[abc]"}, 1, 4),
        ("matches", "id", {"pattern": "a|b|c|d"}, 0, 4),
    ],
)
def test_rows_fail_one_by_one(kind: str, column: str, args: dict[str, Any], failed: int, evaluated: int) -> None:
    found = run(kind, column, **args)
    assert (found.failed_rows, found.evaluated_rows, found.passed) == (failed, evaluated, failed == 0)
    assert len(found.samples) == failed


def test_what_failed_is_kept_however_it_reads() -> None:
    frame = pl.DataFrame({"id": ["a\0", "b"], "x": ["\0" * 10, "y" * 300_000]})
    found = run("is_in", "x", frame, values=["z"])
    check_content("imported", to_builtins(found))
    assert found.samples[0] == {"id": "a\\x00", "x": "\\x00" * 10}
    assert "letters left out" in found.samples[1]["x"]


_ABOVE = 2**53 + 1
"""The first whole number that is no float."""
_NUMBERS = pl.DataFrame(
    {
        "whole": [_ABOVE - 1, _ABOVE, 2**63 - 1],
        "large": pl.Series([_ABOVE, 2**63, 2**64 - 1], dtype=pl.UInt64),
        "small": pl.Series([-128, 0, 127], dtype=pl.Int8),
        "float": [float(_ABOVE - 1), 0.5, float("inf")],
    }
)


@pytest.mark.parametrize(
    ("kind", "column", "args", "failed"),
    [
        ("is_in", "whole", {"values": [_ABOVE - 1, 2**63 - 1]}, 1),
        ("is_in", "whole", {"values": [_ABOVE - 1, float(2**63), 0.5]}, 2),
        ("is_in", "whole", {"values": [float(_ABOVE - 1), _ABOVE]}, 1),
        ("is_in", "large", {"values": [-1, 2**64 - 1]}, 2),
        ("is_in", "small", {"values": [300, 127.0, 1e300, float("inf")]}, 2),
        ("is_in", "float", {"values": [_ABOVE]}, 3),
        ("is_in", "float", {"values": [_ABOVE - 1, 0.5]}, 1),
        ("between", "whole", {"high": float(_ABOVE - 1)}, 2),
        ("between", "whole", {"low": _ABOVE - 0.5}, 0),
        ("between", "whole", {"low": float("-inf"), "high": float("inf")}, 0),
        ("between", "whole", {"low": float("inf")}, 3),
        ("between", "large", {"low": -1, "high": float(2**63)}, 1),
        ("between", "small", {"low": -1000.5, "high": 126.9}, 1),
        ("between", "float", {"low": _ABOVE}, 2),
        ("between", "float", {"high": _ABOVE - 2}, 2),
        ("between", "float", {"high": 10**400}, 1),
    ],
)
def test_whole_numbers_are_never_compared_as_floats(kind: str, column: str, args: dict[str, Any], failed: int) -> None:
    """As floats neighbours are the same one, so that a declaration with one point in it would be looser and not said to
    be."""
    assert run(kind, column, _NUMBERS.with_row_index("id"), **args).failed_rows == failed


def test_what_failed_is_said_with_the_first_key() -> None:
    found = run("between", "x", low=0, high=100)
    assert found.message == "x between 0 and 100 failed for 2 of 3 rows (first: id=c)"
    assert found.samples == [{"id": "c", "x": "nan"}, {"id": "d", "x": 200.0}]


def test_personal_columns_are_not_shown() -> None:
    spec = CheckSpec("between", "x", {"low": 0, "high": 100})
    (found,) = run_checks(FRAME, [spec], key=["id"], masked=["x", "id"])
    assert found.samples[1] == {"id": "•••", "x": "•••"}
    assert "id=•••" in found.message


def test_a_share_may_be_tolerated() -> None:
    spec = CheckSpec("not_null", "n", most_share=0.25)
    assert run_checks(FRAME, [spec])[0].passed
    assert run_checks(FRAME, [spec])[0].failed_rows == 1


def test_numbers_about_all_rows() -> None:
    assert run("row_count", low=4, high=4).passed
    assert run("row_count", low=5).message == "at least 5 rows failed: 4 rows"
    assert run("fresh", within_us=2 * 3_600_000_000).passed
    assert not run("fresh", "at", within_us=3_600_000_000).passed
    ahead = FRAME.vstack(
        FRAME.tail(1).with_columns(at=pl.lit(datetime(2113, 3, 1, tzinfo=UTC)).dt.cast_time_unit("us"))
    )
    assert run("fresh", "at", ahead, within_us=2 * 3_600_000_000).message.endswith(
        "2113-03-01T00:00:00Z, in the future"
    )


def test_nothing_to_evaluate_is_said() -> None:
    empty = FRAME.clear()
    assert run("between", "x", empty, low=0).message.endswith("not evaluated, there are no values")
    fresh = run("fresh", "at", empty, within_us=1)
    assert (fresh.passed, fresh.message) == (False, "at no older than 1us: not evaluated, there are no rows")
    assert not run("row_count", None, empty, low=1).passed


@pytest.mark.parametrize(
    ("kind", "column", "args", "says"),
    [
        ("betwen", "x", {}, "did you mean between"),
        ("between", "y", {"low": 0}, "y"),
        ("between", "idd", {"low": 0}, "did you mean id"),
        ("between", "x", {}, "low, high or both"),
        ("between", "x", {"low": 3, "high": 1}, "low is at most high"),
        ("between", "x", {"lo": 3}, "lo"),
        ("between", "id", {"low": 3}, "cannot be applied"),
        ("is_in", "n", {"values": ["a"]}, "cannot be applied"),
        ("is_in", "n", {"values": []}, "1 to 10000 values"),
        ("matches", "id", {"pattern": "("}, "regular expression"),
        ("matches", "id", {"pattern": "(?=a)"}, "cannot be applied"),
        ("fresh", "x", {"within_us": 1}, "cannot be applied"),
        ("not_null", None, {}, ""),
    ],
)
def test_what_does_not_fit_is_refused(kind: str, column: str | None, args: dict[str, Any], says: str) -> None:
    specs = [CheckSpec("row_count"), CheckSpec(kind, column, args)]
    with pytest.raises(InvalidInput) as refused:
        run_checks(FRAME, specs)
    assert says in str(refused.value)


def test_failing_rows_name_what_they_failed() -> None:
    specs = [CheckSpec("not_null", "x"), CheckSpec("unique", "n"), CheckSpec("not_null", "n", severity="warn")]
    rows = failing_rows(FRAME, run_checks(FRAME, specs))
    assert rows.select("id", "failed_checks").rows() == [
        ("b", "x is not null; n unique"),
        ("c", "x is not null; n unique"),
    ]
    counts = run_checks(FRAME, [CheckSpec("row_count", None, {"low": 9})])
    assert failing_rows(FRAME, counts).height == 0
