"""References: frozen bins of training rows, how far stretches of them stray, which columns only tell the time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from loopwright.kernel.clock import DAY_US, HOUR_US
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.plugins import load_plugin
from loopwright.monitoring.sketches import Placed, Profile, Reference, Sketch, freeze_bins, from_places, places

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import polars as pl

SCORE = "(score)"
"""Name under which a window's own scores are compared, if the reference has scores."""
LEAST_ROWS = 100
"""A stretch of fewer rows is not judged."""
_LEAST_STRETCHES, _MOST_STRETCHES, _MOST_STEPS = 8, 60, 20_000
_CLOCK_ROWS = 5000
Calendar = dict[str, "npt.NDArray[np.int64]"]
"""Hour, weekday, month and the like of each row."""
_PARTS = ("hour", "minute", "weekday", "day", "week", "month", "ordinal_day", "year")


def build_reference(
    frame: "pl.DataFrame",
    columns: Sequence[str],
    *,
    every_us: int = DAY_US,
    over_us: int = 0,
    metric: str = "psi",
    time: str = "event_at",
    score: str = "",
) -> Reference:
    """Profile the rows that windows will be compared with.

    A day is no fair sample of a year: weather lasts, Sundays differ. So each column's distance between stretches of
    these rows and all of them is measured too, and only what lies beyond the largest of those counts as drift.

    Args:
        frame: Training rows.
        columns: Its features.
        every_us: Length of the windows to come.
        over_us: Length of the stretches whose drift is measured, stepping by windows; 0 for the windows themselves.
        metric: Their distance, a plugin of kind ``drift_metrics``.
        time: The event-time column, a datetime or int64 microseconds UTC; where absent, nothing is known of stretches.
        score: The column of the model's scores, empty if there is none.
    """
    absent = [name for name in [*columns, *([score] if score else [])] if name not in frame.columns]
    if absent:
        raise InvalidInput(
            "the reference lacks a column", field="columns", value=absent[0], rule=", ".join(frame.columns[:50])
        )
    named = {name: frame.get_column(name) for name in columns}
    if score:
        named[SCORE] = frame.get_column(score)
    at = _micros(frame.get_column(time)) if time in frame.columns and frame.height else None
    steps = None if at is None else at // every_us - at.min() // every_us
    sketches, usual = {}, {}
    for name, column in named.items():
        bins = freeze_bins(column)
        placed = places(column, bins)
        sketches[name] = from_places(*placed, bins)
        if steps is not None:
            usual[name] = _usual_distance(placed, sketches[name], steps, max(1, over_us // every_us), metric)
    profile = Profile(frame.height, sketches)
    if at is None:
        return Reference(profile, metric, every_us, over_us)
    calendars = calendars_of(at)
    clock = [name for name, column in named.items() if tells_time(column, calendars)]
    return Reference(profile, metric, every_us, over_us, usual, clock)


def calendars_of(at: "npt.NDArray[np.int64]") -> list[Calendar]:
    """Return the parts of the calendar at every offset from UTC, of moments evenly drawn from all (int64 us UTC)."""
    return [_calendar(at[:: _step(len(at))], hours) for hours in range(-12, 15)]


def _step(rows: int) -> int:
    return max(1, rows // _CLOCK_ROWS)


def tells_time(column: "pl.Series", calendars: list[Calendar]) -> bool:
    """Say whether a column only repeats its row's moment: hour, weekday, month and the like, in whatever time zone.

    That is: it equals one part of the calendar, counted from 0 or 1, at one offset from UTC, or at two an hour apart
    (daylight saving), in 99 of 100 rows. Other functions of the clock, such as sines of it, are for ``ignore``.
    """
    import numpy as np
    import polars as pl

    if not column.dtype.is_numeric() or column.null_count() == len(column):
        return False
    numbers = column.gather_every(_step(len(column))).cast(pl.Float64).to_numpy()
    if not np.isfinite(numbers).all() or (numbers != np.floor(numbers)).any() or len(np.unique(numbers)) < 2:
        return False
    for part in _PARTS:
        for base in (0, 1):
            hits = np.array([calendar[part] - base == numbers for calendar in calendars])
            pairs = hits[1:] | hits[:-1]
            if pairs.mean(axis=1).max() >= 0.99:
                return True
    return False


def _calendar(at: "npt.NDArray[np.int64]", hours: int) -> Calendar:
    import numpy as np
    import polars as pl

    moments = pl.Series(at + hours * HOUR_US).cast(pl.Datetime("us"))
    return {part: getattr(moments.dt, part)().to_numpy().astype(np.int64) for part in _PARTS}


def _usual_distance(placed: Placed, sketch: Sketch, steps: "npt.NDArray[np.int64]", width: int, metric: str) -> float:
    """Return the largest distance of a stretch of ``width`` steps from all rows; 0 if there are too few stretches."""
    import numpy as np

    count = int(steps.max()) + 1
    if not _LEAST_STRETCHES <= count - width + 1 <= _MOST_STEPS:
        return 0.0
    found, values = placed
    size = len(sketch.counts) + 1
    # Counts by step and bin, summed up along the steps: a stretch of any width is then one difference of two rows.
    cells = steps * size + found
    running = []
    for weights in (None, values):
        table = np.bincount(cells, weights=weights, minlength=count * size).reshape(count, size)
        running.append(np.concatenate([np.zeros((1, size)), np.cumsum(table, axis=0)]))
    counts, sums = (table[width:] - table[:-width] for table in running)
    full = np.flatnonzero(counts.sum(axis=1) >= LEAST_ROWS)
    if len(full) < _LEAST_STRETCHES:
        return 0.0
    distance = load_plugin("drift_metrics", metric)
    distances = []
    for place in full[:: -(-len(full) // _MOST_STRETCHES)]:
        tallied = counts[place].astype(np.int64).tolist()
        summed = sums[place][:-1].tolist() if sketch.is_number else []
        distances.append(distance(sketch, Sketch(sketch.edges, sketch.levels, tallied[:-1], summed, tallied[-1])))
    return float(max(distances))


def _micros(column: "pl.Series") -> "npt.NDArray[np.int64]":
    import numpy as np
    import polars as pl

    moments = column.dt.epoch("us") if column.dtype.is_temporal() else column.cast(pl.Int64)
    return moments.to_numpy().astype(np.int64)
