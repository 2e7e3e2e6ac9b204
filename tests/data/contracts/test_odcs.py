"""Contracts of the standard: what maps becomes a declaration, whatever does not is told with its reason."""

import json
from typing import Any

import pytest

from loopwright.data import KnownAt
from loopwright.data.contracts import read_contract, write_yaml
from loopwright.kernel.errors import InvalidInput
from tests.data.contracts.conftest import FILES, codes, left_out, read_one


def of_column(column: dict[str, Any], **table: Any) -> Any:
    document = {
        "apiVersion": "v3.1.0",
        "kind": "DataContract",
        "schema": [{"name": "t", "properties": [column]} | table],
    }
    return read_one(write_yaml(document))


def test_a_contract_as_people_write_it() -> None:
    table, receivers = read_contract((FILES / "contract.yaml").read_bytes())
    assert (table.name, table.key, table.time, table.personal) == (
        "tbl",
        ["rcvr_id", "rcvr_cntry_code"],
        None,
        ["email"],
    )
    assert codes(table) == [
        "between('txn_ref_dt', low='2020-01-01')",
        "length('rcvr_cntry_code', low=2, high=2)",
        "matches('rcvr_cntry_code', pattern='[A-Z]+')",
        "refers_to('rcvr_id', dataset='receivers', other_column='id')",
        "not_null('email')",
        "unique('email')",
        """holds('"email" IS NOT NULL AND "email" NOT IN (\\'\\', \\'N/A\\')')""",
        "statistic('email', of='missing', high=0.05)",
        "is_in('unit', values=['pounds', 'kg', 'no'], severity='warn')",
        "matches('unit', pattern='[a-z]{2,}', severity='warn')",
        "not_null('unit', most_share=0.01)",
        "length('unit', low=2, high=9)",
        """holds('"amount" > 0 AND "amount" <= 100.5')""",
        "row_count(low=101, high=119)",
        "row_count(low=1000001)",
        "unique('rcvr_id', 'txn_ref_dt')",
        "fresh('txn_ref_dt', '4d')",
    ]
    assert (receivers.key, codes(receivers)) == (["id"], ["fresh('seen_at', '90m')"])
    assert list(left_out(receivers)) == ["the time", "items of 'lines'", "logicalType of columns"]


PEOPLE = "it tells people of the table; the contract keeps it"


def test_what_a_contract_says_beside_is_told_with_its_reason() -> None:
    told = left_out(read_contract((FILES / "contract.yaml").read_bytes())[0])
    assert told == {
        "the time": "the standard has no word for it: say time= if a column tells when each row happened",
        "classification 'public' of 'txn_ref_dt'": "it does not say whether the column tells of a person: if so, add "
        "it to personal=",
        "relationships[1] of 'rcvr_id'": "it does not lead to table.column: say it with lw.check.refers_to",
        "quality of 'unit'[1]": "it tolerates a number of rows: checks tolerate a share of them, most_share",
        "quality of 'unit'[3]": "it asks for rows that are not as they should be",
        "quality of 'unit'[4] ('The unit was verified by the system.')": "it is said in words: say it with one of "
        "lw.check",
        "quality of 'unit'[5]": "it is a query of a database: say it of each row with lw.check.holds",
        "quality of 'unit'[6]": "it is made for soda",
        "multipleOf in logicalTypeOptions of 'amount'": "no check says this",
        "quality[3]": "it stands with the table and names no column",
        "slaProperties[1], Latency of 'nowhere.x'": "it names no table.column of this contract: say it with "
        "lw.check.fresh",
        "slaProperties[2], retention": "no check of rows says this",
        "format of columns": "how values are written is said of the source, of texts by lw.check.dated",
        "logicalType of columns": "types are told by all values, or by types= of the source",
        "id, name, description, schedule, scheduler of quality rules": PEOPLE,
        "physicalType, businessName of the table": PEOPLE,
        "id, version, status, domain, description, team of the contract": PEOPLE,
    }


def test_what_a_check_says_otherwise_is_noted() -> None:
    notes = {taken.check.kind: taken.note for taken in read_contract((FILES / "contract.yaml").read_bytes())[0].checks}
    assert notes["refers_to"] == "if the dataset is called 'receivers' here too"
    assert notes["statistic"] == "at most this share, where the contract says less"
    [row_count] = of_column({"name": "a"}, quality=[{"metric": "rowCount", "mustBeBetween": [1, 5]}]).checks
    assert row_count.note == "of the rows of one import, not of the whole table"


def test_a_contract_of_ours_says_time_and_when_values_are_known() -> None:
    own = [
        {"property": "eventTime", "value": "at"},
        {"property": "knownAt", "value": {"late": {"column": "landed_at", "after_us": 5}}},
        {"property": "grain", "value": 1},
    ]
    found = of_column({"name": "a"}, customProperties=own)
    assert (found.time, found.known_at) == ("at", {"late": KnownAt("landed_at", 5)})
    assert "'grain' says nothing" in left_out(found)["customProperties[2] of the table"]
    known = [{"a": 1}, [1], {"a": {"column": "b", "after_us": -1}}, {"a": {"column": "b", "after_us": 10**30}}]
    own = [{"property": "knownAt", "value": one} for one in known]
    found = of_column({"name": "a"}, customProperties=[*own, 5])
    assert found.known_at == {}
    assert {f"customProperties[{number}] of the table" for number in range(5)} <= {*left_out(found)}


@pytest.mark.parametrize(
    ("name", "usable"),
    [("orders 2024", "orders_2024"), ("../../etc", "etc"), ("", "dataset"), (None, "dataset"), (5, "5"),
     ("ä/ö", "dataset"),
     ("a..b", "a__b"), ("x'); import os", "x____import_os"), ({"a": [1]}, "a____1"), ("n" * 300, "n" * 128)],
)  # fmt: skip
def test_a_name_that_cannot_be_used_becomes_one_that_can(name: object, usable: str) -> None:
    document = {"apiVersion": "v3.1.0", "schema": [{"name": name}]}
    found = read_one(write_yaml(document))
    assert found.name == usable
    if name:
        assert any(f"it became {usable}" in why for why in left_out(found).values())


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"apiVersion": "v2.2.2", "kind": "DataContract"}, "this version is not read"),
        ({"kind": "DataContract"}, "this version is not read"),
        ({"apiVersion": [3]}, "this version is not read"),
        ({"apiVersion": "v3.1.0"}, "a contract has a schema"),
        ({"apiVersion": "v3.1.0", "schema": {}}, "a contract has a schema"),
        ({"apiVersion": "v3.1.0", "schema": []}, "a contract has a schema"),
        ({"apiVersion": "v3.1.0", "schema": [{"name": "t"}] * 201}, "a contract has a schema"),
        ({"apiVersion": "v3.1.0", "schema": [5]}, "this is no table"),
    ],
)
def test_what_is_no_contract_is_refused(document: Any, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        read_contract(write_yaml(document).encode())


@pytest.mark.parametrize(
    ("promise", "told"),
    [
        ({"value": 4, "unit": "d", "element": "t.a," * 300}, "it names more than 200 elements"),
        ({"value": 4, "unit": "d"}, "it names no table.column"),
        ({"value": 4, "unit": "m", "element": "a"}, "its unit is none of"),
        ({"value": 4, "element": "a"}, "its unit is none of"),
        ({"value": "4", "unit": "d", "element": "a"}, "no number of such units"),
        ({"value": -1, "unit": "d", "element": "a"}, "no number of such units"),
        ({"value": float("nan"), "unit": "d", "element": "a"}, "no number of such units"),
        ({"value": 1e8, "unit": "y", "element": "a"}, "out of range"),
    ],
)
def test_promises_that_are_no_check_are_told(promise: dict[str, Any], told: str) -> None:
    sla = [{"property": "latency"} | promise, {"property": 5}, 7]
    document = {"apiVersion": "v3.1.0", "schema": [{"name": "t"}], "slaProperties": sla}
    reasons = {what.partition(",")[0]: why for what, why in left_out(read_one(write_yaml(document))).items()}
    assert told in reasons["slaProperties[0]"]
    assert {"slaProperties[1]", "slaProperties[2]"} <= {*reasons}


def test_a_column_of_another_name_in_its_files_is_told() -> None:
    assert "physicalName of columns" in left_out(of_column({"name": "a", "physicalName": "col_a"}))
    assert "physicalName of columns" not in left_out(of_column({"name": "a", "physicalName": "a"}))


def test_the_same_check_twice_is_one() -> None:
    twice = {"metric": "duplicateValues", "mustBe": 0}
    found = of_column({"name": "a", "unique": True, "quality": [twice, twice]})
    assert codes(found) == ["unique('a')"]
    assert not [what for what in left_out(found) if "quality" in what]


def test_checks_are_kept_as_long_as_somebody_may_want_them() -> None:
    columns = [{"name": f"c{number}", "required": True} for number in range(20_000)]
    found = read_one(json.dumps({"apiVersion": "v3.1.0", "schema": [{"name": "t", "properties": columns}]}))
    assert len(found.checks) == 1000
    assert left_out(found)["required of 'c19999'"] == "1,000 checks of the table are read already"


def test_more_checks_than_a_dataset_has_are_told() -> None:
    document = {
        "apiVersion": "v3.0.2",
        "schema": [{"name": "t", "properties": [{"name": f"c{number}", "required": True} for number in range(201)]}],
    }
    found = read_one(write_yaml(document))
    assert left_out(found)["201 checks"] == "a dataset has at most 200: leave some out"
