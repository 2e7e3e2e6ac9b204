"""Suggestions: they hold of the rows they were made of, let more of the same pass and stop what is not."""

import ast
import math
import random
import struct
from collections.abc import Callable
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import loopwright as lw
from loopwright.data import CheckSpec, DatasetSpec, SourceSpec, Suggestion, profiles
from loopwright.data.columns import schema_of
from loopwright.data.personal import find_personal, is_named_personal
from loopwright.data.quality import run_checks
from loopwright.data.suggestions import suggest
from loopwright.data.types import DatasetVersion
from tests.data.conftest import weather, weather_spec

Call = Callable[..., Any]
SHOP = DatasetSpec("orders", SourceSpec("frame"), ["order"], "at")


def orders(seed: int, size: int = 2000) -> pl.DataFrame:
    """Orders of a shop: amounts of a skewed distribution, three countries, a share of returns, rare gaps."""
    chance = random.Random(seed)
    start = pl.datetime(2025, 1, 1, time_zone="UTC")
    rows = [
        {
            "order": seed * size + number,
            "minutes": number * 7,
            "amount": round(chance.lognormvariate(3, 0.8), 2),
            "items": chance.randint(1, 9),
            "country": chance.choices(["de", "at", "ch"], [7, 2, 1])[0],
            "returned": chance.random() < 0.2,
            "rating": None if chance.random() < 0.3 else chance.randint(1, 5),
            "email": f"person{chance.randint(1, 9999)}@example.org",
            "note": chance.choice(["", "leave at the door", "ring twice"]) + str(chance.random()),
        }
        for number in range(size)
    ]
    frame = pl.DataFrame(rows).with_columns(at=start + pl.duration(minutes="minutes"))
    return frame.drop("minutes")


def suggested(frame: pl.DataFrame, spec: DatasetSpec = SHOP) -> list[Suggestion]:
    blank: dict[str, Any] = {"state": "ready", "operation": "append", "parent": None, "digest": "0" * 64}
    version = DatasetVersion(
        spec.name, 1, schema=schema_of(frame), fragments=[], rows=frame.height, size_bytes=0,
        profile_digest=None, checks=[], event_at=0, recorded_at=0, **blank,
    )  # fmt: skip
    return suggest(spec, version, profiles.profile_frame(frame))


def checks_of(found: list[Suggestion]) -> list[CheckSpec]:
    return [one.check for one in found if one.check is not None]


@pytest.mark.parametrize("seed", range(5))
def test_what_is_suggested_holds_of_these_rows_and_of_more_of_them(seed: int) -> None:
    checks = checks_of(suggested(orders(seed)))
    for frame in (orders(seed), orders(seed + 100)):
        failed = [result.message for result in run_checks(frame, checks) if not result.passed]
        assert failed == []


def test_what_is_suggested_reads_as_a_project_file_says_it() -> None:
    found = suggested(orders(1))
    code = [one.code for one in found]
    assert "lw.check.is_in('country', values=['at', 'ch', 'de'], most_share=0.01)" in code
    assert "lw.check.between('items', low=0, high=13, most_share=0.01)" in code
    assert "lw.check.usual('returned', of='mean')" in code
    assert "lw.check.usual('rating', of='missing', severity='warn')" in code
    assert "personal=['email']" in code
    assert not any("note" in one and "not_null" not in one for one in code)
    assert not any(one.check is not None and one.check.column in ("order", "at") for one in found)
    for one in found:
        if one.check is not None:
            assert eval(one.code, {"lw": lw}) == one.check


@pytest.mark.parametrize("end", ["\n", "\r", "\x0c", "\u2028", "'", '"', "\\"])
def test_what_is_suggested_is_one_line_of_code_whatever_columns_and_values_are_called(end: str) -> None:
    """Whoever names columns of a file would else write the project file of whoever pastes the lines."""
    name = f'email{end}import os; os.system("touch pwned")  #'
    columns = {name: [f"a{number}@example.org" for number in range(3)] * 50, f"kind {name}": [name, "b"] * 75}
    found = suggested(pl.DataFrame({"order": range(150), **columns}))
    assert {kind for one in found for kind in (one.personal, one.check and one.check.kind)} >= {name, "is_in"}
    for one in found:
        line = f"{one.code},  # {one.why}"
        assert line.isprintable()
        (statement,) = ast.parse(f"[\n{line}\n]" if one.check else one.code).body
        assert one.personal in (ast.literal_eval(statement.value) if one.personal else "")


@pytest.mark.parametrize(
    ("change", "caught"),
    [
        (pl.col("amount") * 1000, "amount between"),
        (pl.when(pl.col("country") == "de").then(pl.lit("DE")).otherwise("country").alias("country"), "country in"),
        (pl.when(pl.col("items") > 2).then("items"), "items is not null"),
    ],
)
def test_what_is_not_like_these_rows_is_stopped(change: pl.Expr, caught: str) -> None:
    failed = [
        one for one in run_checks(orders(2).with_columns(change), checks_of(suggested(orders(1)))) if not one.passed
    ]
    assert any(one.message.startswith(caught) for one in failed)


def test_what_is_declared_or_personal_is_not_suggested_again() -> None:
    first = suggested(orders(1))
    spec = msgspec.structs.replace(SHOP, checks=checks_of(first), personal=["email"])
    assert suggested(orders(1), spec) == []
    hidden = msgspec.structs.replace(SHOP, personal=["email", "country"])
    assert not any("'de'" in one.code for one in suggested(orders(1), hidden))


def test_of_few_rows_nothing_is_suggested_but_their_number() -> None:
    assert [one.code for one in suggested(orders(1, 20).drop("email"))] == ["lw.check.usual_rows()"]


_ODD = [
    *(0.0, -0.0, 5e-324, 1e-322, 2.3e-308, 1e-9, 1.0, -1.0, 255.5, 2.0**53 + 2, 1e19, 1.7e308, -1.7e308),
    *(math.nan, math.inf, -math.inf),
]
_INTEGERS = {
    pl.Int64: [0, 1, -1, 2**53 + 1, 2**63 - 1, -(2**63), 10**18],
    pl.UInt64: [0, 1, 2**53 + 1, 2**63, 2**64 - 1],
    pl.Int8: [0, -128, 127],
    pl.UInt8: [0, 255],
}
_PATTERNS = st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("d", struct.pack("Q", bits))[0])
_VALUES = st.one_of(
    st.tuples(st.just(pl.Float64), st.lists(st.none() | st.sampled_from(_ODD) | st.floats() | _PATTERNS, max_size=5)),
    st.tuples(st.just(pl.Float32), st.lists(st.none() | st.floats(width=32), max_size=5)),
    *(
        st.tuples(st.just(dtype), st.lists(st.none() | st.sampled_from(values), max_size=5))
        for dtype, values in _INTEGERS.items()
    ),
)


def check_what_is_suggested_holds(dtype: type[pl.DataType], values: list[Any], size: int) -> None:
    values = [values[place % len(values)] if values else None for place in range(size)]
    frame = pl.DataFrame({"order": range(size), "odd": pl.Series(values, dtype=dtype, strict=False)})
    found = suggested(frame, msgspec.structs.replace(SHOP, time=None))
    for one in found:
        assert eval(one.code, {"lw": lw}) == one.check
    assert [one.message for one in run_checks(frame, checks_of(found)) if not one.passed] == []


@given(_VALUES, st.sampled_from([0, 1, 99, 100, 250]))
def test_whatever_numbers_are_there_what_is_suggested_holds_of_them(
    column: tuple[type[pl.DataType], list[Any]], size: int
) -> None:
    check_what_is_suggested_holds(*column, size)


@pytest.mark.parametrize("first", _ODD)
def test_of_every_two_odd_numbers_what_is_suggested_holds(first: float) -> None:
    for second in (None, *_ODD):
        check_what_is_suggested_holds(pl.Float64, [first, second], 120)


def test_a_poisoned_import_is_stopped_by_checks_that_were_suggested_before(call: Call, import_rows: Call) -> None:
    call("data.declare", spec=weather_spec(checks=[]))
    for day in range(1, 10):
        import_rows("weather", weather(day, temp=10 + day % 3))
    profile = profiles.profile_frame(pl.concat([weather(day, temp=10 + day % 3) for day in range(1, 10)]))
    checks = checks_of(suggest(weather_spec(checks=[]), call("data.get_version", dataset="weather"), profile))
    assert {(check.kind, check.column) for check in checks} >= {("between", "temp"), ("usual_rows", None)}
    call("data.declare", spec=weather_spec(checks=checks))
    assert import_rows("weather", weather(10, temp=11)).state == "ready"
    poisoned = import_rows("weather", weather(11, temp=300))
    assert poisoned.state == "quarantined"
    assert "temp between" in poisoned.message


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["ann@example.org", "bo.c@mail.example.co.uk", "x+y@example.de"], "e-mail addresses"),
        (["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432", "FR1420041010050500013M02606"], "bank accounts"),
        (["DE89 3704 0044 0532 0130 01", "GB82WEST12345698765433", "FR1420041010050500013M02607"], None),
        (["4111 1111 1111 1111", "5500-0000-0000-0004", "340000000000009"], "payment cards"),
        (["4111 1111 1111 1112", "5500-0000-0000-0005", "340000000000008"], None),
        (["+49 30 123456", "+1 (212) 555-0100", "030/1234567"], "phone numbers"),
        (["10.0.0.1", "2001:db8::1", "8.8.8.8"], "network addresses"),
        (["2024-01-01", "2024-01-02", "2024-02-02"], None),
        (["1.10", "2.35", "100.00"], None),
        (["N12345", "N67890", "N54321"], None),
        (["ann@example.org"], None),
    ],
)
def test_personal_values_are_told_by_how_they_are_written(values: list[str], kind: str | None) -> None:
    assert find_personal(values) == kind


def test_personal_columns_are_told_by_their_names() -> None:
    named = ["email", "customer_email", "firstName", "birth_date", "ip", "home_phone", "zip"]
    assert [name for name in named if not is_named_personal(name)] == []
    other = ["equipment", "tip", "zipped", "shipping", "named_at", "tailnum", "ship_mode", "dest"]
    assert [name for name in other if is_named_personal(name)] == []
