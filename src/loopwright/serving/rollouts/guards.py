"""Guards of a canary: what abort it on evidence of harm. Each compares candidate and champion while both serve.

A guard takes the rows of a step some at a time, so that none is held that is counted already (``harm``).
"""

import math
from typing import ClassVar, Protocol

import numpy as np
import polars as pl

from loopwright.serving.predictions import failed_itself
from loopwright.serving.rollouts.harm import ONE_ROW, Exposures, judge_harm
from loopwright.serving.types import CHAMPION, StepVerdict, verdict_alone

SLOWER = 1.5
"""Harmfully slow is more than this times the champion's p99 before the step …"""
SLOWER_US = 5_000
"""… and at least this much above it, microseconds."""
_LEAST_BEFORE = 100


class Guard(Protocol):
    """Folds the rows of a canary step into a verdict; made anew for each look."""

    reads: ClassVar[tuple[str, ...]]
    """Columns of the log that it needs beside ``variant, recorded_at, bucket``; ``label`` and ``label_text`` too."""

    def __init__(self, weight: float, before: pl.LazyFrame) -> None:
        """Begin a look.

        Args:
            weight: The candidate's share of traffic, 0..1.
            before: Served rows of the champion on the day before the step: what is usual.
        """

    def add(self, rows: pl.DataFrame, closed_before: int) -> None:
        """Take further rows of the step, of champion and candidate, each answer once.

        Args:
            rows: With the columns that it reads; a label is null until it is known.
            closed_before: Whatever comes later was recorded at this moment or after it, microseconds UTC.
        """

    def verdict(self) -> StepVerdict:
        """Return what is to be said of the rows."""
        ...


class ErrorRate:
    """Judge whether the candidate fails more often than the champion."""

    reads: ClassVar[tuple[str, ...]] = ("error",)

    def __init__(self, weight: float, before: pl.LazyFrame) -> None:
        self._weight, self._exposures = weight, Exposures()

    def add(self, rows: pl.DataFrame, closed_before: int) -> None:
        """Count failures."""
        self._exposures.add(rows.with_columns(is_harmed=failed_itself()), closed_before)

    def verdict(self) -> StepVerdict:
        """Say whether they fall on the candidate."""
        return judge_harm("error_rate", self._exposures, self._weight, "errors")


class LatencyP99:
    """Judge whether the candidate is harmfully slow more often than the champion.

    The bound comes from the champion's p99 before the step; without enough rows there, from its first rows in the step,
    which then do not count. Either way the bound is fixed before what is counted, so looking often does no harm.
    """

    reads: ClassVar[tuple[str, ...]] = ("event_at", "latency_us")

    def __init__(self, weight: float, before: pl.LazyFrame) -> None:
        self._weight, self._exposures = weight, Exposures()
        counted = before.group_by("latency_us").len().collect(engine="streaming")
        self._before = int(counted["len"].sum())
        self._bound_us = None if self._before < _LEAST_BEFORE else _bound_us(counted)
        self._first: list[pl.DataFrame] = []
        self._counted: list[pl.DataFrame] = []

    def add(self, rows: pl.DataFrame, closed_before: int) -> None:
        """Count what is slow, or how often each latency was seen in an exposure until it is known what slow is."""
        if self._bound_us is not None:
            self._exposures.add(rows.with_columns(is_harmed=pl.col("latency_us") > self._bound_us), closed_before)
            return
        named = rows.select("variant", "event_at", "recorded_at", "latency_us", **ONE_ROW)
        champion = pl.concat([*self._first, named.filter(pl.col("variant") == CHAMPION)])
        earliest = champion.sort("event_at", "recorded_at", maintain_order=True)
        self._first = [earliest.head(_LEAST_BEFORE + 1)]
        known = pl.concat([*self._counted, named.drop("event_at")]).group_by("variant", "recorded_at", "latency_us")
        self._counted = [known.agg(pl.col("low").min(), pl.col("high").max(), pl.col("rows").sum())]

    def verdict(self) -> StepVerdict:
        """Say whether slow answers fall on the candidate."""
        bound_us, exposures = self._bound_us, self._exposures
        if bound_us is None:
            first, counted = pl.concat(self._first), pl.concat(self._counted)
            if first.height <= _LEAST_BEFORE:
                message = f"too few rows of the champion to know its latency ({self._before} before the step)"
                return verdict_alone("latency_p99", "undecided", message, int(counted["rows"].sum()))
            bound_us = _bound_us(first.head(_LEAST_BEFORE).select("latency_us", len="rows"))
            begins_at = int(first["recorded_at"][_LEAST_BEFORE - 1])
            is_slow, exposures = pl.col("latency_us") > bound_us, Exposures()
            counted = counted.filter(pl.col("recorded_at") > begins_at)
            exposures.add_counted(counted.with_columns(harmed=pl.when(is_slow).then("rows").otherwise(0)))
        return judge_harm("latency_p99", exposures, self._weight, f"answers slower than {bound_us / 1000:.1f} ms")


def _bound_us(counted: pl.DataFrame) -> float:
    """Return beyond which latency an answer is harmfully slow, from how often (``len``) each was seen.

    Beyond the p99 itself lies one answer of a hundred on either side, whoever answers: the bound leaves room for that
    and for the few milliseconds that a busy machine adds to a fast model.
    """
    ordered = counted.drop_nulls("latency_us").sort("latency_us")
    stops = np.cumsum(ordered["len"].to_numpy())
    if not len(stops):
        return float(SLOWER_US)
    rank = math.ceil(0.99 * (int(stops[-1]) - 1))
    usual = float(ordered["latency_us"][int(np.searchsorted(stops, rank, side="right"))])
    return max(SLOWER * usual, usual + SLOWER_US)
