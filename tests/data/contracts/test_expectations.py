"""Suites of Great Expectations as that library wrote them: each expectation is a check, or is told with its reason."""

import json
from typing import Any

import pytest

from loopwright.data.contracts.expectations import read_expectation
from loopwright.kernel.errors import InvalidInput
from tests.data.contracts.conftest import FILES, codes, left_out, read_one

NEW, OLD = ((FILES / f"expectations_{version}.json").read_bytes() for version in ("1", "0_18"))


def test_the_suite_of_a_shop() -> None:
    found = read_one(NEW)
    assert found.name == "orders_suite"
    assert codes(found) == [
        "not_null('order_id')",
        "not_null('note', most_share=0.05)",
        "holds('\"gone\" IS NULL')",
        "unique('order_id')",
        "unique('order_id', 'ordered_at')",
        "is_in('country', values=['de', 'fr', 'no'], most_share=0.01)",
        """holds('"country" NOT IN (\\'xx\\', \\'it\\'\\'s\\')')""",
        "between('amount', low=0.0, high=100000.0)",
        "holds('\"amount\" > 0.0', severity='warn')",
        "matches('order_id', pattern='[a-z]\\\\d+')",
        "matches('code', pattern='(?:(?s:.*)(?:^a)(?s:.*))|(?:(?s:.*)(?:b$)(?s:.*))')",
        "length('code', low=2, high=12)",
        "length('country', low=2, high=2)",
        "dated('day', format='%d.%m.%Y')",
        "row_count(low=100, high=100000)",
        "row_count(low=500, high=500)",
        "statistic('amount', of='mean', low=10.0, high=90.5)",
        "statistic('amount', of='median', low=10.0, high=90.0)",
        "statistic('amount', of='std', high=50.0)",
        "statistic('amount', of='sum', low=1.0)",
        "statistic('amount', of='min', low=0.0, high=5.0)",
        "statistic('amount', of='max', high=999.9999999999999)",
        "statistic('country', of='distinct', low=1, high=30)",
        "statistic('note', of='missing', high=0.1)",
        "statistic('amount', of='quantile', low=0, high=10, q=0.05)",
        "statistic('amount', of='quantile', high=60, q=0.5)",
        "statistic('amount', of='quantile', low=50, q=0.95)",
        "is_in('country', values=['de', 'fr'])",
        "increasing('number', strictly=True)",
        """holds('"landed_at" >= "started_at"')""",
        """holds('"total" = "amount"')""",
        """holds('"net" + "tax" = 100.0')""",
        """holds('"a" <> "b"')""",
    ]


def test_what_is_no_check_is_told() -> None:
    told = left_out(read_one(NEW))
    assert [what.partition(", ")[2] or what for what in told] == [
        "the name 'orders suite'",
        "expect_column_to_exist of 'order_id'",
        "expect_column_values_to_be_between of 'ordered_at'",
        "expect_column_values_to_not_match_regex of 'order_id'",
        "expect_column_values_to_be_of_type of 'amount'",
        "expect_column_values_to_be_in_type_list of 'amount'",
        "expect_table_column_count_to_equal",
        "expect_table_columns_to_match_ordered_list",
        "expect_table_columns_to_match_set",
        "expect_column_proportion_of_unique_values_to_be_between of 'order_id'",
        "expect_column_distinct_values_to_equal_set of 'country'",
        "expect_column_distinct_values_to_contain_set of 'country'",
        "expect_column_pair_values_to_be_in_set",
        "expect_column_most_common_value_to_be_in_set of 'country'",
        "expect_column_value_z_scores_to_be_less_than of 'amount'",
        "unexpected_rows_expectation",
        "the key",
        "meta of the suite",
    ]
    assert "say it as where=" in told["expectations[10], expect_column_values_to_be_between of 'ordered_at'"]
    assert (
        "that each of them comes" in told["expectations[35], expect_column_distinct_values_to_equal_set of 'country'"]
    )


def test_every_expectation_is_a_check_or_told() -> None:
    for body in (NEW, OLD):
        found = read_one(body)
        kinds = [one.get("type", one.get("expectation_type")) for one in json.loads(body)["expectations"]]
        told = [what for what in left_out(found) if what.startswith("expectations[")]
        quantiles, repeated = 3, 1
        assert len(found.checks) + len(told) == len(kinds) + quantiles - 1 + repeated - 1


def test_the_older_form_says_the_same() -> None:
    new, old = read_one(NEW), read_one(OLD)
    only_new = {repr(one.check) for one in new.checks} - {repr(one.check) for one in old.checks}
    assert old.name == "shop.orders.warning"
    assert len(only_new) == 2  # a severity, and an expectation that was not there yet
    assert "meta of expectations" in left_out(old)


@pytest.mark.parametrize(
    ("kind", "kwargs", "told"),
    [
        ("expect_column_values_to_be_between", {"column": "x"}, "do not fit"),
        ("expect_column_values_to_be_between", {"column": "x", "min_value": {"$PARAMETER": "low"}}, "Expected"),
        ("expect_column_values_to_be_between", {"column": "x", "min_value": "2024", "strict_min": True}, "nearest one"),
        ("expect_column_values_to_be_between", {"min_value": 0}, "missing required field `column`"),
        ("expect_column_values_to_be_between", {"column": "x", "min_value": 0, "parse": True}, "unknown field"),
        ("expect_column_values_to_be_between", {"column": ["x"], "min_value": 0}, "Expected `str`"),
        ("expect_column_values_to_not_be_null", {"column": "x", "mostly": "most"}, "Expected `float`"),
        ("expect_column_values_to_not_be_null", {"column": "x", "mostly": 7}, "this share cannot be"),
        ("expect_column_values_to_be_in_set", {"column": "x", "value_set": []}, "do not fit"),
        ("expect_column_values_to_be_in_set", {"column": "x", "value_set": [1, "a"]}, "do not fit"),
        ("expect_column_values_to_not_be_in_set", {"column": "x", "value_set": [None]}, "no values are told"),
        ("expect_column_values_to_not_be_in_set", {"column": 'a"b', "value_set": [1]}, "a quote in its name"),
        ("expect_column_values_to_not_be_in_set", {"column": "x", "value_set": ["a" * 600]}, "do not fit"),
        ("expect_column_values_to_match_regex", {"column": "x", "regex": "("}, "do not fit"),
        ("expect_column_value_lengths_to_equal", {"column": "x", "value": 2.5}, "whole number"),
        ("expect_column_mean_to_be_between", {"column": "x", "min_value": "a"}, "bounded by numbers"),
        ("expect_column_mean_to_be_between", {"column": "x", "min_value": 1, "mostly": 0.5}, "tolerates no share"),
        ("expect_column_max_to_be_between", {"column": "x", "max_value": 10**400, "strict_max": True}, "too large"),
        ("expect_compound_columns_to_be_unique", {"column_list": []}, "names no column"),
        ("expect_compound_columns_to_be_unique", {"column_list": ["a"], "ignore_row_if": "never"}, "is not never"),
        ("expect_column_quantile_values_to_be_between",
         {"column": "x", "quantile_ranges": {"quantiles": [0.5], "value_ranges": []}}, "one range"),
        ("expect_multicolumn_sum_to_equal", {"column_list": [], "sum_total": 1}, "do not fit"),
        ("expect_select_column_values_to_be_unique_within_record", {"column_list": ["a"]}, "do not fit"),
        ("expect_the_unexpected", {"column": "x"}, "no check says this"),
        ("expect_column_values_to_not_be_null", ["x"], "arguments by name"),
        (5, {}, "an expectation has a type"),
    ],
)  # fmt: skip
def test_why_an_expectation_is_no_check(kind: Any, kwargs: Any, told: str) -> None:
    with pytest.raises((InvalidInput, OverflowError), match=told):
        list(read_expectation({"type": kind, "kwargs": kwargs}, None))


def test_arguments_of_running_are_no_matter() -> None:
    kwargs = {"column": "x", "result_format": "BASIC", "batch_id": "a", "catch_exceptions": True, "mostly": None}
    [taken] = read_expectation({"expectation_type": "expect_column_values_to_not_be_null", "kwargs": kwargs}, None)
    assert taken.check.column == "x"


@pytest.mark.parametrize("expectations", [None, {}, "x", 5])
def test_a_suite_lists_its_expectations(expectations: Any) -> None:
    with pytest.raises(InvalidInput, match="lists its expectations"):
        read_one(json.dumps({"name": "s", "expectations": expectations}))


@pytest.mark.parametrize("expectation", [None, 5, "x", [], {}, {"type": None}, {"type": "a", "kwargs": 5}, {"own": 1}])
def test_what_is_no_expectation_is_told(expectation: Any) -> None:
    found = read_one(json.dumps({"name": "s", "expectations": [expectation]}))
    assert any(what.startswith("expectations[0]") for what in left_out(found))


def test_ways_to_match_several_patterns() -> None:
    kwargs = {"column": "x", "regex_list": ["^a$", "^b$"], "match_on": "all"}
    found = read_one(
        json.dumps({"expectations": [{"type": "expect_column_values_to_match_regex_list", "kwargs": kwargs}]})
    )
    assert codes(found) == ["matches('x', pattern='a')", "matches('x', pattern='b')"]
