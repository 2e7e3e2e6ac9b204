"""What arrives at an online store: rows of one dataset as each view sees them, and what they change of what is kept."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from loopwright.data import known
from loopwright.features.meanings import used_columns
from loopwright.features.online import generations
from loopwright.features.online.base import SLACK_US, Bodies, Part
from loopwright.features.online.latest import LatestArrival
from loopwright.features.online.state import Arrival, merge
from loopwright.features.online.windows import WindowArrival
from loopwright.features.pointintime import NEVER
from loopwright.features.rows import DatasetRows, aggregate_rows, latest_rows
from loopwright.features.types import AggregateViewSpec, BoundView, ColumnViewSpec
from loopwright.kernel.clock import DAY_US, format_moment
from loopwright.kernel.errors import InvalidInput

MOST_ROWS = 2048
"""How many newest rows of an entity a column view answers from at most, where rows are denser than the slack."""
ENTITIES_AT_ONCE = 2_000
"""How many entities a fill changes at once, so that pushes get their turn."""
Change = tuple[str, str, bytes]
"""Key of a generation, entity, and its new body."""


class Merging(NamedTuple):
    """How rows are merged: how far moments may lie behind an entity's newest row, and how many rows it may have."""

    slack_us: int = SLACK_US
    most_rows: int = MOST_ROWS

    def arrived(self, parts: Sequence[Part], now_us: int | None) -> list[Arrival]:
        """Return what arrived with a push.

        Raises:
            InvalidInput: A column is missing, a value cannot be used, or a row lies more than a day after the present.
        """
        arrivals: dict[str, Arrival] = {}
        for views, frame in parts:
            if not views or frame.is_empty():
                continue
            rows = DatasetRows(views[0].dataset, frame)
            if now_us is not None:
                _refuse_future(rows, now_us)
            arrivals |= {view.key: self._arrival(view, rows) for view in views}
        return list(arrivals.values())

    def filled_in(self, view: BoundView, frame: pl.DataFrame, until_us: int) -> tuple[Arrival, int]:
        """Return what arrives with a fill, without rows after ``until_us``, and how many rows those are."""
        rows = DatasetRows(view.dataset, frame)
        is_early = rows.event_at <= until_us
        if not is_early.all():
            rows = DatasetRows(view.dataset, frame.filter(pl.Series(is_early)))
        return self._arrival(view, rows), rows.frame.height

    def changes(self, arrivals: Sequence[Arrival], before: Mapping[str, Bodies]) -> list[Change]:
        """Return what changes by what arrived, of the bodies that are there."""
        return [
            (key, entity, body)
            for key, bodies in merge(arrivals, before, self.most_rows).items()
            for entity, body in bodies.items()
            if before[key].get(entity) != body
        ]

    def _arrival(self, view: BoundView, rows: DatasetRows) -> Arrival:
        if isinstance(view.view, ColumnViewSpec):
            return LatestArrival(view.key, latest_rows(view.view, rows), self.slack_us)
        return WindowArrival(view.key, aggregate_rows(view.view, rows), _window_us(view, view.view) + self.slack_us)


def into_generations(arrivals: Sequence[Arrival], taking: Callable[[str], Sequence[str]]) -> list[Arrival]:
    """Return what arrived by the generations that take it."""
    return [arrival._replace(view_key=key) for arrival in arrivals for key in taking(arrival.view_key)]


def count_entities(changes: Sequence[Change]) -> int:
    """Return how many entities of views changed, whatever their generations."""
    return len({(generations.view_of(key), entity) for key, entity, _ in changes})


def _window_us(view: BoundView, spec: AggregateViewSpec) -> int:
    """Return how long a row of an aggregate view may count after it arrived, at most."""
    longest = max(spec.windows_us)
    if spec.counts == "event":
        return longest
    return longest + max(known.known_moment(view.dataset, column).after_us for column in used_columns(spec))


def _refuse_future(rows: DatasetRows, now_us: int) -> None:
    is_future = (rows.event_at > now_us + DAY_US) & (rows.event_at != NEVER)
    if is_future.any():
        first = int(np.argmax(is_future))
        raise InvalidInput(
            "this row lies in the future",
            field=f"rows[{first}].{rows.dataset.time}",
            value=format_moment(int(rows.event_at[first])),
            rule=f"at most a day after {format_moment(now_us)}",
        )
