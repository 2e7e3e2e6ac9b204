"""Rows of a dataset as a view sees them: entity, times, value; one reading for training, fills and pushes."""

import hashlib
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from loopwright.data import fingerprints, known, layers, row_keys
from loopwright.features.aggregates import Partials, superseded_at, to_fixed
from loopwright.features.columns import as_feature, entities, is_present, moments
from loopwright.features.meanings import used_columns
from loopwright.features.pointintime import NEVER, NO_ROW, Ints
from loopwright.features.types import AggregateViewSpec, ColumnViewSpec, DatasetPushSpec
from loopwright.features.views import check_columns
from loopwright.kernel.errors import InvalidInput

_LONG_AGO = -(2**62)
_NULL_TEXT, _PART_END = "\x00", "\x1f"
_LONGEST_BYTES = 128
"""Longer texts are hashed twice, so that one of them does not make the grid of all of them wide."""


class DatasetRows:
    """Rows of one dataset, after its transform; what several views need is computed once."""

    def __init__(self, dataset: DatasetPushSpec, frame: pl.DataFrame) -> None:
        self.dataset = dataset
        self.frame = frame
        check_columns([*dataset.key, dataset.time], frame.columns, f"dataset {dataset.name}", "columns")
        self._known: dict[tuple[str, int], Ints] = {}
        self._fixed: dict[tuple[str, bool], tuple[NDArray[np.bool_], Ints]] = {}
        self._counted: dict[Any, tuple[Ints, dict[str, tuple[Ints, Ints]]]] = {}

    @cached_property
    def event_at(self) -> Ints:
        """Event times, int64 (n,), microseconds UTC."""
        return moments(self.frame[self.dataset.time], f"{self.dataset.name}.{self.dataset.time}")

    @cached_property
    def identity(self) -> Ints:
        """A hash of each row's key, int64 (n,): versions of one row share it."""
        return row_hashes(self.frame, self.dataset.key)

    @cached_property
    def identity_here(self) -> Ints:
        """The same, int64 (n,), by a hash that holds in this process alone and costs a hundredth."""
        hashes: Ints = (self.frame.select(self.dataset.key).hash_rows().to_numpy() >> np.uint64(1)).astype(np.int64)
        return hashes

    def known_at(self, column: str) -> Ints:
        """When each value of a column became known, int64 (n,), microseconds UTC; ``NEVER`` where it is not."""
        moment = known.known_moment(self.dataset, column)
        source, after_us = moment.column, moment.after_us
        if (source, after_us) not in self._known:
            check_columns([source], self.frame.columns, f"dataset {self.dataset.name}", f"known_at.{column}")
            at = moments(self.frame[source], f"{self.dataset.name}.{source}")
            self._known[source, after_us] = np.where(at == NEVER, NEVER, at + after_us)
        return self._as_it_came(column, self._known[source, after_us])

    def _as_it_came(self, column: str, declared: Ints) -> Ints:
        """Return when values became known that came after their row; ``NEVER`` where another was known before."""
        came, ended = (_stamps(self.frame, prefix + column) for prefix in (layers.KNOWN, layers.SUPERSEDED))
        if came is None or ended is None:
            return declared
        known_at = np.where(came == NEVER, declared, came)
        return np.where(known_at >= ended, NEVER, known_at)

    def has_overtaken(self, columns: Sequence[str]) -> bool:
        """Say whether a value of one of the columns was known by declaration only after another had replaced it."""
        for column in columns:
            ended = _stamps(self.frame, layers.SUPERSEDED + column)
            if ended is None:
                continue
            known_at = self.known_at(column)
            moment = known.known_moment(self.dataset, column)
            declared = self._known[moment.column, moment.after_us]
            if ((known_at == NEVER) & (declared != NEVER) & (ended != NEVER)).any():
                return True
        return False

    def fixed(self, column: str, *, is_counted: bool) -> tuple[NDArray[np.bool_], Ints]:
        """Return where a column is null, and its values in 2^-20ths (0 where it is only counted).

        Raises:
            InvalidInput: The column holds no numbers and is not only counted, or a number too large.
        """
        if (column, is_counted) not in self._fixed:
            series = self.frame[column]
            if is_counted:
                is_missing, fixed = ~is_present(series), np.zeros(len(series), np.int64)
                if series.dtype.is_float():  # no value either, whatever else is asked of the column
                    is_missing |= np.isnan(series.to_numpy())
            else:
                field = f"{self.dataset.name}.{column}"
                if not series.dtype.is_numeric() and series.dtype not in (pl.Boolean, pl.Null):
                    rule = "mean and sum need numbers; count takes anything"
                    told = f"column {column} of dataset {self.dataset.name} cannot be summed"
                    raise InvalidInput(told, field=field, value=str(series.dtype), rule=rule)
                numbers = series.cast(pl.Float64).to_numpy()
                is_missing = np.isnan(numbers)
                fixed = to_fixed(numbers, field)
            self._fixed[column, is_counted] = is_missing, fixed
        return self._fixed[column, is_counted]

    def counted(self, columns: tuple[tuple[str, bool], ...], counts: str) -> tuple[Ints, dict[str, tuple[Ints, Ints]]]:
        """Return the time that windows are cut by, and each column's known times and values in 2^-20ths.

        Args:
            columns: Names, each with whether it is only counted.
            counts: ``event`` or ``known``.
        """
        if (columns, counts) not in self._counted:
            by_column = {}
            for name, is_counted in columns:
                is_missing, fixed = self.fixed(name, is_counted=is_counted)
                by_column[name] = (np.where(is_missing, NEVER, self.known_at(name)), fixed)
            counted_at = self.event_at
            if counts == "known":
                known_at = np.stack([known_at for known_at, _ in by_column.values()])
                counted_at = np.where(known_at == NEVER, _LONG_AGO, known_at).max(axis=0)
            self._counted[columns, counts] = counted_at, by_column
        return self._counted[columns, counts]


def _stamps(frame: pl.DataFrame, name: str) -> Ints | None:
    if name not in frame.columns:
        return None
    stamps: Ints = frame[name].fill_null(NEVER).to_numpy()
    return stamps


class AggregateRows(NamedTuple):
    """Rows of an aggregate view: entity as text, and for each column its known times and values in 2^-20ths.

    ``counted_at`` is the time that windows are cut by; of views that count what became known, the row's last such time,
    each column having its own.
    """

    entity: pl.Series
    counted_at: Ints
    identity: Ints
    columns: dict[str, tuple[Ints, Ints]]
    counts: str

    def take(self, index: Ints) -> "AggregateRows":
        """Return some of the rows."""
        columns = {name: (known_at[index], fixed[index]) for name, (known_at, fixed) in self.columns.items()}
        return AggregateRows(self.entity[index], self.counted_at[index], self.identity[index], columns, self.counts)

    def partials(self, column: str, entity: Ints) -> tuple[Ints, Ints, Partials]:
        """Return entity codes, identities and partials of the rows whose value of a column is known to anyone."""
        known_at, value = self.columns[column]
        kept = np.flatnonzero(known_at != NEVER)
        codes, identity = entity[kept], self.identity[kept]
        counted_at = known_at if self.counts == "known" else self.counted_at
        partials = Partials(counted_at[kept], known_at[kept], known_at[kept], value[kept])
        return codes, identity, partials._replace(until=superseded_at(codes, identity, partials))


class LatestRows(NamedTuple):
    """Rows of a column view: entity as text, and for each column its known times and values (Float64 or String)."""

    entity: pl.Series
    event_at: Ints
    sequence: Ints
    identity: Ints
    known_at: dict[str, Ints]
    values: dict[str, pl.Series]

    def take(self, index: Ints) -> "LatestRows":
        """Return some of the rows."""
        known_at = {name: at[index] for name, at in self.known_at.items()}
        values = {name: column[index] for name, column in self.values.items()}
        kept = self.entity[index], self.event_at[index], self.sequence[index], self.identity[index]
        return LatestRows(*kept, known_at, values)


def aggregate_rows(view: AggregateViewSpec, rows: DatasetRows, *, is_stored: bool = True) -> AggregateRows:
    """Return the rows that may count in a view: those with an entity, an event time and a value.

    Args:
        view: Which columns.
        rows: The dataset's rows.
        is_stored: Identities are those of the online store and of requests; else they hold here alone.

    Raises:
        InvalidInput: A column is missing, or holds no numbers.
    """
    names = used_columns(view)
    kept = _kept(view, rows, names)
    counted = tuple(
        (name, all(aggregate.function == "count" for aggregate in view.aggregates if aggregate.column == name))
        for name in names
    )
    counted_at, columns = rows.counted(counted, view.counts)
    entity = _entity(view, rows, kept)
    identity = rows.identity if is_stored else rows.identity_here
    if len(kept) == rows.frame.height:
        return AggregateRows(entity, counted_at, identity, columns, view.counts)
    columns = {name: (known_at[kept], fixed[kept]) for name, (known_at, fixed) in columns.items()}
    return AggregateRows(entity, counted_at[kept], identity[kept], columns, view.counts)


def latest_rows(view: ColumnViewSpec, rows: DatasetRows) -> LatestRows:
    """Return the rows that may win in a view: those with an entity and an event time."""
    candidates = candidate_rows(view, rows)
    frame, known_at = candidates.frame, candidates.known_at
    # The order among ties comes from what a row says, not from when it arrived: any arrival is one state.
    sequence = row_hashes(frame, rows.dataset.key, view.columns)
    values = {name: as_feature(frame[name], f"{view.dataset}.{name}") for name in view.columns}
    entity = entities(candidates.entity, f"{view.dataset}.{view.entity}")
    return LatestRows(entity, candidates.event_at, sequence, candidates.identity(), known_at, values)


class CandidateRows(NamedTuple):
    """Rows of a column view as training asks them: what is not needed of all of them is told when it is asked for.

    ``frame`` holds the rows as they are, ``entity`` and ``event_at`` are theirs; columns that are known at the same
    moments share one array of ``known_at``, and so one search for winners.
    """

    dataset: DatasetPushSpec
    frame: pl.DataFrame
    entity: pl.Series
    event_at: Ints
    known_at: dict[str, Ints]
    columns: list[str]

    def identity(self) -> Ints:
        """Return a hash of each row's key, int64 (n,)."""
        return row_hashes(self.frame, self.dataset.key)

    def ties(self, tied: Ints) -> Ints:
        """Return the order among rows of one event and known time, by what they say."""
        return row_hashes(self.frame[tied], self.dataset.key, self.columns)


def candidate_rows(view: ColumnViewSpec, rows: DatasetRows) -> CandidateRows:
    """Return the rows that may win in a view: those with an entity and an event time."""
    kept = _kept(view, rows, view.columns)
    known_at = {name: rows.known_at(name) for name in view.columns}
    frame, event_at = rows.frame, rows.event_at
    if len(kept) < frame.height:
        chosen = {id(at): at[kept] for at in known_at.values()}
        known_at = {name: chosen[id(at)] for name, at in known_at.items()}
        frame, event_at = frame[kept], event_at[kept]
    return CandidateRows(rows.dataset, frame, frame[view.entity], event_at, known_at, view.columns)


def _kept(view: ColumnViewSpec | AggregateViewSpec, rows: DatasetRows, columns: list[str]) -> Ints:
    check_columns([view.entity, *columns], rows.frame.columns, f"dataset {view.dataset}", f"view.{view.name}")
    return np.flatnonzero(is_present(rows.frame[view.entity]) & (rows.event_at != NEVER))


def _entity(view: ColumnViewSpec | AggregateViewSpec, rows: DatasetRows, kept: Ints) -> pl.Series:
    series = rows.frame[view.entity]
    chosen = series if len(kept) == len(series) else series[kept]
    return entities(chosen, f"{view.dataset}.{view.entity}")


# --- identity: hashes that are stored in the online store, and so are the same everywhere and always ---


def row_hashes(frame: pl.DataFrame, key: Sequence[str], values: Sequence[str] = ()) -> Ints:
    """Return a hash of each row's key and values, int64 (n,), not negative."""
    texts = row_keys.row_ids(frame, key).to_list()
    if values:
        columns = [row_keys.texts(frame[name]).to_list() for name in values]
        parts = [[_NULL_TEXT if text is None else text for text in column] for column in columns]
        texts = [_PART_END.join(row) for row in zip(texts, *parts, strict=True)]
    return hash_texts(texts)


def identities(keys: Sequence[str | None]) -> Ints:
    """Return the identities of rows by their keys as texts, int64 (n,); ``NO_ROW`` where there is none."""
    hashes = np.full(len(keys), NO_ROW, np.int64)
    named = [place for place, key in enumerate(keys) if key is not None]
    hashes[named] = hash_texts([key for key in keys if key is not None])
    return hashes


def hash_texts(texts: Sequence[str]) -> Ints:
    """Return a 63-bit hash of each text, int64 (n,): SplitMix64's finaliser over its words of 8 bytes.

    All texts are hashed at once, as a grid of one row a word: a call of a hash function for each costs more.
    """
    encoded = [text.encode() for text in texts]
    encoded = [
        body if len(body) <= _LONGEST_BYTES else hashlib.blake2b(body, digest_size=32).digest() for body in encoded
    ]
    lengths = np.fromiter(map(len, encoded), np.uint64, len(encoded))
    words = max(1, math.ceil(int(lengths.max(initial=0)) / 8))
    grid = np.array(encoded, dtype=f"S{8 * words}").view("<u8").reshape(len(encoded), words).T
    # A word is told apart from the same word elsewhere in its text, and a text from itself with zeros behind.
    ordinals = np.arange(words, dtype=np.uint64)[:, None]
    state = fingerprints.finalise(lengths + fingerprints.GOLDEN)
    mixed = fingerprints.finalise(grid + ordinals + np.uint64(1))
    # A row's hash must not depend on how long the others are: words past its end are left out.
    for word, is_inside in zip(mixed, lengths > ordinals * np.uint64(8), strict=True):
        state = np.where(is_inside, fingerprints.finalise(state ^ word), state)
    hashes: Ints = (state >> np.uint64(1)).astype(np.int64)
    return hashes
