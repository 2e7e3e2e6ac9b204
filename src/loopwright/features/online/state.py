"""The state of an online store: one body a (view, entity), into which rows are merged and which answers at a moment.

A body is a set of rows: merging is a union, then rows that can no longer answer fall out by a rule that depends on the
set alone. So neither the order nor the repetition of what arrives changes the state: a push, a fill of the same rows
and a push that was sent twice end in the same bytes. ``windows`` and ``latest`` hold the two kinds of bodies.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from loopwright.features.online.base import Bodies, Entities, Lookup
from loopwright.features.online.latest import LatestArrival, look_up_latest, merge_latest
from loopwright.features.online.windows import WindowArrival, look_up_windows, merge_windows
from loopwright.features.pointintime import NO_ROW, Ints
from loopwright.features.types import BoundView, ColumnViewSpec

Arrival = WindowArrival | LatestArrival


def merge(arrivals: Sequence[Arrival], bodies: Mapping[str, Bodies], most_rows: int) -> dict[str, dict[str, bytes]]:
    """Return the new bodies of the rows' entities, by view key and entity.

    Args:
        arrivals: What arrived, each view once.
        bodies: View key -> the present bodies of the entities concerned.
        most_rows: How many newest rows of an entity a column view may be asked for at most.
    """
    merged = merge_windows([arrival for arrival in arrivals if isinstance(arrival, WindowArrival)], bodies)
    for arrival in arrivals:
        if isinstance(arrival, LatestArrival):
            merged[arrival.view_key] = merge_latest(arrival, bodies[arrival.view_key], most_rows)
    return merged


def in_parts(arrival: Arrival, entities: int) -> Iterator[Arrival]:
    """Yield what arrived for so many entities at a time."""
    codes = arrival.rows.entity.rank("dense").to_numpy().astype(np.int64) - 1
    order = np.argsort(codes, kind="stable")
    borders = np.searchsorted(codes[order], np.arange(entities, codes.max(initial=0) + 1, entities))
    for index in np.split(order, borders):
        yield arrival.of_rows(index)


def look_up(
    views: Sequence[BoundView],
    entities: Entities,
    at_us: Ints,
    bodies: Mapping[str, Bodies],
    own: Ints | None = None,
    *,
    is_dated: bool = False,
) -> Lookup:
    """Return features of views by the rule of training sets, in the order of the views.

    Args:
        views: The views.
        entities: Join key column of a view -> the asked entities, (q,).
        at_us: int64 (q,), the asked moments.
        bodies: View key -> the bodies of the asked entities.
        own: int64 (q,), identities of the rows that the requests are.
        is_dated: Say too when the row behind each value happened.
    """
    served = Lookup({}, {}, {} if is_dated else None)
    own = np.full(len(at_us), NO_ROW, np.int64) if own is None else own
    windowed = [view for view in views if not isinstance(view.view, ColumnViewSpec)]
    look_up_windows(windowed, entities, at_us, own, bodies, served)
    for view in views:
        if isinstance(view.view, ColumnViewSpec):
            look_up_latest(view, view.view, entities[view.view.entity], at_us, own, bodies[view.key], served)
    names = [name for view in views for name in view.names.values()]
    return served.only(names)
