"""A profile costs about what the plainest passes over the same frame cost, and merging profiles next to nothing.

Both rivals know less: a pass of Polars counts, sums, estimates distinct values, sorts for quantiles and finds the
commonest texts; NumPy finds the place of each number among given edges. Neither's figures of two parts can be merged.
"""

import numpy as np
import polars as pl
from frame import Bench, timed

from loopwright.data import profiles
from loopwright.data.fingerprints import hash_columns

ROWS, NUMBERS, TEXTS = 1_000_000, 24, 6
PARTS = 30


def make_frame(rows: int) -> pl.DataFrame:
    """Return numbers, whole ones among them, and texts of 10 to 1M different values."""
    chance = np.random.default_rng(0)
    columns: dict[str, object] = {}
    for place in range(NUMBERS):
        whole = chance.integers(0, 10 ** (place // 3 + 1), rows)
        columns[f"n{place}"] = whole if place % 3 == 0 else chance.lognormal(place / 4, 1, rows)
    for place in range(TEXTS):
        columns[f"t{place}"] = [f"v{value}" for value in chance.zipf(1.5, rows).clip(max=10 ** (place + 1)).tolist()]
    return pl.DataFrame(columns)


def polars_pass(frame: pl.DataFrame) -> object:
    """Return what one query says of a frame."""
    numbers = [name for name in frame.columns if name.startswith("n")]
    texts = [name for name in frame.columns if name.startswith("t")]
    places = [step * (frame.height - 1) // 64 for step in range(65)]
    return (
        frame.lazy()
        .select(
            *(pl.col(name).null_count().alias(f"{name}.nulls") for name in frame.columns),
            *(pl.col(name).approx_n_unique().alias(f"{name}.distinct") for name in frame.columns),
            *(pl.col(name).sum().alias(f"{name}.sum") for name in numbers),
            *(pl.col(name).sort().gather(places).implode().alias(f"{name}.quantiles") for name in numbers),
            *(pl.col(name).value_counts(sort=True).head(100).implode().alias(f"{name}.top") for name in texts),
        )
        .collect()
    )


def numpy_bins(frame: pl.DataFrame, like: profiles.Profile) -> None:
    """Count numbers in given bins by looking for each value's place, and texts by Polars."""
    for name, column in like.columns.items():
        if column.is_number:
            values = frame.get_column(name).cast(pl.Float64).to_numpy()
            places = np.searchsorted(np.array(column.edges), values, side="right")
            np.bincount(places, weights=values, minlength=len(column.edges) + 1)
            np.bincount(places, minlength=len(column.edges) + 1)
        else:
            frame.get_column(name).value_counts()


def main() -> None:
    """Measure and claim."""
    bench = Bench("profiles")
    bench.progress(f"{ROWS:,} rows x {NUMBERS + TEXTS} columns")
    frame = make_frame(ROWS)
    hashed = hash_columns(frame)  # an import has them already, for the digest of its rows
    first = profiles.profile_frame(frame, None, hashed)
    whole, rival = timed(lambda: profiles.profile_frame(frame, None, hashed), lambda: polars_pass(frame))
    bench.claim(
        "profile 1M x 30, distinct values and all",
        whole,
        "s",
        rival=rival,
        rival_name="a Polars pass",
        goal="ratio >= 0.5",
    )
    counted, rival = timed(lambda: profiles.profile_like(frame, first), lambda: numpy_bins(frame, first))
    bench.claim(
        "profile 1M x 30 in the bins of another",
        counted,
        "s",
        rival=rival,
        rival_name="NumPy bins",
        goal="ratio >= 0.8",
    )
    parts = [profiles.profile_like(part, first) for part in frame.iter_slices(ROWS // PARTS)]
    merged, rival = timed(lambda: profiles.merge(*parts), lambda: profiles.profile_like(frame, first))
    bench.claim(
        f"merge {PARTS} profiles of 30 columns",
        merged,
        "s",
        rival=rival,
        rival_name="counting the rows",
        goal="ratio >= 5",
    )
    assert profiles.merge(*parts) == profiles.profile_like(frame, first)
    bench.finish()


if __name__ == "__main__":
    main()
