"""Coarser bins."""

import numpy as np
import polars as pl

from loopwright.monitoring.drift.grouping import group_counts, null_mean, smoothed_shares
from tests.monitoring.drift.conftest import count, freeze


def test_numbers_fall_into_sixteen_groups_of_equal_mass() -> None:
    like = freeze(pl.Series(np.arange(6_400.0)))
    before, after = group_counts(like, count(pl.Series(np.arange(0.0, 6_400.0, 4)), like))
    assert len(before) == 16
    assert set(before) == {400.0}
    assert set(after) == {100.0}


def test_few_values_keep_their_own_groups() -> None:
    like = freeze(pl.Series([0.0] * 50 + [1.0] * 50))
    before, _ = group_counts(like, like)
    assert before.tolist() == [50, 50]


def test_rare_and_unseen_levels_join() -> None:
    like = freeze(pl.Series(["a"] * 900 + [f"r{i}" for i in range(100)]))
    before, after = group_counts(like, count(pl.Series(["a"] * 90 + ["r1"] * 5 + ["new"] * 5), like))
    assert sorted(zip(before.tolist(), after.tolist(), strict=True)) == [(100, 10), (900, 90)]


def test_no_smoothed_share_is_zero_and_all_sum_to_one() -> None:
    shares = smoothed_shares(np.array([0.0, 10.0]))
    assert shares.min() > 0
    assert shares.sum() == 1
    assert null_mean(np.array([50.0, 50.0]), np.array([50.0, 50.0])) == 0.02
