"""Schemas of pandera as that library wrote them, in the forms of several versions."""

from typing import Any

import pytest

from loopwright.data.contracts import write_yaml
from loopwright.kernel.errors import InvalidInput
from tests.data.contracts.conftest import FILES, codes, left_out, read_one

WRITTEN = {name: (FILES / name).read_bytes() for name in ("pandera_orders.yaml", "pandera_orders.json")}
OLDER = (FILES / "pandera_orders_0_24.yaml").read_bytes()


def schema_of(column: Any, **rest: Any) -> Any:
    return read_one(write_yaml({"schema_type": "dataframe", "columns": {"x": {"nullable": True} | column}} | rest))


@pytest.mark.parametrize("body", [*WRITTEN.values(), OLDER], ids=[*WRITTEN, "0.24"])
def test_the_schema_of_a_shop(body: bytes) -> None:
    found = read_one(body)
    assert found.name == "orders"
    assert codes(found) == [
        "not_null('order_id')",
        "unique('order_id')",
        "matches('order_id', pattern='(?:[a-z]\\\\d+)(?s:.*)')",
        "length('order_id', low=2, high=12)",
        "between('amount', low=0, high=100000)",
        "holds('\"amount\" > -1')",
        "between('amount', low=0)",
        "holds('\"amount\" < 1000000.0')",
        "between('amount', high=99999.5)",
        "not_null('share')",
        """holds('"share" > 0 AND "share" < 1')""",
        "not_null('country')",
        "is_in('country', values=['de', 'fr', 'no'])",
        """holds('"country" NOT IN (\\'xx\\', \\'it\\'\\'s\\')')""",
        """holds('"country" NOT IN (\\'yy\\')')""",
        "not_null('kind')",
        "matches('kind', pattern='a\\\\.(?s:.*)')",
        "matches('kind', pattern='(?s:.*)z')",
        "matches('kind', pattern='(?s:.*)(?:m+)(?s:.*)')",
        "not_null('one')",
        "is_in('one', values=[1], severity='warn')",
        "not_null('at')",
        "between('at', low='2024-01-01')",
        "unique('order_id', 'at')",
    ]
    told = {what: why for what, why in left_out(found).items() if not what.startswith("unique_values_eq")}
    assert list(told) == [
        "required of 'kind'",
        "columns, '^x_.*$'",
        "greater_than_or_equal_to of all columns",
        "index",
        "the key",
        "dtype, coerce of columns",
        "strict, ordered",
    ]


def test_a_check_of_each_value_of_a_set_is_told() -> None:
    assert "unique_values_eq of 'kind'" in left_out(read_one(WRITTEN["pandera_orders.yaml"]))


@pytest.mark.parametrize(
    ("checks", "told"),
    [
        ({"isin": ["a"]}, "is_in('x', values=['a'])"),
        ({"isin": {"value": ["a"], "options": {"raise_warning": True}}}, "is_in('x', values=['a'], severity='warn')"),
        ([{"value": [1, 2], "options": {"check_name": "isin"}}], "is_in('x', values=[1, 2])"),
        ([{"pattern": "a", "options": {"check_name": "str_matches"}}], "matches('x', pattern='(?:a)(?s:.*)')"),
        ([{"min_value": 3, "options": {"check_name": "str_length"}}], "length('x', low=3)"),
        ([{"exact_value": 3, "options": {"check_name": "str_length"}}], "length('x', low=3, high=3)"),
        (
            [{"value": "2024-01-01 00:00:00", "options": {"check_name": "le"}}],
            "between('x', high='2024-01-01T00:00:00Z')",
        ),
    ],
)
def test_checks_in_the_forms_of_older_versions(checks: Any, told: str) -> None:
    assert codes(schema_of({"checks": checks})) == [told]


@pytest.mark.parametrize(
    ("column", "told"),
    [
        ({"own_check": {"a": 1}}, "no check says this"),
        ({"checks": [{"options": {"check_name": "own"}}]}, "no check that pandera brings"),
        ({"checks": [5]}, "a name, arguments and options"),
        ({"checks": 5}, "a name, arguments and options"),
        ({"checks": [{"options": {"check_name": ["isin"]}}]}, "a name, arguments and options"),
        ({"isin": "ab"}, "Expected `array`"),
        ({"isin": {"value": ["a"], "other": 1}}, "it has one argument"),
        ({"isin": {"value": ["a"], "groupby": "y"}}, "it compares groups"),
        ({"isin": {"value": ["a"], "options": {"own": 1}}}, "no option own"),
        ({"greater_than": True}, "truths have no order"),
        ({"greater_than": "2024-01-01"}, "nearest one"),
        ({"greater_than": [1]}, "Expected"),
        ({"in_range": {"min_value": 5, "max_value": 1}}, "do not fit"),
        ({"in_range": {"least": 5}}, "unknown field"),
        ({"str_length": {}}, "do not fit"),
        ({"str_matches": "(?<=a)b("}, "do not fit"),
    ],
)
def test_why_a_check_is_left_out(column: Any, told: str) -> None:
    found = schema_of(column)
    assert codes(found) == []
    assert any(told in why for why in left_out(found).values()), left_out(found)


def test_what_says_otherwise_is_noted() -> None:
    [taken] = schema_of({"equal_to": {"value": 1, "ignore_na": False}}).checks
    assert taken.note == "a missing value passes"
    [taken] = schema_of({"ge": "2024-01-01 05:00"}).checks
    assert taken.note == "the moment names no time zone: taken as UTC"


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"schema_type": "series"}, "none of a table"),
        ({"schema_type": ["dataframe"]}, "none of a table"),
        ({"schema_type": "dataframe"}, "has columns by name"),
        ({"schema_type": "dataframe", "columns": ["a"]}, "has columns by name"),
    ],
)
def test_what_is_no_schema_of_a_table_is_refused(document: Any, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        read_one(write_yaml(document))


@pytest.mark.parametrize("columns", [{5: {}}, {"a": None}, {"a": [1]}, {"": {}}])
def test_what_is_no_column_is_told(columns: Any) -> None:
    found = read_one(write_yaml({"schema_type": "dataframe", "columns": columns, "unique": 7}))
    assert any(what.startswith("columns, ") for what in left_out(found))
    assert "unique" in left_out(found)
