"""Expressions that users write are arithmetic and nothing else."""

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.kernel.errors import InvalidInput, LoopwrightError
from loopwright.kernel.expressions import evaluate_expression, parse_expression

NUMBERS = st.floats(-1e6, 1e6)


@given(NUMBERS, NUMBERS, NUMBERS)
def test_arithmetic_follows_the_usual_rules(a: float, b: float, c: float) -> None:
    assert evaluate_expression("a + b*-c - (a - +b)", {"a": a, "b": b, "c": c}) == a + b * -c - (a - b)


def test_a_division_by_zero_is_nan() -> None:
    assert math.isnan(evaluate_expression("a/b", {"a": 1.0, "b": 0.0}))


@pytest.mark.parametrize(
    "text",
    [
        *(
            "__import__('os')",
            "a.real",
            "a[0]",
            "a()",
            "a**a",
            "a if a else a",
            "lambda: a",
            "a := 1",
            "[a]",
            "'x'",
            "True",
        ),
        *(
            "b",
            "a and a",
            "a < 1",
            "~a",
            "a // a",
            "a % a",
            "1j",
            "f'{a}'",
            "",
            "a +",
            "a\nb",
            "\x00",
            "9" * 400,
            "1e400",
        ),
        *("(" * 400 + "a" + ")" * 90, "a" * 501, "-" * 501),
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_expression(text, {"a"}, "value")
    assert refused.value.field == "value"


@given(st.text("ab0123456789.+-*/() \t", max_size=60))
def test_any_text_is_a_number_or_a_clear_error(text: str) -> None:
    with contextlib.suppress(LoopwrightError):
        assert isinstance(evaluate_expression(text, {"a": 1.0, "b": 2.0}), float)
