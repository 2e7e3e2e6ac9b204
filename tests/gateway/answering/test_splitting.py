"""Rows that fail by themselves are found among those that failed together, with bounded work."""

import time
from collections.abc import Callable

import pytest

from loopwright.gateway.answering.splitting import LONGEST_S, find_failures


@pytest.fixture
def now_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which stands still unless a test lets it pass."""
    now = [1_000.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    return now


class Rows:
    """Rows of which some are bad; counts what is tried."""

    def __init__(self, is_bad: Callable[[range], bool]) -> None:
        self._is_bad = is_bad
        self.tried: list[range] = []

    def attempt(self, block: range) -> str | None:
        self.tried.append(block)
        return f"bad: {block}" if self._is_bad(block) else None

    @property
    def work(self) -> int:
        """How many rows were tried, each as often as it was."""
        return sum(map(len, self.tried))


def bad(*rows: int) -> Rows:
    return Rows(lambda block: any(row in block for row in rows))


FOREVER = float("inf")


@pytest.mark.parametrize("count", [2, 20, 64, 100, 500, 1000])
def test_bad_rows_are_found_and_the_others_answered(now_s: list[float], count: int) -> None:
    for wrong in ([0], [count - 1], [0, count // 2], [row for row in range(count) if row % 10 == 1]):
        rows = bad(*wrong)
        found = find_failures(count, "together", rows.attempt, FOREVER)
        assert found == {row: f"bad: {range(row, row + 1)}" for row in wrong}
        assert rows.work <= 2 * count
        answered = [row for block in rows.tried if rows._is_bad(block) is False for row in block]
        assert sorted([*answered, *wrong]) == list(range(count)), "each once"


def test_one_bad_row_costs_few_tries(now_s: list[float]) -> None:
    rows = bad(77)
    find_failures(100, "together", rows.attempt, FOREVER)
    assert len(rows.tried) <= 25 + 4


def test_where_nothing_can_be_answered_few_rows_are_tried(now_s: list[float]) -> None:
    rows = Rows(lambda block: True)
    found = find_failures(1000, "together", rows.attempt, FOREVER)
    assert len(rows.tried) <= 64
    assert list(found) == list(range(1000))
    assert found[0] == "bad: range(0, 1)"


def test_a_row_is_tried_twice_on_average_at_most(now_s: list[float]) -> None:
    rows = bad(*range(0, 10_000, 200))
    found = find_failures(10_000, "together", rows.attempt, FOREVER)
    assert rows.work <= 20_000
    assert set(range(0, 10_000, 200)) <= set(found)


def test_what_is_not_tried_in_time_shares_the_error_of_its_block(now_s: list[float]) -> None:
    rows = bad(0, 99)

    def attempt(block: range) -> str | None:
        now_s[0] += LONGEST_S / 28.5
        return rows.attempt(block)

    found = find_failures(100, "together", attempt, FOREVER)
    assert len(rows.tried) == 25 + 4
    assert found == {0: "bad: range(0, 1)", **dict.fromkeys(range(96, 100), "bad: range(96, 100)")}
    assert find_failures(100, "together", attempt, now_s[0]) == dict.fromkeys(range(100), "together")


def test_what_passes_the_second_time_is_answered(now_s: list[float]) -> None:
    assert find_failures(100, "together", Rows(lambda block: False).attempt, FOREVER) == {}
    tried: list[range] = []

    def attempt(block: range) -> str | None:
        tried.append(block)
        return "once" if len(tried) == 1 else None

    assert find_failures(100, "together", attempt, FOREVER) == {}
    assert tried[0] == range(4)
    assert tried[-4:] == [range(row, row + 1) for row in range(4)]
