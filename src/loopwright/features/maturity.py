"""How late labels come: learned from rows whose labels are there, and used to leave out what is not ripe.

A label that came after 40 days says something only of rows that are older than 40 days: among the labels that are here
the quick ones are too many. So the distribution is estimated from right-truncated lags by the product-limit estimator
in reversed time (Lagakos, Barraj, De Gruttola 1988; Kalbfleisch, Lawless 1989):

    F(t) = product over lags u > t of (1 - d(u) / n(u)),    n(u) = number of labels with lag <= u <= age of the row

It needs no rows without labels, so outcomes that never come do not disturb it. What it says holds for labels that come
within the age of the oldest rows (``within_us``); of later ones nothing is known.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loopwright.features.pointintime import Ints
from loopwright.features.types import RIPE_SHARES, LabelLag
from loopwright.kernel.clock import DAY_US, HOUR_US, format_duration
from loopwright.kernel.errors import InvalidInput

LEAST_LABELS = 200
"""Fewer labels tell nothing of a quantile near the end."""
_OLDEST = 50
"""So many labelled rows have to be old enough to show a lag."""
_MOST_CLASSES = 20
_ROUNDING = 1e-9
"""Of a product of many shares."""


def lag_curve(lag: Ints, age: Ints) -> tuple[Ints, NDArray[np.float64]]:
    """Return lags in ascending order and the share of labels that had come by each.

    Args:
        lag: int64 (n,), microseconds from a row to its label.
        age: int64 (n,), microseconds from the row to now; never less than ``lag``.
    """
    ordered, ages = np.sort(lag), np.sort(age)
    lags, first = np.unique(ordered, return_index=True)
    came = np.append(first[1:], len(ordered))  # labels with a lag of at most this
    at_risk = came - np.searchsorted(ages, lags, side="left")
    stays = 1.0 - (came - first) / at_risk
    # The share that came by a lag is the product over all longer ones.
    share = np.append(np.cumprod(stays[:0:-1])[::-1], 1.0)
    return lags, share


def learn_lag(label: pl.Series, event_at: Ints, known_at: Ints, now_us: int) -> LabelLag:
    """Learn how late labels come.

    Args:
        label: Labels, null where there is none yet: (n,). Up to 20 different ones are classes, each with its own lag.
        event_at: int64 (n,), microseconds UTC, when the rows happened.
        known_at: int64 (n,), when their labels became known; later than ``now_us`` where they are not.
        now_us: The moment from which it is seen.
    """
    is_said = label.is_not_null() & ~(label.is_nan() if label.dtype.is_float() else label.is_null())
    is_here = is_said.fill_null(value=False).to_numpy() & (known_at <= now_us)
    has_happened = event_at <= now_us
    chosen = np.flatnonzero(is_here & has_happened)
    lag, age = np.maximum(known_at[chosen] - event_at[chosen], 0), now_us - event_at[chosen]
    quantiles, within = _quantiles(lag, age)
    texts = label[chosen].cast(pl.String)
    names = texts.unique().sort().to_list()
    classes, within_by_class = {}, {}
    for name in names if len(names) <= _MOST_CLASSES else []:
        mine = (texts == name).to_numpy()
        of_class, within_class = _quantiles(lag[mine], age[mine])
        if of_class:
            classes[str(name)], within_by_class[str(name)] = of_class, within_class
    waiting = int((has_happened & ~is_here).sum())
    return LabelLag(len(chosen), waiting, within, quantiles, classes, within_by_class)


def _quantiles(lag: Ints, age: Ints) -> tuple[dict[str, int], int]:
    """Return by share, as text, the lag by which it had come, and up to which lag that can be told at all."""
    if len(lag) < LEAST_LABELS:
        return {}, 0
    within = int(np.sort(age)[-_OLDEST])
    # Lags that only a handful of the oldest rows could show would decide the whole curve.
    shown = lag <= within
    lags, share = lag_curve(lag[shown], age[shown])
    return {f"{wanted:g}": int(lags[np.searchsorted(share, wanted - _ROUNDING)]) for wanted in RIPE_SHARES}, within


def embargo(lag: LabelLag, share: float) -> int:
    """Return how long a row has to wait until so many of its labels are known, of the slowest class.

    Args:
        lag: As it was learned.
        share: One of ``RIPE_SHARES``.

    Raises:
        InvalidInput: Too few labels are known.
    """
    wanted = f"{share:g}"
    if wanted not in lag.quantiles:
        raise InvalidInput(
            f"{lag.labelled_rows} labels are too few to learn when {share:.0%} of them are known",
            field="mature",
            value=f"{share:.0%}",
            rule=f"at least {LEAST_LABELS} rows with a label",
            next_step='wait for more, or say how long: mature="30d"',
        )
    seen = {"": (lag.quantiles, lag.within_us)}
    seen |= {name: (found, lag.within_by_class[name]) for name, found in lag.by_class.items()}
    for name, (found, within_us) in seen.items():
        if found[wanted] * 10 >= within_us * 9:
            whose = f"of class {name} " if name else ""
            raise InvalidInput(
                f"rows {whose}are {_tell_span(within_us)} old at most, and labels still come after that time",
                field="mature",
                value=f"{share:.0%}",
                rule="history that is clearly longer than the lag of its labels",
                next_step='import older rows, or say how long: mature="30d"',
            )
    return max(found[wanted] for found, _ in seen.values())


def _tell_span(duration_us: int) -> str:
    """Return a span in whole hours, or days where it is long: it is learned, and no more exact than that."""
    unit = HOUR_US if duration_us < 3 * DAY_US else DAY_US
    return format_duration(round(duration_us / unit) * unit)


def tell_lag(lag: LabelLag) -> str:
    """Return how late labels come, in words."""
    if not lag.quantiles:
        return f"{lag.labelled_rows} labels, too few to say how late they come"
    said = ", ".join(f"{float(share):.0%} after {_tell_span(lag_us)}" for share, lag_us in lag.quantiles.items())
    return f"labels come late: {said}"
