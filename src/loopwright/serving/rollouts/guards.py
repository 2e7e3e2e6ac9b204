"""Guards of a canary: what abort it on evidence of harm. Each compares candidate and champion while both serve.

What is counted are exposures, not rows: the rows of one variant that were recorded at the same microsecond were
answered in one batch, fail together and are slow together, so they count once.
"""

from typing import Literal

import polars as pl

from loopwright.serving.statistics import ABORT_AT, harm_e_value
from loopwright.serving.types import CANDIDATE, CHAMPION, StepVerdict, verdict_alone

SLOWER = 1.5
"""Harmfully slow is more than this times the champion's p99 before the step …"""
SLOWER_US = 5_000
"""… and at least this much above it, microseconds."""
TOLERATED = 0.01
"""Harm beyond the champion's rate that is let pass while nothing proves it: this share of exposures, or one of them."""
_LEAST_BEFORE = 100


def error_rate(rows: pl.DataFrame, before: pl.DataFrame, weight: float) -> StepVerdict:
    """Judge whether the candidate fails more often than the champion.

    Args:
        rows: Served rows of the step with ``variant, error, latency_us, recorded_at, event_at``, and with ``score,
            answer, label, label_text`` for guards on quality.
        before: Served rows of the champion before the step.
        weight: The candidate's share of traffic, 0..1.
    """
    return judge_harm("error_rate", rows.with_columns(is_harmed=pl.col("error").is_not_null()), weight, "errors")


def latency_p99(rows: pl.DataFrame, before: pl.DataFrame, weight: float) -> StepVerdict:
    """Judge whether the candidate is harmfully slow more often than the champion.

    The bound comes from the champion's p99 before the step; without enough rows there, from its first rows in the step,
    which then do not count. Either way the bound is fixed before what is counted, so looking often does no harm.
    """
    ordered = rows.sort("event_at", "recorded_at")
    if len(before) < _LEAST_BEFORE:
        champion = ordered.filter(pl.col("variant") == CHAMPION)
        if len(champion) <= _LEAST_BEFORE:
            message = f"too few rows of the champion to know its latency ({len(before)} before the step)"
            return verdict_alone("latency_p99", "undecided", message, len(rows))
        before = champion.head(_LEAST_BEFORE)
        begins_at = int(before["recorded_at"][-1])
        ordered = ordered.filter(pl.col("recorded_at") > begins_at)
    usual = float(before["latency_us"].quantile(0.99, "higher") or 0.0)
    # Beyond the p99 itself lies one answer of a hundred on either side, whoever answers: the bound leaves room for that
    # and for the few milliseconds that a busy machine adds to a fast model.
    bound_us = max(SLOWER * usual, usual + SLOWER_US)
    slow = ordered.with_columns(is_harmed=pl.col("latency_us") > bound_us)
    return judge_harm("latency_p99", slow, weight, f"answers slower than {bound_us / 1000:.1f} ms")


def exposures_of(rows: pl.DataFrame) -> pl.DataFrame:
    """Return one row an exposure, ``variant, recorded_at``, from rows that have these columns."""
    return rows.select("variant", "recorded_at").unique()


def judge_harm(metric: str, rows: pl.DataFrame, weight: float, what: str, *, needs_proof: bool = True) -> StepVerdict:
    """Judge whether harm falls on the candidate more than its share.

    Abort on evidence of harm. Undecided while harm is seen but not proven, and while the exposures are so few that not
    even harm at every one of them would have been proof.

    Args:
        metric: Name of the verdict.
        rows: ``variant, recorded_at, is_harmed``.
        weight: The candidate's share of traffic, 0..1.
        what: Harm in words.
        needs_proof: False lets few exposures pass as long as they show no harm.
    """
    exposures = rows.group_by("variant", "recorded_at").agg(pl.col("is_harmed").any())
    counts = {
        variant: (len(part), int(part["is_harmed"].sum()))
        for variant in (CHAMPION, CANDIDATE)
        for part in [exposures.filter(pl.col("variant") == variant)]
    }
    (champion_all, champion_bad), (all_, bad) = counts[CHAMPION], counts[CANDIDATE]
    if all_ == 0:
        return verdict_alone(metric, "undecided", "the candidate has not answered yet")
    # The larger of planned and seen share can only weaken the evidence, so an uneven split raises no false alarm.
    share = max(weight, all_ / (all_ + champion_all))
    # An e-value, because a canary is looked at hourly: a test made for one look aborts 3 of 10 healthy canaries by 40.
    evidence = harm_e_value(bad, bad + champion_bad, share)
    champion_rate = champion_bad / champion_all if champion_all else None
    verdict: Literal["go", "abort", "undecided"] = "go"
    words = f"below {ABORT_AT:.0f}"
    if evidence >= ABORT_AT:
        verdict, words = "abort", "enough to abort"
    # Seen harm that is not proven yet does not pass: 5 failures of 8 exposures are an e-value of 16.5, no proof yet.
    elif evidence > 1.0 and bad - (champion_rate or 0.0) * all_ > max(1.0, TOLERATED * all_):
        verdict, words = "undecided", f"harm is seen, {ABORT_AT:.0f} would prove it"
    # Where not even harm at every exposure would have been proof, seeing none says nothing.
    elif needs_proof and harm_e_value(all_, all_, share) < ABORT_AT:
        verdict, words = "undecided", "too few exposures to prove any harm"
    message = (
        f"{what}: {bad} of {all_} exposures at the candidate, {champion_bad} of {champion_all} at the champion; "
        f"evidence of harm {evidence:.3g}, {words}"
    )
    rate = bad / all_
    difference = None if champion_rate is None else champion_rate - rate
    return StepVerdict(0, metric, champion_rate, rate, difference, None, None, verdict, message, len(rows))
