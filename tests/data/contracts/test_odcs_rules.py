"""Quality rules of the standard, one by one: which check they are, or why they are none."""

from typing import Any

import pytest

from loopwright.data.check_code import check_code
from loopwright.data.contracts.odcs_rules import read_rule
from loopwright.kernel.errors import InvalidInput

NULLS: dict[str, Any] = {"metric": "nullValues"}
OWN = {"type": "custom", "engine": "loopwright"}


def code(rule: Any, column: str | None = "x") -> list[str]:
    return [check_code(taken.check).removeprefix("lw.check.") for taken in read_rule(rule, column)]


@pytest.mark.parametrize(
    ("operators", "told"),
    [
        ({"mustBe": 0}, "not_null('x')"),
        ({"mustBeLessThan": 1}, "not_null('x')"),
        ({"mustBeLessOrEqualTo": 0.0}, "not_null('x')"),
        ({"mustBeGreaterOrEqualTo": 0, "mustBeLessOrEqualTo": 0}, "not_null('x')"),
        ({"mustBeLessOrEqualTo": 5, "unit": "percent"}, "not_null('x', most_share=0.05)"),
        ({"mustBeLessThan": 0.1, "unit": "%"}, "not_null('x', most_share=0.001)"),
        ({"mustBe": 0, "severity": "info"}, "not_null('x', severity='warn')"),
        ({"mustBe": 0, "severity": "critical"}, "not_null('x')"),
    ],
)
def test_how_many_may_fail_is_a_share(operators: dict[str, Any], told: str) -> None:
    assert code(NULLS | operators) == [told]
    assert code({"type": "library", "rule": "nullValues"} | operators) == [told]


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        (NULLS | {"mustBeLessThan": 5}, "tolerates a number of rows"),
        (NULLS | {"mustBe": 5, "unit": "percent"}, "asks for rows that are not as they should be"),
        (NULLS | {"mustBeGreaterThan": 0}, "asks for rows that are not"),
        (NULLS | {"mustBeGreaterOrEqualTo": 0}, "asks for rows that are not"),
        (NULLS | {"mustBeLessThan": 0}, "fewer than none"),
        (NULLS | {"mustNotBe": 0}, "must not be"),
        (NULLS | {"mustNotBeBetween": [0, 1]}, "must not be"),
        (NULLS | {"mustBeBetween": [0]}, "a list of two numbers"),
        (NULLS | {"mustBeBetween": "0-1"}, "a list of two numbers"),
        (NULLS | {"mustBe": "0"}, "compare with numbers"),
        (NULLS | {"mustBe": True}, "compare with numbers"),
        (NULLS, "no operator"),
        (NULLS | {"mustBe": 0, "arguments": {"a": 1}}, "no argument a"),
        (NULLS | {"mustBe": 0, "arguments": [1]}, "a mapping of names"),
        (NULLS | {"mustBe": 0, "pattern": "a"}, "has no pattern in such a rule"),
        (NULLS | {"mustBeLessOrEqualTo": 500, "unit": "percent"}, "this share cannot be"),
        ({"metric": "uniqueness", "mustBe": 0}, "the metrics of the standard are"),
        ({"metric": ["nullValues"], "mustBe": 0}, "the metrics of the standard are"),
        ({"mustBe": 0}, "the metrics of the standard are"),
        ({"metric": "invalidValues", "mustBe": 0}, "neither validValues nor a pattern"),
        ({"metric": "invalidValues", "mustBe": 0, "arguments": {"validValues": []}}, "do not fit"),
        ({"metric": "invalidValues", "mustBe": 0, "arguments": {"validValues": [[1]]}}, "Expected"),
        ({"metric": "invalidValues", "mustBe": 0, "arguments": {"pattern": "("}}, "do not fit"),
        ({"metric": "invalidValues", "mustBe": 0, "arguments": {"pattern": 5}}, "a pattern is a text"),
        ({"metric": "duplicateValues", "mustBe": 0, "arguments": {"properties": []}}, "names no property"),
        ({"metric": "rowCount", "mustBe": 5, "unit": "percent"}, "rows are counted"),
        ({"metric": "rowCount", "mustBe": 5.5}, "whole numbers"),
        ({"metric": "rowCount", "mustBe": float("inf")}, "whole numbers"),
        ({"metric": "rowCount", "mustBeBetween": [5, 6]}, "do not fit"),
        ({"type": "other"}, "of type library, text, sql or custom"),
        ({"type": "custom", "implementation": "x"}, "names no engine"),
        (OWN, "an implementation is a mapping"),
        (OWN | {"implementation": {"kind": "not_null", "colum": "x"}}, "a check has no colum"),
        (OWN | {"implementation": {"kind": "none"}}, "no check is named none"),
        (OWN | {"implementation": {"kind": "between", "args": {"lo": 1}}}, "unknown field"),
        (OWN | {"implementation": {"kind": "not_null", "most_share": 2}}, "a share, 0 to 1"),
        (OWN | {"implementation": "kind: &a [*a]"}, "refers to what holds it"),
        ("nullValues", "a rule is a mapping"),
        (None, "a rule is a mapping"),
    ],
)
def test_why_a_rule_is_none_of_our_checks(rule: Any, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        code(rule)


def test_a_rule_of_the_table_names_its_columns() -> None:
    together = {"metric": "duplicateValues", "mustBe": 0, "arguments": {"properties": ["a", "b"]}}
    assert code(together, None) == ["unique('a', 'b')"]
    for rule in (NULLS | {"mustBe": 0}, {"metric": "duplicateValues", "mustBe": 0}):
        with pytest.raises(InvalidInput, match="names no"):
            code(rule, None)


def test_values_that_count_as_missing() -> None:
    def missing(words: list[Any], **operator: Any) -> list[str]:
        return code({"metric": "missingValues", "arguments": {"missingValues": words}} | operator)

    assert missing([None], mustBe=0) == ["not_null('x')"]
    assert missing(["", "it's"], mustBe=0) == ["""holds('"x" NOT IN (\\'\\', \\'it\\'\\'s\\')')"""]
    assert missing([None, -1], mustBe=0) == ["""holds('"x" IS NOT NULL AND "x" NOT IN (-1)')"""]
    assert missing([None], mustBeLessThan=5, unit="percent") == ["statistic('x', of='missing', high=0.05)"]


@pytest.mark.parametrize("severity", ["P2", "unheard of"])
def test_a_severity_that_says_nothing_is_noted(severity: str) -> None:
    [taken] = read_rule(NULLS | {"mustBe": 0, "severity": severity}, "x")
    assert (taken.check.severity, taken.note) == ("block", f"severity {severity.lower()!r} is taken as one that blocks")


def test_checks_of_ours_may_be_written_as_text() -> None:
    assert code(OWN | {"implementation": "kind: between\nargs: {low: 1}\n", "severity": "warning"}) == [
        "between('x', low=1, severity='warn')"
    ]
