"""Checks as users write them."""

import re

import pytest

from loopwright.data import CheckSpec, KnownAt, declarations
from loopwright.kernel.errors import InvalidInput


def test_checks_are_validated_where_they_are_written() -> None:
    assert declarations.between("x", 0, 5, severity="warn") == CheckSpec("between", "x", {"low": 0, "high": 5}, "warn")
    assert declarations.unique("a", "b", most_share=0.1) == CheckSpec("unique", "a", {"columns": ["b"]}, most_share=0.1)
    assert declarations.fresh("at", "2d").args == {"within_us": 172_800_000_000}
    assert declarations.row_count(5).args == {"low": 5}
    assert declarations.is_in("x", ["a"]).args == {"values": ["a"]}
    assert declarations.not_null("x").kind == "not_null"
    with pytest.raises(InvalidInput, match="regular expression"):
        declarations.matches("x", "(")
    with pytest.raises(InvalidInput, match="low is at most high"):
        declarations.between("x", 5, 0)


def test_a_pattern_is_read_and_not_compiled_where_it_is_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Python compiles, 98 large ranges of either case take a second, in which nothing else is changed."""
    compiled, usual = [], re.compile
    monkeypatch.setattr(re, "compile", lambda pattern, flags=0: compiled.append(pattern) or usual(pattern, flags))
    pattern = "(?i)" + "[\1-\uffff]" * 98
    assert declarations.matches("x", pattern).args == {"pattern": pattern}
    assert pattern not in compiled
    for too_much in ("a" * 501, "(" * 51 + ")" * 51):
        with pytest.raises(InvalidInput, match="regular expression of at most"):
            declarations.matches("x", too_much)
    with pytest.raises(InvalidInput, match="at most 100 letters"):
        declarations.dated("x", "%Y" * 51)
    with pytest.raises(InvalidInput, match="refers_to"):
        declarations.is_in("x", list(range(10_001)))


def test_a_delay_after_a_moment() -> None:
    assert declarations.after("observed_at", "1h") == KnownAt("observed_at", 3_600_000_000)
