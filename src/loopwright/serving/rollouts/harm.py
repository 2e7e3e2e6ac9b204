"""Harm of a candidate: exposures counted part by part, and whether the candidate's part of them is harmed more.

What is counted are exposures, not rows: rows that were recorded at the same microsecond were answered in one batch,
fail together and are slow together, so they count once, each variant's part with the share of its rows that is harmed.
"""

from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from loopwright.serving.statistics import ABORT_AT, Floats, Harm, harm_e_value, harm_share
from loopwright.serving.types import CANDIDATE, CHAMPION, StepVerdict, verdict_alone

TOLERATED = 0.01
"""Harm beyond the champion's rate that is let pass while nothing proves it: this share of exposures, or one of them."""
NEVER = (1 << 63) - 1
"""Later than anything was recorded: no part follows."""
ONE_ROW = {"low": pl.col("bucket"), "high": pl.col("bucket"), "rows": pl.lit(1, pl.Int64)}
"""What ``Exposures.add_counted`` takes, of one row of the log."""
_COUNTED = pl.Schema(
    {
        "variant": pl.String(),
        "recorded_at": pl.Int64(),
        "low": pl.Float64(),
        "high": pl.Float64(),
        "rows": pl.Int64(),
        "harmed": pl.Int64(),
    }
)
_SIZES = 32
_UNIT = float(1 << 32)
"""Shares are summed as whole multiples of 1/_UNIT: the sum is the same to the bit in whatever order they come."""


class Tally(NamedTuple):
    """Exposures by size, float64 (sizes,): those that the variants had, and their harm, once an exposure and in shares.

    ``draws`` is in how many draws rows of an exposure were given to the variants, at most: a power of two.
    """

    draws: Floats
    champion: Floats
    candidate: Floats
    often: Harm
    much: Harm


class Exposures:
    """Counts the exposures of both variants and their harm by size, from rows that come part by part.

    An exposure is kept apart only while a later part may hold more of its rows, and counts when none may; ``rows`` is
    how many rows there were.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._open = pl.DataFrame(schema=_COUNTED)
        self._sums = np.zeros((_SIZES, 8), np.int64)

    def add(self, rows: pl.DataFrame, closed_before: int = NEVER) -> None:
        """Take rows with ``variant, recorded_at, bucket, is_harmed``; later ones were recorded then or after it."""
        counts = {**ONE_ROW, "harmed": pl.col("is_harmed").cast(pl.Int64)}
        self.add_counted(rows.select("variant", "recorded_at", **counts), closed_before)

    def add_counted(self, counted: pl.DataFrame, closed_before: int = NEVER) -> None:
        """Take ``rows`` rows a line, ``harmed`` of them harmed, in buckets from ``low`` to ``high``."""
        self.rows += int(counted["rows"].sum())
        known = pl.concat([self._open, counted.select(_COUNTED.names())])
        sums = pl.col("low").min(), pl.col("high").max(), pl.col("rows").sum(), pl.col("harmed").sum()
        grouped = known.group_by("variant", "recorded_at").agg(sums)
        is_open = pl.col("recorded_at") >= closed_before
        self._count(grouped.filter(~is_open))
        self._open = grouped.filter(is_open)

    def _count(self, closed: pl.DataFrame) -> None:
        variants = CHAMPION, CANDIDATE
        sums = (
            pl.col(name).filter(pl.col("variant") == variant).sum().alias(f"{variant} {name}")
            for variant in variants
            for name in ("rows", "harmed")
        )
        together = closed.group_by("recorded_at").agg(*sums, is_one=pl.col("low").min() == pl.col("high").max())
        rows, harmed = (
            np.stack([together[f"{variant} {name}"].to_numpy() for variant in variants]) for name in ("rows", "harmed")
        )
        # Rows of one bucket are given to a variant in one draw; other rows have a draw each, or fewer of one caller.
        draws = np.where(together["is_one"].fill_null(value=False).to_numpy(), 1, rows.sum(axis=0))
        columns = list((rows > 0).astype(np.float64))
        for champion, candidate in ((harmed > 0).astype(np.float64), harmed / np.maximum(rows, 1)):
            both = np.minimum(champion, candidate)
            columns += [candidate - both, champion - both, both]
        sizes = np.frexp(draws - 1)[1]
        np.add.at(self._sums, sizes, np.rint(np.column_stack(columns) * _UNIT).astype(np.int64))

    def tally(self) -> Tally:
        """Return what was counted, of sizes that occurred."""
        sizes = np.flatnonzero(self._sums[:, :2].sum(axis=1))
        champion, candidate, *harm = self._sums[sizes].T / _UNIT
        return Tally(np.exp2(sizes), champion, candidate, Harm(*harm[:3]), Harm(*harm[3:]))


def judge_harm(metric: str, exposures: Exposures, weight: float, what: str, *, needs_proof: bool = True) -> StepVerdict:
    """Judge whether the candidate's part of exposures is harmed more than the champion's.

    Abort on evidence of harm. Undecided while harm is seen but not proven, and while the exposures are so few that not
    even harm at every one of them would have been proof.

    Args:
        metric: Name of the verdict.
        exposures: Of both variants.
        weight: The candidate's share of traffic, 0..1.
        what: Harm in words.
        needs_proof: False lets few exposures pass as long as they show no harm.
    """
    tally = exposures.tally()
    bad, champion_bad = tally.much.candidate + tally.much.both, tally.much.champion + tally.much.both
    all_, champion_all = int(tally.candidate.sum()), int(tally.champion.sum())
    if all_ == 0:
        return verdict_alone(metric, "undecided", "the candidate has not answered yet")
    # The larger of planned and seen share can only weaken the evidence, so an uneven split raises no false alarm.
    seen = tally.candidate / (tally.candidate + tally.champion)
    share = np.maximum(harm_share(weight, tally.draws), seen)
    # E-values, because a canary is looked at hourly: a test made for one look aborts 3 of 10 healthy canaries by 40.
    # Their mean is one too, and finds harm of few rows of many requests as well as harm of many rows of few.
    evidence = (harm_e_value(tally.often, share) + harm_e_value(tally.much, share)) / 2.0
    usual = champion_bad / np.maximum(tally.champion, 1.0) * tally.candidate
    verdict: Literal["go", "abort", "undecided"] = "go"
    words = f"below {ABORT_AT:.0f}"
    if evidence >= ABORT_AT:
        verdict, words = "abort", "enough to abort"
    # Seen harm that is not proven yet does not pass: 5 failures of 8 exposures, at even odds, are an e-value of 8.
    elif evidence > 1.0 and float((bad - usual).sum()) > max(1.0, TOLERATED * all_):
        verdict, words = "undecided", f"harm is seen, {ABORT_AT:.0f} would prove it"
    # Where not even harm at every exposure would have been proof, seeing none says nothing.
    elif needs_proof and harm_e_value(Harm(tally.candidate, bad * 0.0, bad * 0.0), share) < ABORT_AT:
        verdict, words = "undecided", "too few exposures to prove any harm"
    rate, champion_rate = float(bad.sum()) / all_, float(champion_bad.sum()) / champion_all if champion_all else None
    message = (
        f"{what}: {_told(bad)} of {all_} exposures at the candidate, {_told(champion_bad)} of {champion_all} at the "
        f"champion; evidence of harm {evidence:.3g}, {words}"
    )
    difference = None if champion_rate is None else champion_rate - rate
    return StepVerdict(0, metric, champion_rate, rate, difference, None, None, verdict, message, exposures.rows)


def _told(harm: Floats) -> str:
    """Return summed shares in words: of 100 rows of one exposure 40 harmed are 0.4.

    >>> _told(np.array([3.0, 0.4])), _told(np.array([1234567.0]))
    ('3.4', '1234567')
    """
    return f"{round(float(harm.sum()), 2):.15g}"
