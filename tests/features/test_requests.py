"""Calling on-request functions."""

import polars as pl
import pytest

from loopwright.features import RequestSpec
from loopwright.features.requests import check_answer, request_runner, run_request
from loopwright.kernel.code import CodeRef
from loopwright.kernel.errors import InvalidInput, StepFailed

REQUEST = RequestSpec("asked", ["a"], ["double", "name"], CodeRef("c", "m", "f", "d"))
ROWS = pl.DataFrame({"a": [1, 2], "b": [3, 4]})


def test_it_gets_exactly_its_inputs_and_gives_exactly_its_outputs() -> None:
    seen = []

    def double(rows: pl.DataFrame) -> pl.DataFrame:
        seen.append(rows.columns)
        return rows.select(name=pl.lit("x").repeat_by(1).list.first(), double=pl.col("a") * 2, extra=pl.col("a"))

    run = request_runner(lambda code: lambda rows: double(rows).with_columns(name=pl.Series(["x", None])))
    answer = run(REQUEST, ROWS)
    assert seen == [["a"]]
    assert answer.schema == {"double": pl.Float64, "name": pl.String}
    assert answer.rows() == [(2.0, "x"), (4.0, None)]


@pytest.mark.parametrize(
    ("function", "kind", "message"),
    [
        (lambda rows: rows.select(doubel=pl.col("a")), InvalidInput, "no column double.*did you mean doubel"),
        (lambda rows: rows.head(1), InvalidInput, "another number of rows"),
        (lambda rows: [1, 2], InvalidInput, "answers a frame"),
        (lambda rows: rows["missing"], StepFailed, "asked raised ColumnNotFoundError"),
    ],
)
def test_a_wrong_answer_says_what_is_wrong(function: object, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        run_request(REQUEST, function, ROWS)  # type: ignore[arg-type]


def test_a_missing_input_is_named() -> None:
    with pytest.raises(InvalidInput, match="no column a"):
        run_request(REQUEST, lambda rows: rows, ROWS.drop("a"))


def test_an_answer_from_elsewhere_becomes_features() -> None:
    answer = pl.DataFrame({"name": ["x", "y"], "double": pl.Series([2, 4], dtype=pl.Int8)})
    assert check_answer(REQUEST, answer, 2).schema == {"double": pl.Float64, "name": pl.String}
