"""Guards of a canary on frames."""

from typing import Any

import numpy as np
import polars as pl
import pytest

from loopwright.serving.rollouts.guards import ErrorRate, LatencyP99
from loopwright.store.streams import OTHER_ROW_FAILED
from tests.serving.rollouts.folding import judge_by

error_rate, latency_p99 = judge_by(ErrorRate), judge_by(LatencyP99)


def traffic(
    rows: int,
    weight: float,
    *,
    errors: tuple[float, float] = (0.0, 0.0),
    slower: float = 1.0,
    batch: int = 1,
    seed: int = 1,
) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    is_candidate = rng.random(rows) < weight
    failed = rng.random(rows) < np.where(is_candidate, errors[1], errors[0])
    latency = rng.lognormal(7, 0.3, rows) * np.where(is_candidate, slower, 1.0)
    return pl.DataFrame(
        {
            "variant": np.where(is_candidate, "candidate", "champion"),
            "event_at": np.arange(rows) // batch,
            "recorded_at": np.arange(rows) // batch,
            "bucket": np.arange(rows) / rows,
            "latency_us": latency.astype(np.int64),
            "error": pl.Series(np.where(failed, "failed", ""), dtype=pl.String()).replace("", None),
        }
    )


BEFORE = traffic(1000, 0.0, seed=2)


def test_like_errors_are_no_evidence() -> None:
    found = error_rate(traffic(5000, 0.1, errors=(0.02, 0.02)), BEFORE, 0.1)
    assert found.verdict == "go"
    assert "evidence of harm" in found.message


def test_more_errors_abort_and_the_message_has_the_numbers() -> None:
    found = error_rate(traffic(5000, 0.1, errors=(0.01, 0.2)), BEFORE, 0.1)
    assert found.verdict == "abort"
    assert found.candidate is not None
    assert found.candidate > 0.1
    assert "at the candidate" in found.message


def test_rows_that_got_no_answer_because_another_row_failed_are_no_harm() -> None:
    rows = traffic(5000, 0.1)
    is_beside = (pl.col("variant") == "candidate") & (pl.int_range(pl.len()) % 2 == 0)
    beside = rows.with_columns(error=pl.when(is_beside).then(pl.lit(OTHER_ROW_FAILED)))
    found = error_rate(beside, BEFORE, 0.1)
    assert (found.verdict, found.candidate) == ("go", 0.0)
    blamed = beside.with_columns(pl.col("error").str.replace("another", "this"))
    assert error_rate(blamed, BEFORE, 0.1).verdict == "abort"


def exposures(champion: list[bool], candidate: list[bool]) -> pl.DataFrame:
    """One row an exposure, with whether it failed."""
    failed = [*champion, *candidate]
    return pl.DataFrame(
        {
            "variant": ["champion"] * len(champion) + ["candidate"] * len(candidate),
            "event_at": np.arange(len(failed)),
            "recorded_at": np.arange(len(failed)),
            "bucket": 0.5,
            "latency_us": 1000,
            "error": pl.Series(["failed" if one else None for one in failed], dtype=pl.String()),
        }
    )


def test_harm_that_is_seen_but_not_proven_is_undecided() -> None:
    found = error_rate(exposures([False] * 30, [True, True, True] + [False] * 27), BEFORE, 0.5)
    assert found.verdict == "undecided"
    assert "harm is seen" in found.message


def test_one_hiccup_is_no_harm() -> None:
    assert error_rate(exposures([False] * 380, [True] + [False] * 19), BEFORE, 0.05).verdict == "go"


def test_harm_that_thins_out_is_let_pass() -> None:
    assert error_rate(exposures([False] * 300, [True] * 2 + [False] * 298), BEFORE, 0.5).verdict == "go"


def test_so_few_exposures_that_none_could_have_aborted_are_undecided() -> None:
    assert error_rate(exposures([False] * 6, [False] * 6), BEFORE, 0.5).verdict == "undecided"
    assert error_rate(exposures([False] * 7, [True] * 7), BEFORE, 0.5).verdict == "abort"
    assert error_rate(exposures([False] * 7, [False] * 7), BEFORE, 0.5).verdict == "go"
    assert error_rate(exposures([False] * 57, [False] * 3), BEFORE, 0.05).verdict == "go"


def test_nothing_answered_is_undecided() -> None:
    assert error_rate(traffic(100, 0.0), BEFORE, 0.1).verdict == "undecided"


def test_a_slow_candidate_aborts_and_a_like_one_does_not() -> None:
    assert latency_p99(traffic(5000, 0.1, slower=10.0), BEFORE, 0.1).verdict == "abort"
    assert latency_p99(traffic(5000, 0.1), BEFORE, 0.1).verdict == "go"


def test_a_little_slower_is_not_harm() -> None:
    assert latency_p99(traffic(5000, 0.1, slower=1.2), BEFORE, 0.1).verdict == "go"


def test_without_earlier_rows_the_step_s_first_rows_set_the_bound() -> None:
    nothing: Any = BEFORE.head(0)
    assert latency_p99(traffic(5000, 0.1, slower=10.0), nothing, 0.1).verdict == "abort"
    assert latency_p99(traffic(5000, 0.1), nothing, 0.1).verdict == "go"
    assert latency_p99(traffic(50, 0.1), nothing, 0.1).verdict == "undecided"


def test_a_batch_that_fails_together_counts_once() -> None:
    rows = traffic(600, 0.1, batch=60).with_columns(
        error=pl.when((pl.col("recorded_at") == 3) & (pl.col("variant") == "candidate")).then(pl.lit("hiccup"))
    )
    assert rows["error"].count() >= 4
    assert error_rate(rows, BEFORE, 0.1).verdict == "go"


def test_a_general_outage_does_not_blame_the_candidate() -> None:
    found = error_rate(traffic(5000, 0.25, errors=(0.5, 0.5)), BEFORE, 0.25)
    assert found.verdict == "go"


def test_a_large_request_counts_with_the_share_of_its_rows_that_fail() -> None:
    found = error_rate(traffic(6000, 0.05, errors=(0.01, 0.4), batch=100), BEFORE, 0.05)
    assert found.verdict == "abort"
    assert (found.champion, found.candidate) == (pytest.approx(0.01, abs=0.01), pytest.approx(0.4, abs=0.1))
    assert error_rate(traffic(6000, 0.05, errors=(0.2, 0.2), batch=100), BEFORE, 0.05).verdict == "go"


def test_large_requests_that_fail_more_than_small_ones_do_not_blame_the_candidate_that_has_rows_of_them_all() -> None:
    small = traffic(4000, 0.05, seed=3)
    large = traffic(20_000, 0.05, errors=(0.1, 0.1), batch=100, seed=4)
    rows = pl.concat([small, large.with_columns(pl.col("recorded_at") + 10_000)])
    assert error_rate(rows, BEFORE, 0.05).verdict == "go"


def test_rows_of_one_caller_are_one_draw() -> None:
    at = np.arange(3000) // 50
    is_candidate = at % 20 == 7
    failed = pl.Series(np.where(is_candidate, "failed", "")).replace("", None)
    named = {"variant": np.where(is_candidate, "candidate", "champion"), "error": failed, "latency_us": 1000}
    rows = pl.DataFrame({**named, "event_at": at, "recorded_at": at, "bucket": at / 60})
    assert error_rate(rows, BEFORE, 0.05).verdict == "abort"
    of_many = rows.with_columns(bucket=pl.Series(np.arange(3000) / 3000))
    assert error_rate(of_many, BEFORE, 0.05).verdict == "undecided"


@pytest.mark.parametrize("before", [BEFORE, BEFORE.head(0)])
def test_a_candidate_that_is_slow_with_some_rows_of_each_request_aborts(before: pl.DataFrame) -> None:
    rows = traffic(8000, 0.05, batch=100)
    is_slow = (pl.col("variant") == "candidate") & (pl.int_range(pl.len()) % 3 == 0)
    slow = rows.with_columns(latency_us=pl.when(is_slow).then(10**6).otherwise("latency_us"))
    found = latency_p99(slow, before, 0.05)
    assert found.verdict == "abort"
    assert found.candidate == pytest.approx(0.33, abs=0.1)
    assert latency_p99(rows, before, 0.05).verdict == "go"
