"""Harm of requests of many rows: how often healthy candidates are aborted, how soon bad ones, by simulation."""

import numpy as np
import polars as pl
import pytest

from loopwright.serving import StepVerdict
from loopwright.serving.rollouts.harm import Exposures, judge_harm
from tests.serving.simulated import (
    MIXED,
    Fails,
    Requests,
    Whole,
    large_ones_fail,
    parts_fail,
    requests_fail,
    rows_fail,
    split,
)


def look(exposures: Exposures, requests: Requests, begin: int, weight: float) -> StepVerdict:
    """Count further requests, the first of them recorded at ``begin``, and judge what is counted."""
    at = np.arange(begin, begin + len(requests.draws))
    sides = [
        pl.DataFrame(
            {"variant": variant, "recorded_at": at, "rows": rows, "harmed": harmed, "high": requests.draws * 1.0}
        )
        for variant, rows, harmed in zip(("champion", "candidate"), requests.rows, requests.harmed, strict=True)
    ]
    exposures.add_counted(pl.concat(sides).filter(pl.col("rows") > 0).with_columns(low=1.0))
    return judge_harm("error_rate", exposures, weight, "errors")


@pytest.mark.parametrize("sticky", [False, True])
@pytest.mark.parametrize("fails", [large_ones_fail, requests_fail(0.3)])
def test_a_healthy_canary_of_requests_of_many_sizes_goes_on(fails: Fails, sticky: bool) -> None:
    rng = np.random.default_rng(31)
    for _ in range(5):
        exposures = Exposures()
        requests = split(rng, rng.choice(MIXED, 2000), 0.05, fails, sticky=sticky)
        assert look(exposures, requests, 0, 0.05).verdict == "go"


def aborted_after(rng: np.random.Generator, size: int, weight: float, fails: Fails, most: int = 1000) -> int:
    """Return after how many requests a canary is aborted that is looked at every five."""
    exposures = Exposures()
    for begin in range(0, most, 5):
        if look(exposures, split(rng, np.full(5, size), weight, fails), begin, weight).verdict == "abort":
            return begin + 5
    return most


@pytest.mark.parametrize("weight", [0.05, 0.5])
def test_a_candidate_that_fails_more_rows_of_large_requests_is_aborted_after_few(weight: float) -> None:
    rng = np.random.default_rng(32)
    assert max(aborted_after(rng, 100, weight, rows_fail(0.01, 0.4)) for _ in range(10)) <= 40
    assert max(aborted_after(rng, 100, weight, rows_fail(0.01, 0.1)) for _ in range(5)) <= 200


def test_a_candidate_that_fails_in_more_requests_is_aborted_although_few_of_their_rows_are_harmed() -> None:
    rng = np.random.default_rng(33)
    assert max(aborted_after(rng, 20, 0.5, rows_fail(0.01, 0.05)) for _ in range(5)) <= 200


def test_requests_that_fail_whole_hide_no_harm_beyond_them() -> None:
    rng = np.random.default_rng(34)

    def fails(rng: np.random.Generator, sizes: Whole, rows: Whole) -> Whole:
        return np.maximum(requests_fail(0.6)(rng, sizes, rows), parts_fail(0.0, 0.2)(rng, sizes, rows))

    assert max(aborted_after(rng, 100, 0.5, fails) for _ in range(5)) <= 200


def test_exposures_are_counted_alike_in_whatever_parts_and_order_rows_come() -> None:
    rng = np.random.default_rng(35)
    count = 600
    rows = pl.DataFrame(
        {
            "variant": rng.choice(["champion", "candidate"], count),
            "recorded_at": np.sort(rng.integers(0, 60, count)),
            "bucket": rng.random(count),
            "is_harmed": rng.random(count) < 0.3,
        }
    )
    whole, parts = Exposures(), Exposures()
    whole.add(rows.sample(fraction=1.0, shuffle=True, seed=1))
    for begin in range(0, count, 7):
        later = rows["recorded_at"][begin + 7 :].min()
        parts.add(rows[begin : begin + 7], *([later] if later is not None else []))
    told = [judge_harm("error_rate", exposures, 0.3, "errors") for exposures in (whole, parts)]
    assert told[0] == told[1]
    shares = rows.group_by("variant", "recorded_at").agg(pl.col("is_harmed").mean())
    means = dict(shares.group_by("variant").agg(pl.col("is_harmed").mean()).iter_rows())
    assert (told[0].champion, told[0].candidate) == pytest.approx((means["champion"], means["candidate"]))
