"""What counts as loosening a dataset's rules."""

from typing import Any

import msgspec
import pytest

from loopwright.data import CheckSpec
from loopwright.data.strictness import loosened
from tests.data.conftest import weather_spec

BETWEEN = CheckSpec("between", "temp", {"low": -60, "high": 60})
KNOWN = CheckSpec("is_in", "origin", {"values": ["JFK", "LGA"]})
MOMENT = CheckSpec("between", "observed_at", {"low": "2013-01-01"})
ROWS = CheckSpec("row_count", None, {"low": 10, "high": 100})
FRESH = CheckSpec("fresh", None, {"within_us": 100})
WARNS = CheckSpec("not_null", "wind", severity="warn")
SPEC = weather_spec(checks=[BETWEEN, KNOWN, MOMENT, ROWS, FRESH, WARNS], personal=["observer"])


def told(**changes: Any) -> str:
    return "; ".join(one.told for one in loosened(SPEC, msgspec.structs.replace(SPEC, **changes)))


def instead(check: CheckSpec, **changes: Any) -> list[CheckSpec]:
    return [msgspec.structs.replace(one, **changes) if one is check else one for one in SPEC.checks]


@pytest.mark.parametrize(
    "checks",
    [
        SPEC.checks,
        [*SPEC.checks, CheckSpec("unique", "origin")],
        [check for check in SPEC.checks if check is not WARNS],
        instead(WARNS, severity="block"),
        instead(BETWEEN, args={"low": 0, "high": 40.5}),
        instead(KNOWN, args={"values": ["JFK"]}),
        instead(ROWS, args={"low": 20, "high": 50}),
        instead(FRESH, args={"within_us": 50}),
    ],
)
def test_what_is_as_strict_loosens_nothing(checks: list[CheckSpec]) -> None:
    assert told(checks=checks, personal=["observer", "pilot"]) == ""


@pytest.mark.parametrize(
    ("checks", "words"),
    [
        ([], "checks: between(temp, high=60, low=-60) -> nothing"),
        (instead(BETWEEN, severity="warn"), "-> between(temp, high=60, low=-60), warns only"),
        (instead(BETWEEN, most_share=0.05), "-> between(temp, high=60, low=-60) for all but 0.05 of the rows"),
        (instead(BETWEEN, args={"low": -60}), "-> between(temp, low=-60)"),
        (instead(BETWEEN, args={"low": -61, "high": 60}), "low=-61"),
        (instead(BETWEEN, column="wind"), "between(temp, high=60, low=-60) -> nothing"),
        (instead(KNOWN, args={"values": ["JFK", "LGA", "EWR"]}), "is_in(origin"),
        (instead(MOMENT, args={"low": "2013-02-01"}), "between(observed_at"),
        (instead(ROWS, args={"high": 100}), "row_count("),
        (instead(FRESH, args={"within_us": 101}), "fresh("),
    ],
)
def test_a_check_that_holds_back_less_is_told(checks: list[CheckSpec], words: str) -> None:
    assert words in told(checks=checks)


def test_what_is_told_of_long_lists_is_short_and_names_what_is_new() -> None:
    values = [f"value {number}" for number in range(10_000)]
    before = weather_spec(checks=[CheckSpec("is_in", "origin", {"values": values})])
    after = weather_spec(checks=[CheckSpec("is_in", "origin", {"values": [*values, "evil"]})])
    (weaker,) = loosened(before, after)
    assert len(weaker.told) < 1000
    assert "lets pass ['evil']: is_in(origin, values=['value 0'" in weaker.told


def test_as_strict_is_whichever_of_several_checks_of_a_column_is() -> None:
    after = [CheckSpec("between", "temp", {"low": 0, "high": high}) for high in (100, 50, 200)]
    assert told(checks=[*after, *(check for check in SPEC.checks if check is not BETWEEN)], personal=["observer"]) == ""


def test_true_is_not_one() -> None:
    before = weather_spec(checks=[CheckSpec("is_in", "flag", {"values": [1, 0]})])
    after = weather_spec(checks=[CheckSpec("is_in", "flag", {"values": [True]})])
    assert loosened(before, after)


def test_what_was_personal_stays_so() -> None:
    assert told(personal=[]) == "personal: observer is no longer"
