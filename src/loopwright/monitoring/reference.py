"""References: frozen bins of training rows, how far stretches of them stray, which columns only tell the time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from loopwright.data import profiles
from loopwright.kernel.clock import DAY_US, HOUR_US
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.plugins import load_plugin
from loopwright.monitoring.drift import DRIFT_METRICS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import polars as pl

SCORE = "(score)"
"""Name under which a window's own scores are compared, if the reference has scores."""
LEVELS = 1000
"""Commonest values of a text that are told apart."""
LEAST_ROWS = 100
"""A stretch of fewer rows is not judged."""
_LEAST_STRETCHES, _MOST_STRETCHES, _MOST_STEPS = 8, 60, 20_000
_CLOCK_ROWS = 5000
Calendar = dict[str, "npt.NDArray[np.int64]"]
"""Hour, weekday, month and the like of each row."""
_PARTS = ("hour", "minute", "weekday", "day", "week", "month", "ordinal_day", "year")


class Reference(msgspec.Struct, frozen=True):
    """What windows are compared with.

    ``usual`` is the largest distance by ``metric`` that stretches of ``over_us`` (0: of ``every_us``) of the reference
    itself reach; ``clock`` names columns that only tell the time, whose distance means nothing.
    """

    profile: profiles.Profile
    metric: str = ""
    every_us: int = 0
    over_us: int = 0
    usual: dict[str, float] = {}
    clock: list[str] = []


def reference_from_bytes(body: bytes) -> Reference:
    """Return the reference of stored bytes, whatever version stored them.

    Raises:
        Corrupt: They hold none.
    """
    return profiles.decode(body, Reference, _upgrade)


def _upgrade(document: Any) -> Any:
    return {**document, "profile": profiles.upgrade_profile(document["profile"])}


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
    named = {name: _as_logged(frame.get_column(name)) for name in columns}
    if score:
        named[SCORE] = _as_logged(frame.get_column(score))
    at = _micros(frame.get_column(time)) if time in frame.columns and frame.height else None
    steps = None if at is None else at // every_us - at.min() // every_us
    counted, usual = {}, {}
    for name, column in named.items():
        counted[name] = profiles.profile_column(column, categories=LEVELS)
        if steps is not None:
            usual[name] = _usual_distance(column, counted[name], steps, max(1, over_us // every_us), metric)
    profile = profiles.Profile(frame.height, counted)
    if at is None:
        return Reference(profile, metric, every_us, over_us)
    calendars = calendars_of(at)
    clock = [name for name in named if tells_time(frame.get_column(score if name == SCORE else name), calendars)]
    return Reference(profile, metric, every_us, over_us, usual, clock)


def _as_logged(column: "pl.Series") -> "pl.Series":
    """Return a column as the prediction log has it: a number, truth values among them, without NaN; else a text."""
    import polars as pl

    if column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null):
        return column.cast(pl.Float64).fill_nan(None)
    return column.cast(pl.String)


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


def _usual_distance(
    column: "pl.Series", whole: profiles.ColumnProfile, steps: "npt.NDArray[np.int64]", width: int, metric: str
) -> float:
    """Return the largest distance of a stretch of ``width`` steps from all rows; 0 if there are too few stretches."""
    import numpy as np

    count = int(steps.max()) + 1
    if not _LEAST_STRETCHES <= count - width + 1 <= _MOST_STEPS:
        return 0.0
    places = profiles.place_rows(column, whole.bins)
    values = np.nan_to_num(column.to_numpy(), posinf=0.0, neginf=0.0) if whole.is_number else np.zeros(len(places))
    size = len(whole.counts) + 1
    # Counts by step and bin, summed up along the steps: a stretch of any width is then one difference of two rows.
    cells = steps * size + places
    running = []
    for weights in (None, values):
        table = np.bincount(cells, weights=weights, minlength=count * size).reshape(count, size)
        running.append(np.concatenate([np.zeros((1, size)), np.cumsum(table, axis=0)]))
    counts, sums = (table[width:] - table[:-width] for table in running)
    full = np.flatnonzero(counts.sum(axis=1) >= LEAST_ROWS)
    if len(full) < _LEAST_STRETCHES:
        return 0.0
    distance = load_plugin(DRIFT_METRICS, metric)
    drawn = full[:: -(-len(full) // _MOST_STRETCHES)]
    return float(max(distance(whole, _stretch(whole, counts[step], sums[step])) for step in drawn))


def _stretch(
    whole: profiles.ColumnProfile, counts: "npt.NDArray[np.float64]", sums: "npt.NDArray[np.float64]"
) -> profiles.ColumnProfile:
    """Return the profile of a stretch of rows from its counts by bin, missing ones last, and its sums."""
    *binned, nulls = (int(number) for number in counts)
    bins, known = whole.bins, sum(binned)
    if whole.is_number:
        counted = {"bin_counts": binned, "bin_sums": sums[:-1].tolist(), "edges": bins.edges}
    else:
        counted = {"category_counts": binned[:-1], "other": binned[-1], "categories": bins.categories}
    return profiles.ColumnProfile(bins.kind, known + nulls, nulls, count=known, **counted)


def _micros(column: "pl.Series") -> "npt.NDArray[np.int64]":
    import numpy as np
    import polars as pl

    moments = column.dt.epoch("us") if column.dtype.is_temporal() else column.cast(pl.Int64)
    return moments.to_numpy().astype(np.int64)
