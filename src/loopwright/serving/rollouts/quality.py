"""Guards on quality: what abort a canary when labels that came in show that the candidate's answers are worse.

Candidate and champion answer different requests, drawn at random, so their measures are independent. Looking often does
no harm: the interval is an asymptotic confidence sequence, valid at all looks together (Waudby-Smith, Arbour, Sinha,
Kennedy, Ramdas: Time-uniform central limit theory and asymptotic confidence sequences, 2021).
"""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import numpy as np
import polars as pl

from loopwright.registry import metrics
from loopwright.serving.rollouts.harm import TOLERATED
from loopwright.serving.statistics import ABORT_AT, Floats, in_words
from loopwright.serving.types import CANDIDATE, CHAMPION, StepVerdict, verdict_alone

LEAST_LABELS = 50
"""Fewer labelled requests of either variant say nothing."""
SPARED, SPARED_SHARE = 0.05, 0.1
"""Passes if it is shown, at 95 %, not to be worse by more than this much, or by this share of the champion's error."""
_LEAST_OF_A_CLASS = 10
_NARROWEST_AT = 500
"""The number of labels at which the interval is tuned to be narrowest."""

Measured = tuple[float, float]
"""A measure, more is better, and its variance."""


class _Quality(ABC):
    """Keeps the label and the score of each answer whose outcome is known, and judges a measure of them."""

    reads: ClassVar[tuple[str, ...]] = ("score", "label")
    metric: ClassVar[str]

    def __init__(self, weight: float, before: pl.LazyFrame) -> None:
        self._parts: dict[str, list[tuple[Floats, Floats]]] = {CHAMPION: [], CANDIDATE: []}

    def add(self, rows: pl.DataFrame, closed_before: int) -> None:
        """Keep what has a label."""
        labelled = rows.drop_nulls(["label", "score"])
        for variant, parts in self._parts.items():
            side = labelled.filter(pl.col("variant") == variant)
            parts.append((side["label"].to_numpy(), side["score"].to_numpy()))

    @abstractmethod
    def measure(self, labels: Floats, scores: Floats) -> Measured | None:
        """Return the measure of answers; None where it has none yet."""

    @abstractmethod
    def bounds(self, champion: float) -> tuple[float, float]:
        """Return by how much less than the champion's is harm, and by how much is not much worse."""

    def verdict(self) -> StepVerdict:
        """Say whether the candidate's answers are worse."""
        sides = [[np.concatenate(values) for values in zip(*parts, strict=True)] for parts in self._parts.values()]
        counts = [len(labels) for labels, _ in sides]
        champion, candidate = (self.measure(labels, scores) for labels, scores in sides)
        if min(counts) < LEAST_LABELS or champion is None or candidate is None:
            message = (
                f"{self.metric}: labels of {counts[1]} requests of the candidate and {counts[0]} of the champion are "
                f"known, too few to judge"
            )
            return verdict_alone(self.metric, "undecided", message, sum(counts))
        return _compare(self.metric, champion, candidate, counts, self.bounds(champion[0]))


def _compare(
    metric: str, champion: Measured, candidate: Measured, counts: list[int], bounds: tuple[float, float]
) -> StepVerdict:
    difference, spread = candidate[0] - champion[0], (champion[1] + candidate[1]) ** 0.5
    half = interval_factor(sum(counts)) * spread
    tolerated, spared = bounds
    verdict: Literal["go", "abort", "undecided"] = "undecided"
    words = "neither shown to be worse nor not to be"
    if difference + half < -tolerated:
        verdict, words = "abort", "worse"
    elif difference - metrics.Z95 * spread > -spared:
        verdict, words = "go", "not much worse"
    message = (
        f"{metric} of the candidate {abs(candidate[0]):.4f} on {counts[1]:,} labelled requests, of the champion "
        f"{abs(champion[0]):.4f} on {counts[0]:,}: {in_words(difference)} (interval of the difference, for every look "
        f"together, {difference - half:+.4f} to {difference + half:+.4f}): {words}"
    )
    shown = abs(champion[0]), abs(candidate[0])
    return StepVerdict(
        0, metric, *shown, difference, difference - half, difference + half, verdict, message, sum(counts)
    )


class RocAuc(_Quality):
    """Judge whether the candidate orders yes and no worse than the champion, by more than 0.01.

    Undecided until labels prove that, or show it not to be worse by more than 0.05.
    """

    metric = "roc_auc"

    def measure(self, labels: Floats, scores: Floats) -> Measured | None:
        """Return the area under the ROC curve; None with few rows of either class."""
        positives = int((labels > 0.5).sum())
        if min(positives, len(labels) - positives) < _LEAST_OF_A_CLASS:
            return None
        return metrics.delong(labels, scores)

    def bounds(self, champion: float) -> tuple[float, float]:
        """Return the same, whatever the champion's is."""
        return TOLERATED, SPARED


class SquaredError(_Quality):
    """Judge whether the candidate's mean squared error is larger than the champion's, by more than 1 %.

    Undecided until labels prove that, or show it not to be larger by more than 10 %. Of probabilities it is the Brier
    score.
    """

    metric = "squared_error"

    def measure(self, labels: Floats, scores: Floats) -> Measured | None:
        """Return the mean squared error, below zero: more is better."""
        if len(labels) < 2:
            return None
        losses = (scores - labels) ** 2
        return -float(losses.mean()), float(losses.var(ddof=1)) / len(losses)

    def bounds(self, champion: float) -> tuple[float, float]:
        """Return shares of the champion's."""
        return TOLERATED * abs(champion), SPARED_SHARE * abs(champion)


def interval_factor(rows: int) -> float:
    """Return how many standard errors the interval reaches to either side after so many rows.

    ``sqrt((1 + 1/(n r)) log((n r + 1) / a^2))`` with level a = 1/20, and r so that it is narrowest at 500 rows.

    >>> 2.5 < interval_factor(500) < 3.5 < interval_factor(100_000)
    True
    """
    level = 1.0 / ABORT_AT
    spread = (-2 * np.log(level) + np.log(1 - 2 * np.log(level))) / _NARROWEST_AT
    return float(np.sqrt((1 + 1 / (rows * spread)) * np.log((rows * spread + 1) / level**2)))
