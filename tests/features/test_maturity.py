"""Lags of labels against the process that made them, and against the formula written out."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.features.maturity import embargo, lag_curve, learn_lag, tell_lag
from loopwright.kernel.clock import DAY_US
from loopwright.kernel.errors import InvalidInput

pairs = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)).map(sorted), min_size=1, max_size=30)


@given(pairs)
def test_the_curve_is_the_product_limit_in_reversed_time(seen: list[list[int]]) -> None:
    lag, age = (np.array(column) for column in zip(*seen, strict=True))
    lags, share = lag_curve(lag, age)
    for at, found in zip(lags.tolist(), share.tolist(), strict=True):
        expected = 1.0
        for longer in sorted({one for one, _ in seen if one > at}, reverse=True):
            came = sum(one == longer for one, _ in seen)
            at_risk = sum(one <= longer <= old for one, old in seen)
            expected *= 1 - came / at_risk
        assert found == pytest.approx(expected, abs=1e-12)


def world(days: int, seed: int = 7) -> tuple[pl.Series, np.ndarray, np.ndarray]:
    """Rows of some years: those that fail are known after some 30 days, the others after some 200."""
    chance = np.random.default_rng(seed)
    event_at = np.sort(chance.integers(0, days, 60_000)) * DAY_US
    is_bad = chance.random(60_000) < 0.3
    lag = np.where(is_bad, chance.gamma(2, 15, 60_000), chance.gamma(20, 10, 60_000))
    return pl.Series(is_bad).cast(pl.Float64), event_at, event_at + (lag * DAY_US).astype(np.int64)


def test_labels_that_are_here_do_not_make_it_look_quick() -> None:
    label, event_at, known_at = world(900)
    now = 900 * DAY_US
    lag = learn_lag(label, event_at, known_at, now)
    true = np.quantile((known_at - event_at) / DAY_US, [0.5, 0.9, 0.99])
    assert [found / DAY_US for found in lag.quantiles.values()] == pytest.approx(true, rel=0.03)
    slow = np.quantile((known_at - event_at)[label.to_numpy() == 0] / DAY_US, 0.99)
    assert embargo(lag, 0.99) / DAY_US == pytest.approx(slow, rel=0.04)
    assert lag.by_class["1.0"]["0.99"] < lag.by_class["0.0"]["0.5"]
    assert lag.waiting_rows == (known_at > now).sum()
    # What is here already is quicker than what is true: the error that this is for.
    naive = np.quantile((known_at - event_at)[known_at <= now] / DAY_US, 0.5)
    young = learn_lag(label, event_at, known_at, 330 * DAY_US)
    assert naive < true[0]
    assert young.quantiles["0.5"] / DAY_US == pytest.approx(true[0], rel=0.1)
    assert "99% after" in tell_lag(lag)


def test_labels_that_never_come_and_rows_to_come_change_nothing() -> None:
    label, event_at, known_at = world(900)
    now = 800 * DAY_US
    never = label.set(pl.Series(np.arange(len(label)) % 5 == 0), None)
    lag, all_of_them = (learn_lag(each, event_at, known_at, now) for each in (never, label))
    assert lag.quantiles["0.99"] == pytest.approx(all_of_them.quantiles["0.99"], rel=0.02)
    is_past = event_at <= now
    past = learn_lag(label.filter(pl.Series(is_past)), event_at[is_past], known_at[is_past], now)
    assert past == all_of_them


def test_what_cannot_be_learned_is_said() -> None:
    label, event_at, known_at = world(900)
    with pytest.raises(InvalidInput, match="150 labels are too few to learn when 99% of them are known"):
        embargo(learn_lag(label[:150], event_at[:150], known_at[:150], 900 * DAY_US), 0.99)
    with pytest.raises(InvalidInput, match="labels still come after that time"):
        embargo(learn_lag(label, event_at, known_at, 120 * DAY_US), 0.99)


def test_a_class_that_is_there_for_a_short_time_only_is_not_ripe_for_being_rare() -> None:
    chance = np.random.default_rng(3)
    now, rows = 1000 * DAY_US, 20_000
    is_fraud = np.arange(rows) % 4 == 0
    event_at = now - (np.where(is_fraud, chance.uniform(0, 60, rows), chance.uniform(0, 1000, rows)) * DAY_US).astype(
        int
    )
    lag = np.where(is_fraud, chance.uniform(0, 300, rows), chance.uniform(0, 10, rows))
    label = pl.Series(np.where(is_fraud, "fraud", "ok"))
    learned = learn_lag(label, event_at, event_at + (lag * DAY_US).astype(int), now)
    with pytest.raises(InvalidInput, match=r"rows of class fraud are \d+d old at most, and labels still come"):
        embargo(learned, 0.99)


def test_quantiles_are_exact_and_no_number_is_no_label() -> None:
    now = 10_000 * DAY_US
    lag = np.arange(1, 1001) * DAY_US
    event_at = np.zeros(1001, np.int64)
    learned = learn_lag(pl.Series([1.0] * 1001), event_at, np.append(lag, now + 1), now)
    assert [days // DAY_US for days in learned.quantiles.values()] == [500, 900, 990]
    with_nan = learn_lag(
        pl.Series([1.0] * 1000 + [float("nan")] * 1000), np.zeros(2000, np.int64), np.append(lag, lag * 0), now
    )
    assert with_nan.quantiles == learned.quantiles
    assert with_nan.waiting_rows == 1000
