"""A dataset as a contract: it keeps to the standard's schema, and read again it declares the same."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema.validators import validator_for

import loopwright as lw
from loopwright.data import CheckSpec, ColumnSchema, Dataset, DatasetSpec, DatasetVersion, KnownAt, SourceSpec
from loopwright.data.contracts import Translation, read_document, to_contract, write_yaml
from tests.data.contracts.conftest import FILES, left_out, read_one
from tests.data.test_check_code import CHECKS

SCHEMA = json.loads((FILES / "odcs-json-schema-v3.1.0.json").read_text())
VALIDATOR = validator_for(SCHEMA)(SCHEMA)
check = lw.check
SPEC = DatasetSpec(
    "weather", SourceSpec("csv", "/secret/place"), ["origin", "observed_at"], "observed_at",
    {"is_late": KnownAt("landed_at", 3_600_000_000)}, personal=["email"], checks=[
        check.not_null("note"), check.between("temp", -60, 60), check.length("note", 1, 80),
        check.between("day", "2024-01-01"), check.fresh(None, "36h"), check.fresh("landed_at", "1500ms",
        severity="warn"),
        check.unique("note"), check.not_null("origin"),
    ],
)  # fmt: skip
DTYPES = {
    "origin": "String", "observed_at": "Datetime(us, UTC)", "local": "Datetime(us)", "temp": "Float64",
    "note": "String",
    "day": "Date", "at": "Time", "count": "UInt16", "price": "Decimal(10, 2)", "is_late": "Boolean", "raw": "Binary",
    "took": "Duration(us)", "nothing": "Null", "tags": "List(List(Int64))", "email": "String",
    "landed_at": "Datetime(us)",
}  # fmt: skip
VERSION = DatasetVersion(
    "weather", 12, "ready", "append", None, "0" * 64, [ColumnSchema(*one) for one in DTYPES.items()], [], 0, 0,
    None, [], 0, 0
)  # fmt: skip


def contract_of(spec: DatasetSpec, version: DatasetVersion | None = VERSION) -> str:
    """The contract as text, which keeps to the schema of the standard."""
    text = write_yaml(to_contract("flights", Dataset(spec.name, spec, 0, 0), version))
    VALIDATOR.validate(read_document(text.encode()))
    return text


def with_checks(*checks: CheckSpec) -> DatasetSpec:
    return msgspec.structs.replace(SPEC, checks=list(checks))


def declared(found: Translation) -> Any:
    return found.name, found.key, found.time, found.known_at, found.personal, {repr(one.check) for one in found.checks}


def same(spec: DatasetSpec) -> Any:
    return spec.name, spec.key, spec.time, spec.known_at, spec.personal, {repr(one) for one in spec.checks}


def columns_of(text: str) -> dict[str, Any]:
    document = read_document(text.encode())
    return {column["name"]: column for column in document["schema"][0]["properties"]}


@pytest.mark.parametrize("version", [None, VERSION])
def test_read_again_it_declares_the_same(version: DatasetVersion | None) -> None:
    assert declared(read_one(contract_of(SPEC, version))) == same(SPEC)


@pytest.mark.parametrize("of_dataset", CHECKS, ids=repr)
def test_every_kind_of_check_comes_back(of_dataset: CheckSpec) -> None:
    spec = with_checks(of_dataset)
    found = read_one(contract_of(spec))
    assert declared(found) == same(spec)
    assert not [what for what in left_out(found) if "quality of" in what or "quality[" in what]


def test_all_of_them_come_back_together() -> None:
    spec = with_checks(*CHECKS)
    assert declared(read_one(contract_of(spec))) == same(spec)


SHARES = st.floats(0, 1)
TEXTS = st.text(min_size=1, max_size=20)
NUMBERS = st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=20)
@given(
    st.lists(
        st.builds(lambda column, share: check.not_null(column, most_share=share), TEXTS, SHARES)
        | st.builds(lambda column, values: check.is_in(column, values), TEXTS, st.lists(TEXTS, min_size=1, max_size=4))
        | st.builds(
            lambda column, values: check.is_in(column, values), TEXTS, st.lists(NUMBERS, min_size=1, max_size=4)
        )
        | st.builds(lambda column, bound: check.between(column, bound), TEXTS, NUMBERS | TEXTS)
        | st.builds(lambda column, other, share: check.unique(column, other, most_share=share), TEXTS, TEXTS, SHARES)
        | st.builds(lambda low, more: check.row_count(low, low + more), st.integers(0, 99), st.integers(0, 99))
        | st.builds(lambda column, high: check.statistic(column, "missing", None, high), TEXTS, SHARES),
        max_size=4,
    )
)
def test_whatever_names_and_values_are_they_come_back(checks: list[CheckSpec]) -> None:
    spec = with_checks(*checks)
    assert declared(read_one(contract_of(spec))) == same(spec)


@pytest.mark.parametrize(
    ("of_dataset", "metric"),
    [
        (check.not_null("temp", most_share=0.07), {"metric": "nullValues", "mustBeLessOrEqualTo": 7.0,
        "unit": "percent"}),
        (check.row_count(5), {"metric": "rowCount", "mustBeGreaterOrEqualTo": 5}),
        (check.unique("observed_at", "origin"), {
            "metric": "duplicateValues", "mustBe": 0, "arguments": {"properties": ["observed_at", "origin"]},
        }),
        (check.is_in("temp", [1, 2]), {"metric": "invalidValues", "mustBe": 0, "arguments": {"validValues": [1, 2]}}),
        (check.matches("temp", "a|b"), {"metric": "invalidValues", "mustBe": 0, "arguments": {"pattern": "^(?:a|b)$"}}),
        (
            check.statistic("temp", "missing", high=0.1),
            {"metric": "missingValues", "arguments": {"missingValues": [None]}, "mustBeLessOrEqualTo": 10.0,
            "unit": "percent"},
        ),
        (check.between("temp", 0, 1, most_share=0.5), {
            "type": "custom", "engine": "loopwright",
            "implementation": {"kind": "between", "column": "temp", "args": {"low": 0, "high": 1}, "most_share": 0.5},
        }),
    ],
)  # fmt: skip
def test_what_the_standard_has_words_for_is_said_in_them(of_dataset: CheckSpec, metric: dict[str, Any]) -> None:
    document = read_document(contract_of(with_checks(of_dataset)).encode())["schema"][0]
    [rule] = [rule for part in (document, *document["properties"]) for rule in part.get("quality", ())]
    told = {name: value for name, value in rule.items() if name not in ("severity", "description", "dimension")}
    assert told == metric


def test_columns_say_their_type_key_and_class() -> None:
    columns = columns_of(contract_of(SPEC))
    logical = {name: column.get("logicalType") for name, column in columns.items()}
    assert logical == {
        "origin": "string", "observed_at": "timestamp", "local": "timestamp", "temp": "number", "note": "string",
        "day": "date", "at": "time", "count": "integer", "price": "number", "is_late": "boolean", "raw": "string",
        "took": None, "nothing": None, "tags": "array", "email": "string", "landed_at": "timestamp",
    }  # fmt: skip
    assert columns["tags"]["items"]["items"] == {"logicalType": "integer", "physicalType": "Int64"}
    assert columns["observed_at"]["primaryKeyPosition"] == 2
    assert columns["observed_at"]["logicalTypeOptions"] == {"timezone": True, "defaultTimezone": "UTC"}
    assert columns["temp"]["logicalTypeOptions"] == {"minimum": -60, "maximum": 60}
    assert columns["day"]["logicalTypeOptions"] == {"minimum": "2024-01-01"}
    assert columns["note"]["logicalTypeOptions"] == {"minLength": 1, "maxLength": 80}
    assert columns["email"]["classification"] == "personal"
    assert [name for name, column in columns.items() if column.get("required")] == ["origin", "observed_at", "note"]
    assert not [name for name, column in columns.items() if column.get("unique")]
    alone = msgspec.structs.replace(SPEC, key=["note"])
    assert [name for name, column in columns_of(contract_of(alone)).items() if column.get("unique")] == ["note"]


@pytest.mark.parametrize(
    "of_import", [check.unique("temp"), check.unique("origin", "temp"), check.row_count(5, 10), check.row_count(0, 9)]
)
def test_what_holds_of_each_import_and_not_of_the_table_is_no_metric(of_import: CheckSpec) -> None:
    assert "metric:" not in contract_of(with_checks(of_import))


def test_freshness_is_promised() -> None:
    document = read_document(contract_of(SPEC).encode())
    assert document["slaProperties"] == [
        {"property": "latency", "value": 36, "unit": "h", "element": "weather.observed_at"},
        {"property": "latency", "value": 1.5, "unit": "s", "element": "weather.landed_at"},
    ]


def test_a_dataset_without_rows_is_a_draft() -> None:
    before, after = (read_document(contract_of(SPEC, version).encode()) for version in (None, VERSION))
    assert (before["status"], before["version"]) == ("draft", "0")
    assert (after["status"], after["version"], after["id"]) == ("active", "12", "flights/dataset:weather")


def test_where_rows_come_from_is_not_told() -> None:
    assert "secret" not in contract_of(SPEC)


def test_a_check_of_a_package_that_is_not_here_is_kept_whole() -> None:
    own = CheckSpec("luhn", "email", {"digits": 16})
    document = columns_of(contract_of(with_checks(own)))["email"]["quality"]
    assert document == [
        {
            "type": "custom",
            "engine": "loopwright",
            "implementation": {"kind": "luhn", "column": "email", "args": {"digits": 16}},
            "severity": "error",
        }
    ]
    assert left_out(read_one(contract_of(with_checks(own))))["quality of 'email'[0]"] == "no check is named luhn"
