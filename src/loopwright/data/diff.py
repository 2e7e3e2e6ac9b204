"""Diff: what changed between two versions, by key. Fragments that both share are not opened."""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import numpy as np
import polars as pl

from loopwright.data import read
from loopwright.data.dtypes import parse_dtype
from loopwright.data.fingerprints import row_hashes
from loopwright.data.layers import PLACE, Layers
from loopwright.data.profiles import ColumnProfile, Profile
from loopwright.data.quality import sample_rows, show_value
from loopwright.data.types import ColumnChange, ColumnSchema, DatasetVersion, Diff, Fragment
from loopwright.store.blobs import BlobStore

MOST_SAMPLES = 20
_HASH = "__row_hash"
_PLACE = "__place"


class RowChanges(msgspec.Struct, frozen=True):
    """Numbers of rows by key, and samples of each kind."""

    added: int
    removed: int
    changed: int
    samples: dict[str, list[dict[str, Any]]]


def diff_rows(
    before: pl.DataFrame, after: pl.DataFrame, key: Sequence[str], masked: Collection[str] = ()
) -> RowChanges:
    """Compare two frames by key, which is unique in each. A changed sample shows old and new values of what changed."""
    keys = list(key)
    old, new = _hashed(before, keys), _hashed(after, keys)
    added = new.join(old, on=keys, how="anti", maintain_order="left")
    removed = old.join(new, on=keys, how="anti", maintain_order="left")
    both = old.join(new, on=keys, how="inner", suffix="_after", maintain_order="left")
    changed = both.filter(pl.col(_HASH) != pl.col(f"{_HASH}_after")).head(both.height)
    pairs = changed.head(MOST_SAMPLES)
    samples = {
        "added": sample_rows(after[added[_PLACE].head(MOST_SAMPLES)], masked),
        "removed": sample_rows(before[removed[_PLACE].head(MOST_SAMPLES)], masked),
        "changed": _changed_samples(before[pairs[_PLACE]], after[pairs[f"{_PLACE}_after"]], keys, masked),
    }
    return RowChanges(added.height, removed.height, changed.height, samples)


def diff_schemas(before: Sequence[ColumnSchema], after: Sequence[ColumnSchema]) -> list[ColumnChange]:
    """Return columns that came, went or changed dtype."""
    old, new = ({column.name: column.dtype for column in schema} for schema in (before, after))
    names = [name for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]
    return [ColumnChange(name, "dtype", old.get(name), new.get(name)) for name in names]


def diff_profiles(before: Profile, after: Profile) -> list[ColumnChange]:
    """Return the statistics of each column that are not what they were."""
    changes = []
    for name in before.columns.keys() & after.columns.keys():
        old, new = _statistics(before.columns[name]), _statistics(after.columns[name])
        changes += [ColumnChange(name, what, old[what], new[what]) for what in old if old[what] != new[what]]
    return sorted(changes, key=lambda change: (change.column, change.what))


def diff_versions(before: DatasetVersion, after: DatasetVersion, blobs: BlobStore) -> Diff:
    """Return what changed between two versions of a dataset; either may be quarantined."""
    old, new = _differing_rows(before, after, blobs), _differing_rows(after, before, blobs)
    spec = after.spec or before.spec
    rows = diff_rows(old, new, spec.key if spec else [], spec.personal if spec else [])
    profiles = [read.read_profile(version, blobs) for version in (before, after)]
    statistics = diff_profiles(*profiles) if profiles[0] and profiles[1] else []  # type: ignore[arg-type]
    return Diff(
        before.dataset,
        before.version,
        after.version,
        rows.added,
        rows.removed,
        rows.changed,
        diff_schemas(before.schema, after.schema),
        statistics,
        rows.samples,
    )


def _differing_rows(version: DatasetVersion, other: DatasetVersion, blobs: BlobStore) -> pl.DataFrame:
    """Return the rows of a version that may not be the same in another: what both share is not opened."""
    corrected = {target for one in (version, other) for part in one.fragments for target in part.targets}

    def name(fragment: Fragment) -> object:  # of rows that nothing corrects the content is enough
        is_plain = fragment.kind == "rows" and fragment.place not in corrected
        return fragment.digest if is_plain else fragment.place

    ours, theirs = ({name(part): part for part in one.fragments} for one in (version, other))
    own = [part for key, part in ours.items() if key not in theirs and part.kind == "rows"]
    above = [part for part in version.fragments if part.kind != "rows"]
    changes = [part for part in above if name(part) not in theirs]
    changes += [part for key, part in theirs.items() if part.kind != "rows" and key not in ours]
    targets = {target for part in changes for target in part.targets}
    targets -= {part.place for part in own}
    touched = [part for part in version.fragments if part.kind == "rows" and part.place in targets]
    schema = {column.name: parse_dtype(column.dtype) for column in version.schema}
    layers = Layers([*own, *touched, *above], schema, blobs)
    is_differing = np.zeros(layers.height, np.bool_)
    for start, end in layers.ranges_of(own):
        is_differing[start:end] = True
    for part in changes:
        is_differing[layers.places_of(part).to_numpy()] = True
    places = pl.Series(PLACE, np.flatnonzero(is_differing), pl.UInt32).to_frame().lazy()
    rows = layers.scan(list(schema), has_place=True).join(places, on=PLACE, how="semi", maintain_order="left")
    return rows.drop(PLACE).collect()


def _hashed(frame: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    places = pl.Series(_PLACE, np.arange(frame.height), dtype=pl.Int64)
    return frame.select(keys).with_columns(pl.Series(_HASH, row_hashes(frame), dtype=pl.UInt64), places)


def _changed_samples(
    before: pl.DataFrame, after: pl.DataFrame, keys: list[str], masked: Collection[str]
) -> list[dict[str, Any]]:
    samples = []
    for old, new in zip(sample_rows(before, masked), sample_rows(after, masked), strict=True):
        differing = {name: value for name, value in new.items() if name not in keys and old.get(name) != value}
        gone = {name: None for name in old if name not in new and old[name] is not None}
        changes = {name: {"before": old.get(name), "after": value} for name, value in {**differing, **gone}.items()}
        samples.append({**{name: new[name] for name in keys}, "changes": changes})
    return samples


def _statistics(profile: ColumnProfile) -> dict[str, Any]:
    shares = {"nulls": profile.nulls, "nans": profile.nans, "rows": profile.rows}
    statistics = {"kind": profile.kind, "distinct": profile.distinct_estimate, "mean": profile.mean, **shares}
    return {name: show_value(value) for name, value in {**statistics, "low": profile.low, "high": profile.high}.items()}
