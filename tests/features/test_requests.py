"""Calling on-request functions."""

from typing import Any

import polars as pl
import pytest

from loopwright.features import RequestSpec
from loopwright.features.requests import check_answer, request_features, request_runner
from loopwright.kernel.code import CodeRef
from loopwright.kernel.errors import StepFailed

REQUEST = RequestSpec("asked", ["a"], ["double", "name"], CodeRef("c", "m", "f", "d"))
ROWS = pl.DataFrame({"a": [1, 2], "b": [3, 4]})


def test_it_gets_exactly_its_inputs_and_gives_exactly_its_outputs() -> None:
    seen = []

    def double(rows: pl.DataFrame) -> pl.DataFrame:
        seen.append(rows.columns)
        return rows.select(name=pl.lit("x").repeat_by(1).list.first(), double=pl.col("a") * 2, extra=pl.col("a"))

    run = request_runner(lambda code: lambda rows: double(rows).with_columns(name=pl.Series(["x", None])))
    answer = request_features(REQUEST, ROWS, run)
    assert seen == [["a"]]
    assert answer.schema == {"double": pl.Float64, "name": pl.String}
    assert answer.rows() == [(2.0, "x"), (4.0, None)]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda rows: rows.select(doubel=pl.col("a")), "no column double.*did you mean doubel"),
        (lambda rows: rows.head(1), "another number of rows"),
        (lambda rows: [1, 2], "answers a frame"),
        (lambda rows: rows.select(double=pl.concat_list("a", "a"), name=pl.lit("x")), "cannot be a feature"),
        (lambda rows: rows["missing"], "asked raised ColumnNotFoundError"),
    ],
)
def test_what_is_wrong_with_a_function_is_not_its_callers_fault(function: Any, message: str) -> None:
    with pytest.raises(StepFailed, match=message):
        request_features(REQUEST, ROWS, request_runner(lambda code: function))


def test_an_answer_from_elsewhere_becomes_features() -> None:
    answer = pl.DataFrame({"name": ["x", "y"], "double": pl.Series([2, 4], dtype=pl.Int8)})
    assert check_answer(REQUEST, answer, 2).schema == {"double": pl.Float64, "name": pl.String}
