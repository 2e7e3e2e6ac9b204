"""Replaying history: each hour's labels, what became known, the clock, then its requests.

The demo and the backtest are this driver on different streams. Nothing here knows a model, a threshold or a date, nor
whether a person's client plays or a job of the platform.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from loopwright.kernel.clock import DAY_US, HOUR_US
from loopwright.wire.rows import to_rows

if TYPE_CHECKING:
    import polars as pl


class PlayedEndpoint(Protocol):
    """The deployment that is asked, and told what came of it."""

    def predict(self, rows: Any) -> list[dict[str, Any]]:
        """Return one answer a row."""
        ...

    def label(self, rows: Any) -> int:
        """Send outcomes; return how many were taken."""
        ...


class PlayedDataset(Protocol):
    """A dataset that grows."""

    def push(self, rows: Any) -> int:
        """Send rows as they become known; return how many were taken."""
        ...

    def append(self, rows: Any, *, reason: str = "") -> Any:
        """Start a version with more rows."""
        ...

    def complete(self, rows: Any, *, reason: str = "") -> Any:
        """Start a version in which rows say more."""
        ...


class World(Protocol):
    """The project in which history is played."""

    def deployment(self, name: str) -> PlayedEndpoint:
        """Return an endpoint of it."""
        ...

    def dataset(self, name: str) -> PlayedDataset:
        """Return a dataset of it."""
        ...

    def advance(self, to: int) -> Any:
        """Move its clock to a moment, microseconds UTC, and return once it has come to rest."""
        ...


class Late(NamedTuple):
    """Columns of a stream that become known at a moment of their own, in a column that is not sent (Datetime UTC)."""

    known_at: str
    columns: list[str]


class Stream:
    """Rows of a dataset in the order in which they became known.

    Args:
        dataset: Its name.
        rows: Raw rows as a source would send them.
        known_at: Column of ``rows`` with the moment at which each row was first known (Datetime UTC); it is not sent.
        late: Columns that come later than their row; they are missing until then.
        key: Columns that name a row, where some come late.
    """

    def __init__(
        self, dataset: str, rows: "pl.DataFrame", known_at: str, late: Sequence[Late] = (), key: Sequence[str] = ()
    ) -> None:
        self.dataset = dataset
        self._late, self._key = list(late), list(key)
        ordered = rows.sort(known_at, maintain_order=True)
        self._moments = ordered[known_at].dt.epoch("us").to_numpy()
        self._rows = ordered.drop(known_at)

    def between(self, start_at: int, end_at: int) -> "pl.DataFrame":
        """Return the rows of which anything became known in ``(start_at, end_at]``, as they were known at its end."""
        import polars as pl

        first, last = self._places(start_at, end_at)
        new = self._rows[first:last]
        if not self._late:
            return new
        before = self._rows[:first]
        came = [self._came(part, start_at, end_at) for part in self._late]
        return self._as_known(pl.concat([new, before.filter(pl.any_horizontal(came))]), end_at)

    def first_between(self, start_at: int, end_at: int) -> "pl.DataFrame":
        """Return the rows that were first known in ``(start_at, end_at]``, as they were known at its end."""
        first, last = self._places(start_at, end_at)
        return self._as_known(self._rows[first:last], end_at)

    def completed_between(self, start_at: int, end_at: int) -> "list[pl.DataFrame]":
        """Return keys and columns that became known in ``(start_at, end_at]`` of rows that were known before."""
        before = self._rows[: self._places(start_at, end_at)[0]]
        parts = [(part, before.filter(self._came(part, start_at, end_at))) for part in self._late]
        return [rows.select(*self._key, *part.columns) for part, rows in parts if rows.height]

    def _places(self, start_at: int, end_at: int) -> tuple[int, int]:
        first, last = (int(self._moments.searchsorted(at, side="right")) for at in (start_at, end_at))
        return first, last

    @staticmethod
    def _came(part: Late, start_at: int, end_at: int) -> "pl.Expr":
        import polars as pl

        at = pl.col(part.known_at).dt.epoch("us")
        return ((at > start_at) & (at <= end_at)).fill_null(value=False)

    def _as_known(self, rows: "pl.DataFrame", at_us: int) -> "pl.DataFrame":
        import polars as pl

        for part in self._late:
            is_known = pl.col(part.known_at).dt.epoch("us") <= at_us
            rows = rows.with_columns(pl.when(is_known).then(name).otherwise(None).alias(name) for name in part.columns)
        return rows.drop([part.known_at for part in self._late])


class Requests:
    """Requests by event time, with the outcome that will be known later.

    Args:
        rows: The fields of a request; ``event_at`` the moment of each (Datetime UTC).
        event_at: Column with the moment of the request; it is sent too.
        label: Column with the outcome, null where there never is one; it is not sent.
        label_at: Column with the moment the outcome becomes known; it is not sent.
    """

    def __init__(self, rows: "pl.DataFrame", *, event_at: str, label: str, label_at: str) -> None:
        ordered = rows.sort(event_at, maintain_order=True)
        self._moments = ordered[event_at].dt.epoch("us").to_numpy()
        self._labels: list[Any] = ordered[label].to_list()
        self._label_at: list[int | None] = ordered[label_at].dt.epoch("us").to_list()
        self._rows = ordered.drop(label, label_at)

    def between(self, start_at: int, end_at: int) -> tuple[list[dict[str, Any]], list[tuple[Any, int | None]]]:
        """Return the requests in ``[start_at, end_at)`` and, beside each, its outcome and when that is known."""
        first = int(self._moments.searchsorted(start_at, side="left"))
        last = int(self._moments.searchsorted(end_at, side="left"))
        outcomes = list(zip(self._labels[first:last], self._label_at[first:last], strict=True))
        return to_rows(self._rows[first:last]), outcomes


class Tally(msgspec.Struct):
    """What a replay has sent and got so far."""

    hours: int = 0
    predictions: int = 0
    labels: int = 0
    pushed: int = 0
    appends: int = 0


class Replay:
    """Drives one deployment through a stretch of history.

    Args:
        world: The project.
        deployment: Its endpoint.
        streams: What becomes known; pushed every hour and appended as dataset versions every day.
        requests: What is asked.
    """

    def __init__(self, world: World, deployment: str, streams: list[Stream], requests: Requests) -> None:
        self.tally = Tally()
        self._world = world
        self._deployment = world.deployment(deployment)
        self._streams = streams
        self._requests = requests
        self._waiting: list[tuple[int, str, Any]] = []
        self._pushed_until = 0

    def run(self, start_at: int, end_at: int, *, day_starts_at: int) -> Iterator[int]:
        """Replay ``[start_at, end_at)`` hour by hour; yields the clock after each hour in which something happened.

        Args:
            start_at: Moment of the first hour, microseconds UTC.
            end_at: Moment after the last.
            day_starts_at: A moment at which a day begins; rows are appended as dataset versions once a day.
        """
        self._pushed_until = start_at
        for hour_at in range(start_at, end_at, HOUR_US):
            clock_at = hour_at + HOUR_US
            rows, outcomes = self._requests.between(hour_at, clock_at)
            ends_day = (clock_at - day_starts_at) % DAY_US == 0
            if ends_day:
                self._append(clock_at - DAY_US, clock_at)
            if rows or ends_day or clock_at >= end_at:
                yield self._hour(clock_at, rows, outcomes)

    def notes(self) -> dict[str, Any]:
        """Return what a later process needs to go on: counts and the labels that are not known yet."""
        return {"tally": msgspec.to_builtins(self.tally), "waiting": self._waiting}

    def restore(self, notes: dict[str, Any]) -> None:
        """Go on from the notes of an earlier process."""
        self.tally = msgspec.convert(notes["tally"], Tally)
        self._waiting = [(at, name, label) for at, name, label in notes["waiting"]]

    def settle(self, until: int) -> None:
        """Send the labels that become known by ``until`` and move the clock there."""
        self._send_labels(until)
        self._world.advance(until)

    def _hour(self, clock_at: int, rows: list[dict[str, Any]], outcomes: list[tuple[Any, int | None]]) -> int:
        self._send_labels(clock_at)
        self._push(clock_at)
        self._world.advance(clock_at)
        if rows:
            answers = self._deployment.predict(rows)
            for answer, (label, label_at) in zip(answers, outcomes, strict=True):
                if label is not None and label_at is not None:
                    self._waiting.append((label_at, answer["prediction_id"], label))
            self.tally.predictions += len(answers)
        self.tally.hours += 1
        return clock_at

    def _send_labels(self, until: int) -> None:
        due = [one for one in self._waiting if one[0] <= until]
        if due:
            self._waiting = [one for one in self._waiting if one[0] > until]
            labels = [{"prediction_id": name, "label": label, "event_at": at} for at, name, label in due]
            self.tally.labels += self._deployment.label(labels)

    def _push(self, until: int) -> None:
        for stream in self._streams:
            rows = stream.between(self._pushed_until, until)
            if rows.height:
                self.tally.pushed += self._world.dataset(stream.dataset).push(rows)
        self._pushed_until = until

    def _append(self, start_at: int, end_at: int) -> None:
        for stream in self._streams:
            dataset, reason = self._world.dataset(stream.dataset), "what became known in the day before"
            rows = stream.first_between(start_at, end_at)
            if rows.height:
                dataset.append(rows, reason=reason)
                self.tally.appends += 1
            for rows in stream.completed_between(start_at, end_at):
                dataset.complete(rows, reason=reason)
