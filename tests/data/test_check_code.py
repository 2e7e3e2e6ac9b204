"""Checks as code: each call, run as a project file runs it, declares the same check; no value becomes code."""

import ast
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import loopwright as lw
from loopwright.data import CheckSpec
from loopwright.data.check_code import check_code, literal
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.plugins import plugin_names

check = lw.check
CHECKS = [
    check.not_null("x"),
    check.not_null("x", most_share=0.01, severity="warn", where="country = 'de'"),
    check.between("x", 0, 5.5),
    check.between("x", float("-inf"), 5),
    check.between("at", "2024-01-31T00:00:00Z"),
    check.is_in("x", ["it's", 'a "b"', "a\nb", "\u2028"]),
    check.is_in("x", [1, 2.5, -3]),
    check.is_in("x", [True]),
    check.unique("x"),
    check.unique("x", "y", "z", most_share=0.5),
    check.matches("x", r"[a-z]+\d"),
    check.length("x", 2),
    check.length("x", 0, 5),
    check.dated("x", "%d.%m.%Y"),
    check.increasing("x"),
    check.increasing("x", of_each=["a", "b"], strictly=True),
    check.holds("landed_at >= scheduled_at"),
    check.refers_to("x", "airports"),
    check.refers_to("x", "airports", "code"),
    check.statistic("x", "quantile", 1, None, q=0.9),
    check.statistic("x", "missing", high=0.1, severity="warn"),
    check.usual("x"),
    check.usual("x", "quantile", q=0.5, least=9, false_alarms=0.01),
    check.usual_rows(),
    check.usual_rows(least=10, severity="warn", where="x > 0"),
    check.row_count(5),
    check.row_count(0, 10),
    check.fresh("at", "2d"),
    check.fresh(None, "90m"),
    check.fresh("at", 1),
]
"""Every kind of check that there is, with what may be said of it."""


def run(code: str) -> Any:
    """What a line of a project file makes."""
    return eval(code, {"lw": lw, "__builtins__": {"float": float}})


@pytest.mark.parametrize("declared", CHECKS, ids=check_code)
def test_the_call_declares_the_same_check(declared: CheckSpec) -> None:
    assert run(check_code(declared)) == declared


def test_every_kind_is_among_them() -> None:
    assert {declared.kind for declared in CHECKS} == {*plugin_names("checks")}


def test_what_is_usual_is_left_out() -> None:
    assert check_code(check.usual("x")) == "lw.check.usual('x', of='mean')"
    assert check_code(check.increasing("x")) == "lw.check.increasing('x')"


def test_a_check_of_another_package_has_no_word() -> None:
    with pytest.raises(InvalidInput, match="no word for this check"):
        check_code(CheckSpec("luhn", "card"))
    with pytest.raises(InvalidInput, match="no word for this check"):
        check_code(CheckSpec("not_null('x'), evil", "card"))


@pytest.mark.parametrize(
    "make",
    [
        lambda text: check.not_null(text),
        lambda text: check.is_in("x", [text]),
        lambda text: check.unique("x", text),
        lambda text: check.increasing("x", of_each=[text]),
        lambda text: check.refers_to(text, text, text),
        lambda text: CheckSpec("holds", None, {"rule": text}, where=text),
    ],
)
@given(text=st.text(min_size=1))
def test_a_text_stays_a_text(make: Callable[[str], CheckSpec], text: str) -> None:
    code = check_code(make(text))
    assert len(code.splitlines()) == 1
    call = ast.parse(code, mode="eval").body
    assert isinstance(call, ast.Call)
    assert all(ast.literal_eval(word) is not None for word in [*call.args, *(word.value for word in call.keywords)])


def test_what_is_no_argument_is_not_written() -> None:
    with pytest.raises(InvalidInput, match="no such argument"):
        check_code(CheckSpec("between", "x", {"low": 1, "high=5), evil(": 3}))


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists))
def test_a_literal_is_read_as_what_it_was(value: Any) -> None:
    assert repr(run(literal(value))) == repr(value)
