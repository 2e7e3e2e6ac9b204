"""Harm of a candidate: exposures counted part by part, and whether harm falls on it more than its share.

What is counted are exposures, not rows: the rows of one variant that were recorded at the same microsecond were
answered in one batch, fail together and are slow together, so they count once.
"""

from typing import Literal

import polars as pl

from loopwright.serving.statistics import ABORT_AT, harm_e_value
from loopwright.serving.types import CANDIDATE, CHAMPION, StepVerdict, verdict_alone

TOLERATED = 0.01
"""Harm beyond the champion's rate that is let pass while nothing proves it: this share of exposures, or one of them."""
NEVER = (1 << 63) - 1
"""Later than anything was recorded: no part follows."""
_KEY = ["variant", "recorded_at"]


class Exposures:
    """Counts the exposures of each variant, and those that were harmed, from rows that come part by part.

    An exposure is kept apart only while a later part may hold more of its rows; ``rows`` is how many rows there were.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._open = pl.DataFrame(schema={"variant": pl.String(), "recorded_at": pl.Int64(), "is_harmed": pl.Boolean()})
        self._closed: dict[str, tuple[int, int]] = {}

    def add(self, rows: pl.DataFrame, closed_before: int = NEVER) -> None:
        """Take rows with ``variant, recorded_at, is_harmed``; whatever comes later was recorded then or after it."""
        self.rows += rows.height
        known = pl.concat([self._open, rows.select(self._open.columns)])
        grouped = known.group_by(_KEY).agg(pl.col("is_harmed").any())
        is_open = pl.col("recorded_at") >= closed_before
        counted = grouped.filter(~is_open).group_by("variant").agg(pl.len(), pl.col("is_harmed").sum())
        for variant, all_, bad in counted.iter_rows():
            before = self._closed.get(variant, (0, 0))
            self._closed[variant] = before[0] + all_, before[1] + bad
        self._open = grouped.filter(is_open)

    def of(self, variant: str) -> tuple[int, int]:
        """Return how many exposures a variant had, and how many of them were harmed."""
        closed, left = self._closed.get(variant, (0, 0)), self._open.filter(pl.col("variant") == variant)
        return closed[0] + left.height, closed[1] + int(left["is_harmed"].sum())


def judge_harm(metric: str, exposures: Exposures, weight: float, what: str, *, needs_proof: bool = True) -> StepVerdict:
    """Judge whether harm falls on the candidate more than its share.

    Abort on evidence of harm. Undecided while harm is seen but not proven, and while the exposures are so few that not
    even harm at every one of them would have been proof.

    Args:
        metric: Name of the verdict.
        exposures: Of both variants.
        weight: The candidate's share of traffic, 0..1.
        what: Harm in words.
        needs_proof: False lets few exposures pass as long as they show no harm.
    """
    (champion_all, champion_bad), (all_, bad) = exposures.of(CHAMPION), exposures.of(CANDIDATE)
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
    return StepVerdict(0, metric, champion_rate, rate, difference, None, None, verdict, message, exposures.rows)
