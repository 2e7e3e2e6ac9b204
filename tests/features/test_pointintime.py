"""The point-in-time rule against a twenty-line oracle."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.features.pointintime import (
    EXPIRED,
    FOUND,
    NEVER,
    NO_ROW,
    NOT_FOUND,
    NOT_YET_KNOWN,
    Owned,
    latest_known,
)

Row = tuple[int, int, int, int]

rows = st.lists(
    st.tuples(st.integers(0, 3), st.integers(-8, 8), st.one_of(st.integers(-8, 12), st.just(NEVER)), st.integers(0, 4)),
    max_size=25,
)
queries = st.lists(st.tuples(st.integers(-1, 4), st.integers(-9, 13)), max_size=12)


def oracle(
    found: list[Row], entity: int, at: int, ttl: int | None, own: int = -1
) -> tuple[tuple[int, int, int] | None, int]:
    """The rule as a person would check it: another row, happened, known, greatest, young enough."""
    others = [row for place, row in enumerate(found) if place % 5 != own]
    happened = [row for row in others if row[0] == entity and row[1] <= at]
    candidates = [(event, known, sequence) for _, event, known, sequence in happened if known <= at]
    if not happened:
        return None, NOT_FOUND
    if not candidates:
        return None, NOT_YET_KNOWN
    winner = max(candidates)
    if ttl is not None and at - winner[0] > ttl:
        return None, EXPIRED
    return winner, FOUND


def ask(found: list[Row], asked: list[tuple[int, int]], ttl: int | None, scale: int = 1) -> list[tuple[object, int]]:
    entity, event, known, sequence = np.array(found, np.int64).reshape(-1, 4).T
    event = event * scale
    known = np.where(known == NEVER, NEVER, np.where(known == NEVER, 0, known) * scale)
    who, at = np.array(asked, np.int64).reshape(-1, 2).T
    winners = latest_known(entity, event, known, sequence, who, at * scale, None if ttl is None else ttl * scale)
    answers: list[tuple[object, int]] = []
    for index, reason in zip(winners.rows, winners.reasons, strict=True):
        row = None if index < 0 else tuple(found[index][1:])
        answers.append((row, int(reason)))
    return answers


@given(rows, queries, st.one_of(st.none(), st.integers(0, 10)))
def test_it_is_the_oracle(found: list[Row], asked: list[tuple[int, int]], ttl: int | None) -> None:
    assert ask(found, asked, ttl) == [oracle(found, entity, at, ttl) for entity, at in asked]


@given(rows, queries, st.one_of(st.none(), st.integers(0, 10)))
def test_a_row_is_left_out_of_what_is_asked_for_it(
    found: list[Row], asked: list[tuple[int, int]], ttl: int | None
) -> None:
    """Rows of one identity are versions of one row; two of three queries name one."""
    entity, event, known, sequence = np.array(found, np.int64).reshape(-1, 4).T
    who, at = np.array(asked, np.int64).reshape(-1, 2).T
    own = np.array([place % 5 if place % 3 else NO_ROW for place in range(len(asked))], np.int64)
    owned = Owned(np.arange(len(found)) % 5, own)
    winners = latest_known(entity, event, known, sequence, who, at, ttl, owned)
    for place, (row, reason) in enumerate(zip(winners.rows.tolist(), winners.reasons.tolist(), strict=True)):
        answer = None if row < 0 else tuple(found[row][1:])
        assert (answer, reason) == oracle(found, *asked[place], ttl, int(own[place]))


def test_a_row_before_many_that_are_known_much_later_is_found() -> None:
    """A step back each would take a second for each of them, and one for each query."""
    many = 5_000
    event = np.concatenate([[0], np.arange(1, many), [many]])
    known = np.concatenate([[0], np.full(many - 1, NEVER), [many]])
    zeros, identity = np.zeros(many + 1, np.int64), np.arange(many + 1)
    asked = np.zeros(3, np.int64)
    owned = Owned(identity, np.array([many, NO_ROW, many], np.int64))
    winners = latest_known(zeros, event, known, zeros, asked, np.full(3, many), None, owned)
    assert winners.rows.tolist() == [0, many, 0]


@given(rows, queries)
def test_moments_too_wide_to_pack_give_the_same(found: list[Row], asked: list[tuple[int, int]]) -> None:
    assert ask(found, asked, 3, scale=2**57) == ask(found, asked, 3)


@pytest.mark.parametrize(("age", "reason"), [(7, FOUND), (8, EXPIRED)])
def test_the_time_to_live_is_inclusive(age: int, reason: int) -> None:
    assert ask([(0, 0, 0, 0)], [(0, age)], 7)[0][1] == reason


def test_a_value_may_be_known_before_it_happens() -> None:
    forecast = [(0, 5, 1, 0)]
    assert [reason for _, reason in ask(forecast, [(0, 4), (0, 5)], None)] == [NOT_FOUND, FOUND]
