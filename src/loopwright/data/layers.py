"""Rows under what came to them later: fragments of whole rows, and above them cells and removals of other fragments.

A fragment of cells holds, for rows of earlier fragments, the columns that became known or were corrected and no others:
``TARGET`` and ``ROW`` name the row, a column that starts with ``KNOWN`` says of each value when it became known, and is
null where the fragment says nothing of it. So a label that comes a year late costs its own bytes, and what a row looked
like before stays readable: each of its states is a stage.
"""

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

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

_FIRST = pl.lit(0, pl.UInt32).alias(STAGE)
Schema = dict[str, pl.DataType]
Ints = npt.NDArray[np.int64]


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
        rows = self._whole_rows()
        if self.is_flat and not has_place:
            return rows.select(columns)
        rows = rows.with_row_index(PLACE).select(PLACE, *columns)
        for names, cells in self._newest_cells(columns):
            came = pl.col("__came").is_not_null()
            given = cells.rename({name: f"__new.{name}" for name in names}).with_columns(__came=True)
            rows = rows.join(given.lazy(), on=PLACE, how="left", maintain_order="left")
            rows = rows.with_columns(pl.when(came).then(f"__new.{name}").otherwise(name).alias(name) for name in names)
            rows = rows.drop("__came", *(f"__new.{name}" for name in names))
        rows = self._without_removed(rows)
        return rows if has_place else rows.drop(PLACE)

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

    def _whole_rows(self) -> pl.LazyFrame:
        if not self.whole:
            return pl.LazyFrame(schema=self._schema)
        paths = [self._blobs.path(fragment.digest) for fragment in self.whole]
        return pl.scan_parquet(paths, schema=self._schema, missing_columns="insert", glob=False)

    def _without_removed(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        if not self.removals:
            return rows
        places = pl.concat([self.places_of(fragment) for fragment in self.removals]).to_frame()
        return rows.join(places.lazy(), on=PLACE, how="anti", maintain_order="left")

    def _newest_cells(self, columns: Collection[str]) -> list[tuple[list[str], pl.DataFrame]]:
        """Return the last given values by place; columns that were given together share a frame, and so a join."""
        given: dict[tuple[tuple[int, int], ...], list[str]] = {}
        layers = [self._read_cells(fragment, columns) for fragment in self.cells]
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
            newest.append((names, pl.concat(parts).unique(PLACE, keep="last", maintain_order=True)))
        return newest

    def _read_cells(self, fragment: Fragment, columns: Collection[str]) -> pl.DataFrame:
        """Return ``PLACE`` and of these columns those that the fragment gives, with ``KNOWN``."""
        frame = self._read(fragment, columns)
        names = [name for name in columns if KNOWN + name in frame.columns]
        return frame.select(
            PLACE, *(pl.col(name).cast(self._schema[name]) for name in names), *(KNOWN + n for n in names)
        )

    def _read(self, fragment: Fragment, columns: Collection[str]) -> pl.DataFrame:
        scan = pl.scan_parquet(self._blobs.path(fragment.digest), glob=False)
        there = scan.collect_schema().names()
        wanted = [name for name in columns if KNOWN + name in there]
        frame = scan.select(TARGET, ROW, *wanted, *(KNOWN + name for name in wanted)).collect()
        starts = np.array([self._starts.get(target, -1) for target in fragment.targets], np.int64)
        start = starts[frame[TARGET].to_numpy()]
        place = pl.Series(PLACE, np.where(start < 0, 0, start + frame[ROW].to_numpy()), pl.UInt32)
        frame = frame.drop(TARGET, ROW).with_columns(place)
        return frame if (start >= 0).all() else frame.filter(pl.Series(start >= 0))


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
        given = layer.rename({name: f"__new.{name}" for name in (*names, *(KNOWN + name for name in names))})
        joined = state.join(given, on=PLACE, how="left", maintain_order="left")
        is_met = pl.Series(state[PLACE].is_in(layer[PLACE].implode()))
        came = {name: pl.col(f"__new.{KNOWN}{name}") for name in names}
        passed.append(
            joined.filter(is_met).with_columns(came[n].alias(SUPERSEDED + n) for n in names).select(state.columns)
        )
        news = [
            pl.when(came[name].is_not_null())
            .then(f"__new.{prefix}{name}")
            .otherwise(prefix + name)
            .alias(prefix + name)
            for name in names
            for prefix in ("", KNOWN)
        ]
        moved = joined.with_columns(news).select(state.columns)
        state = moved.with_columns(pl.col(STAGE) + is_met.cast(pl.UInt32))
    return pl.concat([*passed, state])
