"""Rows of datasets as they become known: into the online store of every live plan, and into the spool.

This module needs Polars, so it is loaded as a plugin with the first push.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import polars as pl

from loopwright.data import PUSHED_AT
from loopwright.features import BoundView, DatasetPushSpec, dtype_of, is_other_kind, online, typed_frame
from loopwright.gateway.answering.inputs import Row
from loopwright.gateway.log.batches import Batch, Layout
from loopwright.gateway.stamps import Stamp
from loopwright.gateway.values import EVER, window_at
from loopwright.kernel.clock import format_moment
from loopwright.kernel.code import CodeRef
from loopwright.kernel.errors import InvalidInput, LoopwrightError, StepFailed, TooLarge
from loopwright.store.streams import PUSHES

MOST_COLUMNS = 2_000
MOST_CELLS = 10_000_000
_DTYPES: dict[Any, str] = {pl.String: "str", pl.Boolean: "bool", pl.Null: "null"}


_OURS = {PUSHED_AT, *(f"raw.{name}" for name in PUSHES.names)}
"""Names under which the log, and what reads it, keep what is theirs."""


class Push(NamedTuple):
    """Rows that were read: as the log keeps them, without what is personal, and as the views of the store see them."""

    batch: Batch
    parts: list[online.Part]
    event_at: list[int]


class PushTarget:
    """One dataset as the gateway knows it now.

    Args:
        spec: Key, time, known-at, transform and dtypes.
        views: Views over it, of every live plan.
        load: Returns the user function a code ref names.
        store: The online store.
        personal: Columns that are left out of the log.
    """

    def __init__(
        self,
        spec: DatasetPushSpec,
        views: Sequence[BoundView],
        load: Callable[[CodeRef], Callable[..., Any]],
        store: online.OnlineStore,
        personal: Collection[str] = (),
    ) -> None:
        self._spec, self._load, self._store, self._personal = spec, load, store, personal
        self._by_meaning: dict[str, list[BoundView]] = {}
        for view in views:
            self._by_meaning.setdefault(repr((view.dataset.transform, view.dataset.dtypes)), []).append(view)

    def prepare(self, rows: Sequence[Row], stamp: Stamp) -> Push:
        """Read rows and have the users' transforms run; nothing is changed yet.

        Args:
            rows: JSON rows with the dataset's raw columns.
            stamp: Names the rows, and says when they came.

        Raises:
            InvalidInput: A row breaks a rule; names ``rows[i].column``.
            TooLarge: There are too many columns.
            StepFailed: The transform raised.
        """
        _check_width(rows)
        raw = _typed(rows, self._spec)
        self._check_keys(raw)
        event_at = self._event_at(raw, stamp.at_us)
        raw, parts = self._read_by_views(raw, rows)
        batch = _batch(self._loggable(raw) if self._personal else raw, event_at, stamp)
        return Push(batch, parts, event_at)

    def commit(self, push: Push, now_us: int | None, log: Callable[[Batch], None]) -> None:
        """Put rows into the log and into the online store, both or none.

        The store has taken the rows, unseen, when they go to the log; then features see them.

        Args:
            push: The rows.
            now_us: The project's present; None where it is replayed.
            log: Puts rows into the log; where it raises, nothing was taken.

        Raises:
            InvalidInput: A moment cannot be used. Nothing was taken.
            StorageFull, Unavailable: The store cannot be written. Where that shows only at the very end, the rows are
                in the log and features do not see them; sending them again mends that.
        """
        self._check_moments(push.event_at, now_us)
        self._store.push_together(push.parts, now_us, lambda: log(push.batch))

    def _check_moments(self, event_at: Sequence[int], now_us: int | None) -> None:
        """Refuse moments that cannot be meant, also where no view looks at them."""
        window = EVER if now_us is None else window_at(now_us, is_replay=False)
        if window.first_us <= min(event_at) and max(event_at) <= window.last_us:
            return
        place, at_us = next((i, at) for i, at in enumerate(event_at) if not window.first_us <= at <= window.last_us)
        raise InvalidInput(
            "this moment is out of range",
            field=f"rows[{place}].{self._spec.time}",
            value=at_us,
            rule=f"from {format_moment(window.first_us)} to {format_moment(window.last_us)}",
        )

    def _loggable(self, raw: pl.DataFrame) -> pl.DataFrame:
        """Return rows without what is personal, nor what a transform takes away: it may become what is personal."""
        kept = raw.columns
        if self._spec.transform is not None:
            kept = [*self._spec.key, self._spec.time, *self._spec.dtypes]
        return raw.select(name for name in raw.columns if name in kept and name not in self._personal)

    def _read_by_views(self, raw: pl.DataFrame, rows: Sequence[Row]) -> tuple[pl.DataFrame, list[online.Part]]:
        """Return raw rows and what the views see of them.

        A null of JSON is of no kind. Where a transform raises on nulls of its own result's dtype, they are text to it.
        """
        try:
            return raw, self._parts(raw, rows)
        except StepFailed:
            empty = self._without_kind(raw)
            if not empty:
                raise
            as_text = raw.with_columns(pl.col(empty).cast(pl.String))
            with suppress(LoopwrightError):
                return as_text, self._parts(as_text, rows, empty)
            raise

    def _parts(self, raw: pl.DataFrame, rows: Sequence[Row], empty: Sequence[str] = ()) -> list[online.Part]:
        """Return rows as the views see them, with the columns of ``empty`` as text."""
        parts = []
        for views in self._by_meaning.values():
            spec = views[0].dataset
            is_alike = (spec.transform is None, spec.dtypes) == (self._spec.transform is None, self._spec.dtypes)
            frame = raw if is_alike else _typed(rows, spec).with_columns(pl.col(list(empty)).cast(pl.String))
            parts.append(online.Part(views, self._transformed(frame, spec)))
        return parts

    def _without_kind(self, raw: pl.DataFrame) -> list[str]:
        """Return the columns that have a dtype only because the dataset's newest version has it."""
        dtypes = {} if self._spec.transform is None else self._spec.dtypes
        named = {*self._spec.key, *_times(self._spec)}
        return [name for name in raw.columns if name in dtypes and name not in named and _is_empty(raw, name)]

    def _transformed(self, frame: pl.DataFrame, spec: DatasetPushSpec) -> pl.DataFrame:
        if spec.transform is None:
            return frame
        function = self._load(spec.transform)
        try:
            answer = function(frame.lazy())
            # The engine for large frames, which is the default, takes three times as long on a few rows.
            answer = answer.collect(engine="in-memory") if isinstance(answer, pl.LazyFrame) else answer
            if not isinstance(answer, pl.DataFrame):
                raise TypeError(f"a {type(answer).__name__} is no frame: it returns the frame that it made")
        except LoopwrightError:
            raise
        except Exception as error:
            message = f"the transform of {spec.name} raised {type(error).__name__}: {error}"
            raise StepFailed(message, field=f"dataset.{spec.name}") from error
        _check_made(answer, frame, spec)
        return answer

    def _check_keys(self, raw: pl.DataFrame) -> None:
        for name in self._spec.key:
            if name not in raw.columns:
                raise InvalidInput("the key is missing", field=f"rows[0].{name}", rule="every key column is given")
            column = raw.get_column(name)
            if (gap := _first_gap(column)) is not None:
                raise InvalidInput("the key is missing", field=f"rows[{gap}].{name}", rule="a key is never null")
            texts = column.to_list() if column.dtype == pl.String else ()
            for index, text in enumerate(texts):
                if "\0" in text:
                    raise InvalidInput("a key holds no NUL", field=f"rows[{index}].{name}", value=text, rule="text")

    def _event_at(self, raw: pl.DataFrame, recorded_at: int) -> list[int]:
        name = self._spec.time
        if not name:
            return [recorded_at] * raw.height
        if name not in raw.columns:
            raise InvalidInput("the time is missing", field=f"rows[0].{name}", rule="every row says when it happened")
        column = raw.get_column(name)
        if (gap := _first_gap(column)) is not None:
            raise InvalidInput("the time is missing", field=f"rows[{gap}].{name}", rule="a time is never null")
        return _epochs(column)


def _check_width(rows: Sequence[Row]) -> None:
    """Refuse rows that name so many columns that reading them would cost rows times columns."""
    names = {name for row in rows for name in row}
    if own := sorted(name for name in names if name.startswith("__") or name in _OURS):
        rule = f"no name that begins with __, nor one of {', '.join(sorted(_OURS))}"
        raise InvalidInput("this name is kept for the platform", field=f"rows.{own[0]}", value=own[0], rule=rule)
    columns = len(names)
    if columns > MOST_COLUMNS or columns * len(rows) > MOST_CELLS:
        raise TooLarge(
            "these rows name too many columns",
            field="rows",
            value=columns,
            rule=f"at most {MOST_COLUMNS} columns, and {MOST_CELLS:,} values, in one request",
            next_step="send fewer rows at a time, with the dataset's columns alone",
        )


def _typed(rows: Sequence[Row], spec: DatasetPushSpec) -> pl.DataFrame:
    """Return rows in the dataset's dtypes; its moments are known even before it has a version."""
    dtypes = {**dict.fromkeys(_times(spec), "Datetime(us, UTC)"), **spec.dtypes}
    return typed_frame(rows, dtypes, zone=spec.zone, is_raw=spec.transform is not None)


def _times(spec: DatasetPushSpec) -> list[str]:
    names = [spec.time, *(known.column for known in spec.known_at.values())]
    return [name for name in names if name]


def _is_empty(frame: pl.DataFrame, name: str) -> bool:
    return frame.get_column(name).null_count() == frame.height


def _check_made(made: pl.DataFrame, frame: pl.DataFrame, spec: DatasetPushSpec) -> None:
    """Refuse a value that came as another kind than its column's and that the transform left so."""
    for name, text in spec.dtypes.items():
        dtype = frame.schema.get(name)
        if dtype is None or made.schema.get(name) != dtype or not is_other_kind(dtype, dtype_of(text)):
            continue
        column = frame.get_column(name)
        if (place := column.is_not_null().arg_max()) is not None and column[place] is not None:
            raise InvalidInput(
                "this value does not fit its column", field=f"rows[{place}].{name}", value=column[place], rule=text
            )


def _batch(raw: pl.DataFrame, event_at: list[int], stamp: Stamp) -> Batch:
    """Return raw rows as a spool batch; a raw column named like one of ours is kept as ``raw.<name>``."""
    names: list[tuple[str, str]] = []
    columns: list[list[Any]] = []
    for series in raw.get_columns():
        dtype, values = _plain(series)
        names.append((f"raw.{series.name}" if series.name in PUSHES.names else series.name, dtype))
        columns.append(values)
    named: dict[str, list[Any]] = {
        "push_id": list(stamp.ids("push", raw.height)),
        "event_at": event_at,
        "recorded_at": [stamp.at_us] * raw.height,
    }
    return Batch.of(Layout.of(PUSHES, further=names), raw.height, named, columns)


def _first_gap(column: pl.Series) -> int | None:
    return int(column.is_null().arg_true()[0]) if column.null_count() else None


def _epochs(column: pl.Series) -> list[Any]:
    """Return moments as microseconds UTC; whole numbers are that already."""
    if isinstance(column.dtype, pl.Datetime):
        column = column.cast(pl.Datetime("us"))
    return column.cast(pl.Int64).to_list()


def _plain(series: pl.Series) -> tuple[str, list[Any]]:
    dtype = series.dtype
    if isinstance(dtype, pl.Datetime):
        return "time", _epochs(series)
    if dtype.is_integer():
        return "i64", series.cast(pl.Int64).to_list()
    if dtype.is_numeric():
        return "f64", series.cast(pl.Float64).to_list()
    if dtype in _DTYPES:
        return _DTYPES[dtype], series.to_list()
    return "str", series.cast(pl.String).to_list()
