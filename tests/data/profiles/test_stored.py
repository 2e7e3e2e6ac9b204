"""Stored profiles: those of today, and those that earlier versions stored, whose bytes are kept here."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from loopwright.data import profiles
from loopwright.kernel.errors import Corrupt
from loopwright.kernel.plugins import load_plugin
from loopwright.monitoring import build_reference, reference_from_bytes

KEPT = Path(__file__).parent / "kept"
FIGURES: dict[str, Any] = json.loads((KEPT / "figures.json").read_text())
"""What the version that stored them read off them."""


def rows(seed: int, size: int, shift: float) -> pl.DataFrame:
    """Return the rows that were profiled."""
    rng = np.random.default_rng(seed)
    distance = rng.lognormal(6, 1, size) + shift
    distance[::50] = np.nan
    distance[7], distance[8] = np.inf, -np.inf
    hour = rng.integers(0, 24, size)
    carriers = rng.choice(["AA", "UA", "DL", "B6"], size, p=[0.4, 0.3, 0.2, 0.1]).tolist()
    return pl.DataFrame(
        {
            "event_at": np.arange(size) * (86_400_000_000 * 20 // size),
            "distance": distance,
            "hour": hour,
            "carrier": [None if place % 40 == 0 else name for place, name in enumerate(carriers)],
            "tail": [f"N{number}" for number in rng.zipf(1.4, size).clip(max=3000).tolist()],
            "is_late": rng.random(size) < 0.3,
            "empty": pl.Series([None] * size, dtype=pl.Float64),
            "nothing": pl.Series([None] * size, dtype=pl.String),
        }
    )


def test_a_dataset_profile_of_before_is_read_as_it_was() -> None:
    stored = profiles.from_bytes((KEPT / "profile").read_bytes())
    for name, figures in FIGURES["columns"].items():
        column, was = stored.columns[name], dict(figures)
        mean = was.pop("mean")
        assert column.mean == (mean if mean is None else pytest.approx(mean, rel=1e-12))
        assert column.distinct_estimate == was.pop("distinct")
        assert {field: getattr(column, field) for field in was} == was


def test_the_same_rows_give_the_same_figures_as_before() -> None:
    first = profiles.profile_frame(rows(1, 2000, 0.0))
    merged = profiles.merge(first, profiles.profile_frame(rows(2, 700, 150.0), first))
    stored = profiles.from_bytes((KEPT / "profile").read_bytes())
    for name, column in merged.columns.items():
        was = stored.columns[name]
        for field in ("kind", "rows", "nulls", "nans", "infinities", "count", "low", "high", "edges", "other"):
            assert getattr(column, field) == getattr(was, field), (name, field)
        assert (column.counts, column.distinct) == (was.counts, was.distinct) or name in ("distance", "empty")
        assert column.sums == pytest.approx(was.sums or [0.0] * len(column.sums), rel=1e-12)
    assert sum(merged.columns["distance"].counts) == sum(stored.columns["distance"].counts)


def test_what_is_stored_now_is_appended_to_what_was_stored_before() -> None:
    stored = profiles.from_bytes((KEPT / "profile").read_bytes())
    later = profiles.profile_frame(rows(3, 300, 0.0), stored)
    merged = profiles.merge(stored, later)
    assert merged.rows == 3000
    assert merged.columns["distance"].count == stored.columns["distance"].count + later.columns["distance"].count


@pytest.mark.parametrize("metric", ["psi", "js", "ks", "wasserstein", "missing"])
def test_distances_between_a_reference_and_a_window_of_before_are_what_they_were(metric: str) -> None:
    reference = reference_from_bytes((KEPT / "reference").read_bytes())
    window = profiles.from_bytes((KEPT / "window_profile").read_bytes())
    distance = load_plugin("drift_metrics", metric)
    assert (reference.usual, reference.clock) == (FIGURES["usual"], FIGURES["clock"])
    for name, was in FIGURES["distances"][metric].items():
        assert distance(reference.profile.columns[name], window.columns[name]) == was


@pytest.mark.parametrize("metric", ["psi", "js", "ks", "wasserstein", "missing"])
def test_rows_counted_now_have_the_distances_they_had(metric: str) -> None:
    stored = reference_from_bytes((KEPT / "reference").read_bytes())
    names = list(stored.profile.columns)
    reference = build_reference(rows(1, 2000, 0.0), names)
    window = profiles.profile_like(rows(2, 700, 150.0), reference.profile)
    in_old_bins = profiles.profile_like(rows(2, 700, 150.0), stored.profile)
    distance = load_plugin("drift_metrics", metric)
    assert reference.usual == pytest.approx(FIGURES["usual"], rel=1e-9)
    for name, was in FIGURES["distances"][metric].items():
        assert distance(reference.profile.columns[name], window.columns[name]) == pytest.approx(was, rel=1e-9)
        assert distance(stored.profile.columns[name], in_old_bins.columns[name]) == pytest.approx(was, rel=1e-9)


def test_a_window_of_before_merges_with_one_of_today() -> None:
    reference = reference_from_bytes((KEPT / "reference").read_bytes())
    before = profiles.from_bytes((KEPT / "window_profile").read_bytes())
    today = profiles.profile_like(rows(2, 700, 150.0), reference.profile)
    merged = profiles.merge(before, today)
    for name, (counts, nulls, sums) in FIGURES["counts"].items():
        column = merged.columns[name]
        assert column.counts == [2 * count for count in counts]
        assert column.nulls + column.nans == 2 * nulls
        assert column.sums == pytest.approx([2 * total for total in sums], rel=1e-12)


def test_stored_bytes_come_back_and_spoiled_ones_are_named() -> None:
    profile = profiles.profile_frame(rows(1, 200, 0.0))
    assert profiles.from_bytes(profiles.to_bytes(profile)) == profile
    for spoiled in (b"spoiled", profiles.to_bytes(profile)[:-9]):
        with pytest.raises(Corrupt, match="cannot be read"):
            profiles.from_bytes(spoiled)
        with pytest.raises(Corrupt, match="cannot be read"):
            reference_from_bytes(spoiled)
