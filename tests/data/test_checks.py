"""Kinds of checks against a loop over the rows: conditions, lengths, spellings, order, references, usual numbers."""

import math
import random
import statistics
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.client.declarations import check
from loopwright.data import CheckResult, CheckSpec, read_rule
from loopwright.data.checks.usual import judge_by_past, student_quantile
from loopwright.data.quality import Around, failing_rows, run_checks
from loopwright.kernel.errors import InvalidInput, NotFound
from tests.data.conftest import weather, weather_spec

Call = Callable[..., Any]
Row = dict[str, Any]
SCHEMA = {"id": pl.Int64, "a": pl.Int64, "b": pl.Float64, "s": pl.String}
ROWS = st.lists(
    st.tuples(
        st.none() | st.integers(-3, 3),
        st.none() | st.sampled_from([-1.5, 0.0, 0.5, 2.0, math.nan]),
        st.none() | st.sampled_from(["", "x", "xy", "äöü", "31.12.2025", "2025-12-31", "31.02.2025"]),
    ),
    max_size=25,
)


def frame_of(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    return pl.DataFrame([(number, *row) for number, row in enumerate(rows)], schema=SCHEMA, orient="row")


def known(value: Any) -> Any:
    """Return a value as a rule sees it: NaN is missing."""
    return None if isinstance(value, float) and math.isnan(value) else value


def is_german_day(text: str) -> bool:
    try:
        datetime.strptime(text, "%d.%m.%Y").replace(tzinfo=UTC)
    except ValueError:
        return False
    return True


def none_of(function: Callable[..., bool | None]) -> Callable[..., bool | None]:
    """Return a function that says nothing where a value is missing."""
    return lambda *values: None if any(value is None for value in values) else function(*values)


def is_above(a: int, b: float) -> bool:
    return a + 1 > b * 2


CASES: list[tuple[CheckSpec, list[str], Callable[..., bool | None]]] = [
    (check.holds("a >= b"), ["a", "b"], none_of(lambda a, b: a >= b)),
    (check.holds("a + 1 > b * 2 AND a <> 3"), ["a", "b"], lambda a, b: False if a == 3 else none_of(is_above)(a, b)),
    (check.holds("b IS NOT NULL"), ["b"], lambda b: b is not None),
    (check.holds("abs(a) <= 2"), ["a"], none_of(lambda a: abs(a) <= 2)),
    (check.holds("coalesce(a, 7) BETWEEN 0 AND 7"), ["a"], lambda a: 0 <= (7 if a is None else a) <= 7),
    (check.holds("s IN ('x', 'xy')"), ["s"], none_of(lambda s: s in ("x", "xy"))),
    (check.holds("length(s) < 3"), ["s"], none_of(lambda s: len(s) < 3)),
    (check.length("s", 1, 2), ["s"], none_of(lambda s: 1 <= len(s) <= 2)),
    (check.length("s", 2), ["s"], none_of(lambda s: len(s) >= 2)),
    (check.dated("s", "%d.%m.%Y"), ["s"], none_of(is_german_day)),
]


@pytest.mark.parametrize(("spec", "columns", "passes"), CASES, ids=lambda one: str(getattr(one, "args", "")))
@given(rows=ROWS, has_where=st.booleans())
def test_a_check_fails_the_rows_that_a_loop_fails(
    spec: CheckSpec, columns: list[str], passes: Callable[..., bool | None], rows: list[Any], has_where: bool
) -> None:
    frame = frame_of(rows)
    spec = msgspec.structs.replace(spec, where="a > 0 OR s = 'x'") if has_where else spec
    asked = [row for row in frame.to_dicts() if not has_where or (row["a"] or 0) > 0 or row["s"] == "x"]
    verdicts = [(row["id"], passes(*(known(row[name]) for name in columns))) for row in asked]
    failed = [number for number, verdict in verdicts if verdict is False]
    (found,) = run_checks(frame, [spec], key=["id"])
    said = [verdict for _, verdict in verdicts if verdict is not None]
    assert (found.failed_rows, found.passed) == (len(failed), not failed)
    assert found.evaluated_rows == len(said)
    assert [sample["id"] for sample in found.samples] == failed[:20]
    assert failing_rows(frame, [found])["id"].to_list() == failed


@given(rows=ROWS, strictly=st.booleans(), is_grouped=st.booleans())
def test_order_is_that_of_a_loop(rows: list[Any], strictly: bool, is_grouped: bool) -> None:
    frame = frame_of(rows)
    failed, last = [], dict[Any, Any]()
    for row in frame.to_dicts():
        group, value = row["s"] if is_grouped else 0, row["a"]
        before = last.get(group)
        if value is not None and before is not None and (value <= before if strictly else value < before):
            failed.append(row["id"])
        if value is not None:
            last[group] = value
    spec = check.increasing("a", of_each="s" if is_grouped else [], strictly=strictly)
    (found,) = run_checks(frame, [spec], key=["id"])
    assert found.failed_rows == len(failed)
    assert failing_rows(frame, [found])["id"].to_list() == failed


NUMBERS = [3.0, None, 1.0, math.nan, 2.0, 2.0, 10.0]
PLAIN = [3.0, 1.0, 2.0, 2.0, 10.0]


@pytest.mark.parametrize(
    ("of", "q", "value"),
    [
        ("mean", None, statistics.mean(PLAIN)),
        ("median", None, 2.0),
        ("std", None, statistics.stdev(PLAIN)),
        ("min", None, 1.0),
        ("max", None, 10.0),
        ("sum", None, 18.0),
        ("quantile", 0.75, 3.0),
        ("distinct", None, 4.0),
        ("missing", None, 2 / 7),
    ],
)
def test_a_statistic_is_measured_and_lies_between_its_bounds(of: str, q: float | None, value: float) -> None:
    frame = pl.DataFrame({"x": NUMBERS})
    specs = [
        check.statistic("x", of, value - 0.01, value + 0.01, q=q),
        check.statistic("x", of, high=value - 0.01, q=q),
        check.statistic("x", of, value + 0.01, q=q, where="x > 1e9" if of != "missing" else "x < 0"),
    ]
    inside, below, nothing = run_checks(frame, specs)
    assert inside.passed
    assert inside.value == pytest.approx(value)
    assert not below.passed
    assert f"failed: it is {value:.6g}" in below.message
    assert nothing.passed
    assert nothing.message.endswith("not evaluated, there are no rows")


class _Known(Around):
    def values(self, dataset: str, column: str) -> pl.Series:
        assert (dataset, column) == ("places", "code")
        return pl.Series(["x", "xy"])


def test_values_refer_to_another_dataset() -> None:
    frame = frame_of([(1, 1.0, "x"), (2, 1.0, "z"), (3, 1.0, None)])
    spec = check.refers_to("s", "places", "code")
    (found,) = run_checks(frame, [spec], key=["id"], around=_Known())
    assert (found.failed_rows, found.evaluated_rows) == (1, 2)
    assert found.message == "s one of places.code failed for 1 of 2 rows (first: id=1)"
    assert failing_rows(frame, [found], around=_Known())["id"].to_list() == [1]


@pytest.mark.parametrize(
    "rule",
    [
        "\"rpad\"(c, 2000000000, 'x') <> 'q'",
        '"length" (c) > 0',
        f"length({'+'.join(['c'] * 32)}) > 0",
        "",
        "a >",
        "a + b",
        "repeat(s, 1000000000) = 'x'",
        "s || s || s = 'x'",
        "s ~ '(a|b)*c'",
        "(SELECT max(a) FROM self) > 1",
        "1 = 1",
        "a > 1) OR (a < 2",
        "(" * 30 + "a > 1" + ")" * 30,
        "a > 1; DROP TABLE x",
        "read_csv('/etc/passwd') = 1",
        "c > 1",
        "s > 3",
        "a > " + "1" * 600,
    ],
)
@pytest.mark.parametrize("place", ["rule", "where"])
def test_what_is_no_condition_is_refused(rule: str, place: str) -> None:
    if place == "where" and not rule:
        return

    def run() -> list[CheckResult]:
        spec = check.holds(rule) if place == "rule" else check.not_null("a", where=rule)
        return run_checks(frame_of([(1, 1.0, "x")]), [spec])

    with pytest.raises(InvalidInput):
        run()


def test_a_rule_names_its_columns_once() -> None:
    assert read_rule("a > 1 AND \"odd name\" IS NULL OR a < date AND at >= DATE '2020-01-01'") == [
        "a",
        "odd name",
        "date",
        "at",
    ]


@pytest.mark.parametrize("degrees", [3, 4, 6, 11, 27])
@pytest.mark.parametrize("outside", [0.2, 0.01, 0.001, 1e-6])
def test_quantiles_are_those_of_student(degrees: int, outside: float) -> None:
    special = pytest.importorskip("scipy.special")
    assert student_quantile(outside, degrees) == pytest.approx(special.stdtrit(degrees, 1 - outside / 2), rel=2e-5)


@pytest.mark.parametrize("imports", [7, 28])
def test_of_what_is_as_usual_few_imports_are_stopped_and_of_what_is_not_most(imports: int) -> None:
    chance = random.Random(imports)
    alarms = caught = in_spite = 0
    for _ in range(4000):
        past = [chance.gauss(50, 5) for _ in range(imports)]
        alarms += not judge_by_past(chance.gauss(50, 5), past, 7, 0.01, 0.0)[0]
        caught += not judge_by_past(chance.gauss(100, 5), past, 7, 0.01, 0.0)[0]
        in_spite += not judge_by_past(chance.gauss(100, 5), [*past[1:], 5000.0], 7, 0.01, 0.0)[0]
    assert 5 <= alarms <= 70  # 40 are to be expected, fewer for the one in a hundred that is no deviation
    assert caught > 3900
    assert in_spite > 3600
    assert judge_by_past(7.0, [1.0] * 6, 7, 0.01, 0.0) == (True, "not evaluated: 6 of 7 imports before it are there")
    assert judge_by_past(1.005, [1.0] * 7, 7, 0.01, 0.0)[0]
    assert not judge_by_past(1.02, [1.0] * 7, 7, 0.01, 0.0)[0]


def test_an_import_that_is_not_as_usual_is_stopped(call: Call, import_rows: Call) -> None:
    chance = random.Random(7)
    checks = [check.usual("temp", "mean", least=5), check.usual_rows(least=5), check.usual("wind", "missing", least=5)]
    call("data.declare", spec=weather_spec(checks=checks))
    for day in range(1, 9):
        found = import_rows("weather", weather(day, temp=10 + chance.gauss(0, 1)))
        assert found.state == "ready", found.message
    poisoned = import_rows("weather", weather(9, temp=50.0))
    assert poisoned.state == "quarantined"
    assert "temp mean as usual failed: it is 61.5, where" in poisoned.message
    few = import_rows("weather", weather(10, hours=3, temp=19.0))
    assert (
        "number of rows as usual failed: it is 3, where 18.861 to 29.139 is usual after the last 8 imports"
        in few.message
    )
    emptied = weather(11, temp=10.0).with_columns(wind=pl.when(pl.col("wind") > 20).then("wind"))
    assert "share of missing values as usual failed" in import_rows("weather", emptied).message
    assert import_rows("weather", weather(12, temp=10.5)).state == "ready"
    newest: list[CheckResult] = call("data.get_version", dataset="weather").checks
    assert newest[1].value == 24.0


def test_an_import_is_held_against_another_dataset(call: Call, import_rows: Call) -> None:
    refers = weather_spec(checks=[check.refers_to("origin", "airports", "code")])
    call("data.declare", spec=refers)
    with pytest.raises(NotFound, match="airports"):
        import_rows("weather", weather(1))
    call("data.declare", spec=weather_spec(name="airports", key=["code"], time=None, known_at={}, checks=[]))
    import_rows("airports", pl.DataFrame({"code": ["JFK", "LGA"]}))
    assert import_rows("weather", weather(1)).state == "ready"
    stray = import_rows("weather", weather(2, origins=("JFK", "ZZZ")))
    assert stray.message.startswith(
        "dataset weather version 2 is quarantined: origin one of airports.code failed for 24"
    )
    call("data.declare", spec=weather_spec(checks=[check.refers_to("origin", "airports", "iata")]))
    with pytest.raises(InvalidInput, match="has no column iata"):
        import_rows("weather", weather(3))
