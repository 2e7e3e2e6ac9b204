"""Rows under what came to them later: fragments of whole rows, and above them cells and removals of other fragments.

A fragment of cells holds, for rows of earlier fragments, the columns that became known or were corrected and no others:
``TARGET`` and ``ROW`` name the row, a column that starts with ``KNOWN`` says of each value when it became known, and is
null where the fragment says nothing of it. So a label that comes a year late costs its own bytes, and what a row looked
like before stays readable: each of its states is a stage.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl
from polars.io.plugins import register_io_source

from loopwright.data.types import Fragment, FragmentPlace
from loopwright.store.blobs import BlobStore

MOST_FRAGMENT_ROWS = 262_144
TARGET, ROW = "__target", "__row"
"""Which of the fragment's targets, UInt32, and which row of it, UInt32."""
KNOWN = "__known_at."
"""Before a column's name: when the value became known, Int64 microseconds UTC; null where it was not given."""
SUPERSEDED = "__superseded_at."
"""Before a column's name, in stages: when the value that followed became known; null where none did."""
STAGE = "__stage"
"""In stages: how many changes a row had seen, UInt32."""
PLACE = "__place"
"""Number of a row among those of the opened fragments, UInt32."""

CAME = "__came_at"
"""Of rows that change others: when their values became known, where they tell."""
NEW = "__new."
"""Before a column's name: what is to take its place."""
_OWN = {TARGET, ROW, STAGE, PLACE, CAME, "__old"}
_FIRST = pl.lit(0, pl.UInt32).alias(STAGE)
Schema = dict[str, pl.DataType]
Ints = npt.NDArray[np.int64]


class _Newest(NamedTuple):
    """The last values of some columns: ``place``, int64 (n,), ascending, and ``values``, a frame of n rows."""

    place: Ints
    values: pl.DataFrame


class Layers:
    """The fragments of a version that are opened together.

    Args:
        fragments: Of one version, in its order; cells and removals whose targets are not among them are left out.
        schema: Dtypes of the version's columns.
        blobs: Where the fragments are stored.
    """

    def __init__(self, fragments: Sequence[Fragment], schema: Schema, blobs: BlobStore) -> None:
        self._blobs, self._schema = blobs, schema
        self.whole = [fragment for fragment in fragments if fragment.kind == "rows"]
        starts = np.cumsum([0, *(fragment.rows for fragment in self.whole)]).tolist()
        self._starts = {fragment.place: start for fragment, start in zip(self.whole, starts, strict=False)}
        self.height: int = starts[-1]
        above = [fragment for fragment in fragments if fragment.kind != "rows" and self._meets(fragment)]
        self.cells = [fragment for fragment in above if fragment.kind == "cells"]
        self.removals = [fragment for fragment in above if fragment.kind == "removed"]

    @property
    def is_flat(self) -> bool:
        """Whether nothing lies above the rows."""
        return not self.cells and not self.removals

    def _meets(self, fragment: Fragment) -> bool:
        return any(target in self._starts for target in fragment.targets)

    def targets_of(self, places: Ints) -> tuple[list[FragmentPlace], npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
        """Return the fragments that rows lie in, and for each row which of them and where in it, uint32 (n,)."""
        starts = np.array(list(self._starts.values()), np.int64)
        which = np.searchsorted(starts, places, side="right") - 1
        used, target = np.unique(which, return_inverse=True)
        named = list(self._starts)
        targets = [place for place in (named[index] for index in used.tolist()) if place is not None]
        return targets, target.astype(np.uint32), (places - starts[which]).astype(np.uint32)

    def places_of(self, fragment: Fragment) -> pl.Series:
        """Return the places of the rows that cells or removals speak of, as far as those are opened."""
        return self._read(fragment, [])[PLACE]

    def ranges_of(self, fragments: Collection[Fragment]) -> list[tuple[int, int]]:
        """Return the first place of each of these fragments of rows, and the place past its last."""
        starts = [(self._starts[fragment.place], fragment.rows) for fragment in fragments]
        return [(start, start + rows) for start, rows in starts]

    def scan(self, columns: Collection[str], *, has_place: bool = False) -> pl.LazyFrame:
        """Return the rows as they are now, in stored order, with ``PLACE`` if it is asked for.

        Args:
            columns: Which, in any order.
            has_place: Whether to number the rows.
        """
        if self.is_flat and not has_place:
            return self._whole_rows().select(columns)
        schema = {PLACE: pl.UInt32(), **{name: self._schema[name] for name in columns}}
        rows = register_io_source(self._batches, schema=schema)
        return rows if has_place else rows.drop(PLACE)

    def _batches(
        self, columns: list[str] | None, predicate: pl.Expr | None, most: int | None, _size: int | None
    ) -> Iterator[pl.DataFrame]:
        """Yield the rows as they are now, a fragment at a time; Polars tells which columns and rows it needs."""
        wanted = [PLACE, *self._schema] if columns is None else columns
        named = [name for name in wanted if name != PLACE]
        newest, gone = self._newest_cells(named), self._removed_places()
        for fragment in self.whole:
            start = self._starts[fragment.place]
            paths, end = [self._blobs.path(fragment.digest)], start + fragment.rows
            rows = pl.scan_parquet(paths, schema=self._schema, missing_columns="insert", glob=False)
            frame = rows.select(named).collect() if named else pl.DataFrame(height=fragment.rows)
            for cells in newest:
                low, high = (int(at) for at in np.searchsorted(cells.place, [start, end]))
                if low < high:
                    frame = _laid_over(frame, cells.values[low:high], cells.place[low:high] - start)
            place = pl.Series(PLACE, np.arange(start, end), pl.UInt32)
            frame = frame.with_columns(place) if frame.width else place.to_frame()
            low, high = (int(at) for at in np.searchsorted(gone, [start, end]))
            if low < high:
                stays = np.ones(fragment.rows, np.bool_)
                stays[gone[low:high] - start] = False
                frame = frame.filter(pl.Series(stays))
            frame = frame.select(wanted)
            if most is not None:  # of both the limit comes first: the rows that are asked for, and of those some
                frame = frame.head(most)
                most -= frame.height
            yield frame if predicate is None else frame.filter(predicate)
            if most == 0:
                return

    def stages(self, columns: Collection[str], above: Collection[Fragment] | None = None) -> pl.LazyFrame:
        """Return every state that each row was in: rows as they came, and once more for each change they saw.

        Args:
            columns: Which; ``KNOWN``, ``SUPERSEDED`` and ``STAGE`` come with those that changed.
            above: Only rows that these fragments of cells changed; None for all.
        """
        rows = self._without_removed(self._whole_rows().with_row_index(PLACE)).select(PLACE, *columns)
        layers = [(cells, self._read_cells(cells, columns)) for cells in self.cells]
        layers = [(cells, frame) for cells, frame in layers if frame.width > 1]
        chosen = [frame.select(PLACE) for cells, frame in layers if above is None or cells in above]
        if not chosen:
            return self.scan(columns) if above is None else rows.drop(PLACE).head(0)
        touched = pl.concat(chosen).unique().lazy()
        first = rows.join(touched, on=PLACE, how="semi", maintain_order="left").collect()
        changed = _staged(first, [frame for _, frame in layers], columns).lazy()
        if above is not None:
            return changed.drop(PLACE)
        rest = rows.join(touched, on=PLACE, how="anti", maintain_order="left").with_columns(_FIRST)
        return pl.concat([rest, changed], how="diagonal").drop(PLACE)

    def standing(self, offset: int, limit: int) -> Ints:
        """Return the places of up to ``limit`` rows that are still there, after ``offset`` others, int64 (n,).

        Of the removals only those are read that speak of the rows up to there.
        """
        found: list[Ints] = []
        for fragment in self.whole:
            start, gone = self._starts[fragment.place], self._gone_from(fragment)
            stays = fragment.rows - len(gone)
            if offset >= stays:
                offset -= stays
                continue
            taken = min(limit, stays - offset)
            if len(gone):
                there = np.setdiff1d(np.arange(start, start + fragment.rows), gone, assume_unique=True)
                found.append(there[offset : offset + taken])
            else:
                found.append(np.arange(start + offset, start + offset + taken))
            offset, limit = 0, limit - taken
            if not limit:
                break
        return np.concatenate(found) if found else np.zeros(0, np.int64)

    def rows_at(self, columns: Sequence[str], places: Ints) -> pl.DataFrame:
        """Return the rows of a few places as they are now; of each file only the stretch is read that they lie in.

        Args:
            columns: Which, in their order.
            places: int64 (n,), ascending.
        """
        parts = []
        for fragment in self.whole:
            start = self._starts[fragment.place]
            low, high = (int(at) for at in np.searchsorted(places, [start, start + fragment.rows]))
            if low < high:
                scan = pl.scan_parquet(
                    self._blobs.path(fragment.digest), schema=self._schema, missing_columns="insert", glob=False
                )
                parts.append(_picked(scan.select(columns), places[low:high] - start))
        if not parts:
            return pl.DataFrame(schema={name: self._schema[name] for name in columns})
        frame = pl.concat(parts)
        for cells in self._newest_cells(columns, places):
            frame = _laid_over(frame, cells.values, np.searchsorted(places, cells.place))
        return frame.select(columns)

    def _gone_from(self, fragment: Fragment) -> Ints:
        """Return the places of the rows of a fragment that are no more, int64 (n,), ascending."""
        start = self._starts[fragment.place]
        speaking = [part for part in self.removals if fragment.place in part.targets]
        parts = [self.places_of(part).to_numpy().astype(np.int64) for part in speaking]
        places: Ints = np.unique(np.concatenate(parts)) if parts else np.zeros(0, np.int64)
        low, high = np.searchsorted(places, [start, start + fragment.rows])
        return places[low:high]

    def known_at(self, column: str, places: Ints) -> Ints:
        """Return when the values of a column that rows have now came, int64 (n,); 0 where they came with the rows.

        Args:
            column: Which.
            places: Of the rows, int64 (n,).
        """
        known = np.zeros(len(places), np.int64)
        order, asked = np.argsort(places, kind="stable"), pl.Series(places, dtype=pl.UInt32)
        for fragment in self.cells:
            cells = self._read_cells(fragment, [column])
            if KNOWN + column in cells.columns:
                said = cells.filter(pl.col(KNOWN + column).is_not_null() & pl.col(PLACE).is_in(asked.implode()))
                at = order[np.searchsorted(places, said[PLACE].to_numpy(), sorter=order)]
                known[at] = said[KNOWN + column].to_numpy()
        return known

    def _whole_rows(self) -> pl.LazyFrame:
        if not self.whole:
            return pl.LazyFrame(schema=self._schema)
        paths = [self._blobs.path(fragment.digest) for fragment in self.whole]
        return pl.scan_parquet(paths, schema=self._schema, missing_columns="insert", glob=False)

    def _without_removed(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        if not self.removals:
            return rows
        places = pl.Series(PLACE, self._removed_places(), pl.UInt32).to_frame().lazy()
        return rows.join(places, on=PLACE, how="anti", maintain_order="left")

    def _removed_places(self) -> Ints:
        """Return the places of the rows that are no more, int64 (n,), ascending."""
        parts = [self.places_of(fragment).to_numpy().astype(np.int64) for fragment in self.removals]
        return np.sort(np.concatenate(parts)) if parts else np.zeros(0, np.int64)

    def _newest_cells(self, columns: Collection[str], among: Ints | None = None) -> list[_Newest]:
        """Return the last given values by place; columns that were given together stand together.

        ``among`` are the places that are asked for, None for all: fragments that speak of none are not opened.
        """
        given: dict[tuple[tuple[int, int], ...], list[str]] = {}
        opened = self.cells if among is None else self._speaking_of(among)
        layers = [self._read_cells(fragment, columns, among) for fragment in opened]
        for name in columns:
            # Values were given together where the same layers gave them for the same number of rows, which are all.
            by = [(index, frame.height) for index, frame in enumerate(layers) if KNOWN + name in frame.columns]
            whole = all(not layers[index][KNOWN + name].null_count() for index, _ in by)
            if by:
                given.setdefault(tuple(by) if whole else ((-1, len(given)), *by), []).append(name)
        newest = []
        for by_layer, names in given.items():
            parts = [
                layers[index].filter(pl.col(KNOWN + names[0]).is_not_null()).select(PLACE, *names)
                for index, _ in by_layer
                if index >= 0
            ]
            last = pl.concat(parts).unique(PLACE, keep="last", maintain_order=True).sort(PLACE)
            newest.append(_Newest(last[PLACE].to_numpy().astype(np.int64), last.drop(PLACE)))
        return newest

    def _speaking_of(self, places: Ints) -> list[Fragment]:
        """Return the fragments of cells whose targets hold some of these places."""
        held = set(self.targets_of(places)[0])
        return [part for part in self.cells if not held.isdisjoint(part.targets)]

    def _read_cells(self, fragment: Fragment, columns: Collection[str], among: Ints | None = None) -> pl.DataFrame:
        """Return ``PLACE`` and of these columns those that the fragment gives, with ``KNOWN``."""
        frame = self._read(fragment, columns, among)
        names = [name for name in columns if KNOWN + name in frame.columns]
        return frame.select(
            PLACE, *(pl.col(name).cast(self._schema[name]) for name in names), *(KNOWN + n for n in names)
        )

    def _read(self, fragment: Fragment, columns: Collection[str], among: Ints | None = None) -> pl.DataFrame:
        scan = pl.scan_parquet(self._blobs.path(fragment.digest), glob=False)
        there = scan.collect_schema().names()
        wanted = [name for name in columns if KNOWN + name in there]
        named = [TARGET, ROW, *wanted, *(KNOWN + name for name in wanted)]
        if among is None:
            frame = scan.select(named).collect()
        else:
            place = self._placed(fragment, scan.select(TARGET, ROW).collect())
            frame = _picked(scan.select(named), np.flatnonzero(np.isin(place, among)))
        place = self._placed(fragment, frame)
        opened = pl.Series(PLACE, np.maximum(place, 0), pl.UInt32)
        frame = frame.drop(TARGET, ROW).with_columns(opened)
        return frame if (place >= 0).all() else frame.filter(pl.Series(place >= 0))

    def _placed(self, fragment: Fragment, frame: pl.DataFrame) -> Ints:
        """Return the place of each row that a fragment speaks of, int64 (n,), -1 where its target is not opened."""
        starts = np.array([self._starts.get(target, -1) for target in fragment.targets], np.int64)
        start = starts[frame[TARGET].to_numpy()]
        return np.where(start < 0, -1, start + frame[ROW].to_numpy())


def _picked(rows: pl.LazyFrame, at: Ints) -> pl.DataFrame:
    """Return some rows of a file by their numbers in it, int64 (n,), ascending."""
    if not len(at):
        return rows.head(0).collect()
    first, last = int(at[0]), int(at[-1])
    return rows.slice(first, last - first + 1).collect()[at - first]


def _laid_over(frame: pl.DataFrame, values: pl.DataFrame, rows: Ints) -> pl.DataFrame:
    """Return a frame with the values of some columns at these rows, int64 (n,), in the place of what is there."""
    # One gather for all columns of whatever dtype: what is there, with what came behind it.
    index = np.arange(frame.height)
    index[rows] = frame.height + np.arange(len(rows))
    return frame.with_columns(pl.concat([frame.select(values.columns), values])[index])


def is_own(name: str) -> bool:
    """Say whether a column's name is one that versions and what reads them keep for themselves."""
    return name in _OWN or name.startswith((KNOWN, SUPERSEDED, NEW))


def is_moment(name: str) -> bool:
    """Say whether a column of stages tells when a value became known, or when the one after it did."""
    return name.startswith((KNOWN, SUPERSEDED))


def is_known(name: str) -> bool:
    """Say whether a column of stages tells when a value became known."""
    return name.startswith(KNOWN)


def hidden(columns: Collection[str], there: Collection[str]) -> list[str]:
    """Return the names that stages have beside these columns, as far as they are there."""
    names = [STAGE, *(prefix + name for name in columns for prefix in (KNOWN, SUPERSEDED))]
    return [name for name in names if name in there]


def _staged(first: pl.DataFrame, layers: Sequence[pl.DataFrame], columns: Collection[str]) -> pl.DataFrame:
    """Return all stages of some rows.

    Args:
        first: The rows as they came, with ``PLACE``.
        layers: What changed of them, oldest first, with ``PLACE`` and ``KNOWN``.
        columns: Which may change.
    """
    changing = [name for name in columns if any(KNOWN + name in layer.columns for layer in layers)]
    unset = [pl.lit(None, pl.Int64).alias(prefix + name) for name in changing for prefix in (KNOWN, SUPERSEDED)]
    state = first.with_columns(_FIRST, *unset)
    passed = []
    for layer in layers:
        names = [name for name in changing if KNOWN + name in layer.columns]
        given = layer.rename({name: NEW + name for name in (*names, *(KNOWN + name for name in names))})
        joined = state.join(given, on=PLACE, how="left", maintain_order="left")
        is_met = pl.Series(state[PLACE].is_in(layer[PLACE].implode()))
        came = {name: pl.col(NEW + KNOWN + name) for name in names}
        ends = [came[name].alias(SUPERSEDED + name) for name in names]
        passed.append(joined.filter(is_met).with_columns(ends).select(state.columns))
        news = [
            pl.when(came[name].is_not_null()).then(NEW + prefix + name).otherwise(prefix + name).alias(prefix + name)
            for name in names
            for prefix in ("", KNOWN)
        ]
        moved = joined.with_columns(news).select(state.columns)
        state = moved.with_columns(pl.col(STAGE) + is_met.cast(pl.UInt32))
    # A value ends with the first of all those that came after it, though other columns may have changed before.
    ends = [pl.col(SUPERSEDED + name).cum_min(reverse=True).over(PLACE) for name in changing]
    lasting = [pl.col(SUPERSEDED + name).backward_fill().over(PLACE) for name in changing]
    return pl.concat([*passed, state]).sort(STAGE, maintain_order=True).with_columns(lasting).with_columns(ends)
