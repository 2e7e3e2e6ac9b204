"""Tallies: what windows need to know of answers without their rows; those of parts add up to that of the whole."""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import chain

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from loopwright.data import profiles
from loopwright.monitoring.reference import SCORE, Reference
from loopwright.serving import predictions
from loopwright.store.streams import FEATURE_PREFIX

Integers = npt.NDArray[np.int64]
BASE_COLUMNS = ["prediction_id", "variant", "is_shadow", "event_at", "recorded_at", "score", "answer", "error"]
"""What is read of every answer, whatever is measured."""
COUNTED_COLUMNS = [*BASE_COLUMNS, "latency_us"]
_LATENCY_BITS = 11


class VariantTally(msgspec.Struct, frozen=True):
    """How many answers one variant gave, and how many of them failed."""

    variant: str
    is_shadow: bool
    rows: int
    errors: int


class Tally(msgspec.Struct, frozen=True):
    """What is known of answers: by variant, and of those that callers got (no shadows) their latencies and a profile.

    ``latencies`` are the different ones, ascending, in microseconds, exact below 2,048 and else within 0.1 %;
    ``latency_counts`` says how often each came. ``profile`` is in the bins of a reference, None where nothing is
    compared.
    """

    variants: list[VariantTally]
    latencies: list[int]
    latency_counts: list[int]
    profile: profiles.Profile | None

    @property
    def served(self) -> int:
        """Answers that callers got."""
        return sum(each.rows for each in self.variants if not each.is_shadow)

    @property
    def errors(self) -> int:
        """Answers that callers got and that were an error, also those that failed because of another row."""
        return sum(each.errors for each in self.variants if not each.is_shadow)

    @property
    def latency_p99_ms(self) -> float | None:
        """The 99 % quantile of the latencies, between two answers by proportion; None where there are none."""
        if not self.latencies:
            return None
        values, stops = np.array(self.latencies), np.cumsum(self.latency_counts)
        rank = 0.99 * (int(stops[-1]) - 1)
        ranks = [math.floor(rank), math.ceil(rank)]
        below, above = values[np.searchsorted(stops, ranks, side="right")].tolist()
        return float(below + (above - below) * (rank - ranks[0])) / 1000


def served_only() -> pl.Expr:
    """Return which rows of the log are answers of a deployment.

    A batch may be scored by any version, on rows nobody asked about: neither quality nor drift of what is served.
    """
    return pl.col("is_shadow") | (pl.col("variant") != predictions.SCORED)


def feature_columns(reference: Reference | None) -> list[str]:
    """Return the columns of the log that are compared with a reference."""
    if reference is None:
        return []
    return [FEATURE_PREFIX + name for name in reference.profile.columns if name != SCORE]


def tally_rows(rows: pl.DataFrame, reference: Reference | None) -> Tally:
    """Return the tally of rows of the log.

    Args:
        rows: ``COUNTED_COLUMNS``, and the ``feature_columns`` of the reference.
        reference: In whose bins values are counted; None to count none.
    """
    counted = rows.group_by("variant", "is_shadow").agg(pl.len(), pl.col("error").count()).sort("variant", "is_shadow")
    served = rows.filter(~pl.col("is_shadow"))
    latencies = served.get_column("latency_us").drop_nulls()
    latencies = latencies.filter(latencies > 0)  # predictions made elsewhere have none of ours
    rounded = _round_latencies(latencies.to_numpy())
    return Tally(
        [VariantTally(*row) for row in counted.iter_rows()],
        *_count(rounded, np.ones(len(rounded), dtype=np.int64)),
        None if reference is None else build_window_profile(served, reference),
    )


def build_window_profile(served: pl.DataFrame, reference: Reference) -> profiles.Profile:
    """Return the profile of served rows in the bins of a reference.

    Args:
        served: ``f.<name>`` of each feature, and ``score``.
        reference: Whose bins to use.
    """
    like = reference.profile
    sources = {name: "score" if name == SCORE else FEATURE_PREFIX + name for name in like.columns}
    named = pl.DataFrame([served.get_column(source).alias(name) for name, source in sources.items()])
    return profiles.profile_like(named, like)


def add_up(tallies: Sequence[Tally]) -> Tally:
    """Return the tally of all answers of several tallies, at least one; all have a profile or none has."""
    rows, errors = Counter[tuple[str, bool]](), Counter[tuple[str, bool]]()
    for each in chain.from_iterable(tally.variants for tally in tallies):
        rows[each.variant, each.is_shadow] += each.rows
        errors[each.variant, each.is_shadow] += each.errors
    latencies = [
        np.concatenate([np.array(values, dtype=np.int64) for values in lists])
        for lists in ([tally.latencies for tally in tallies], [tally.latency_counts for tally in tallies])
    ]
    parts = [tally.profile for tally in tallies if tally.profile is not None]
    return Tally(
        [VariantTally(*name, count, errors[name]) for name, count in sorted(rows.items())],
        *_count(*latencies),
        profiles.merge(*parts) if parts else None,
    )


def _round_latencies(latencies: Integers) -> Integers:
    """Return latencies with their leading 11 bits alone, so that few different ones are left."""
    lengths = np.frexp(latencies.astype(np.float64))[1]
    dropped = np.maximum(lengths - _LATENCY_BITS, 0)
    return np.asarray((latencies >> dropped) << dropped, dtype=np.int64)


def _count(values: Integers, counts: Integers) -> tuple[list[int], list[int]]:
    """Return the different values, ascending, and how often each comes; ``counts`` says how often each is there."""
    if not len(values):
        return [], []
    order = np.argsort(values)
    ordered = values[order]
    starts = np.concatenate([[0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1])
    return ordered[starts].tolist(), np.add.reduceat(counts[order], starts).tolist()
