"""Diff: what changed between two versions, by key. Fragments that both share are not opened."""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from loopwright.data import read
from loopwright.data.dtypes import parse_dtype
from loopwright.data.fingerprints import hash_columns, row_hashes
from loopwright.data.layers import PLACE, Layers
from loopwright.data.masking import TELLING
from loopwright.data.profiles import ColumnProfile, Profile
from loopwright.data.quality import sample_rows, show_value
from loopwright.data.types import ColumnChange, ColumnSchema, DatasetVersion, Diff, Fragment
from loopwright.store.blobs import BlobStore

MOST_SAMPLES = 50
MOST_SAMPLED_VALUES = 6000
"""Of the samples of one kind together: of wide rows there are fewer."""
_KEY, _HASH = "__key_hash", "__row_hash"
_PLACE = "__place"


class RowChanges(msgspec.Struct, frozen=True):
    """Numbers of rows by key, samples of each kind, and in how many changed rows each column differs."""

    added: int
    removed: int
    changed: int
    samples: dict[str, list[dict[str, Any]]]
    columns: dict[str, int]


def diff_rows(
    before: pl.DataFrame, after: pl.DataFrame, key: Sequence[str], masked: Collection[str] = ()
) -> RowChanges:
    """Compare two frames by key, which is unique in each. A changed sample shows old and new values of what changed."""
    keys = list(key)
    old, new = _hashed(before, keys), _hashed(after, keys)
    added = new.join(old, on=_KEY, how="anti", maintain_order="left")
    removed = old.join(new, on=_KEY, how="anti", maintain_order="left")
    both = old.join(new, on=_KEY, how="inner", suffix="_after", maintain_order="left")
    changed = both.filter(pl.col(_HASH) != pl.col(f"{_HASH}_after")).head(both.height)
    most = max(1, min(MOST_SAMPLES, MOST_SAMPLED_VALUES // max(1, before.width, after.width)))
    pairs = changed.head(most)
    samples = {
        "added": sample_rows(after[added[_PLACE].head(most)], masked),
        "removed": sample_rows(before[removed[_PLACE].head(most)], masked),
        "changed": _changed_samples(before[pairs[_PLACE]], after[pairs[f"{_PLACE}_after"]], keys, masked),
    }
    names = [name for name in dict.fromkeys([*after.columns, *before.columns]) if name not in keys]
    places = changed[_PLACE], changed[f"{_PLACE}_after"]
    counts = {name: int(_differing(before, after, name, *places).sum()) for name in names}
    columns = {name: count for name, count in counts.items() if count}
    return RowChanges(added.height, removed.height, changed.height, samples, columns)


def diff_schemas(before: Sequence[ColumnSchema], after: Sequence[ColumnSchema]) -> list[ColumnChange]:
    """Return columns that came, went or changed dtype."""
    old, new = ({column.name: column.dtype for column in schema} for schema in (before, after))
    names = [name for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]
    return [ColumnChange(name, "dtype", old.get(name), new.get(name)) for name in names]


def diff_profiles(before: Profile, after: Profile, masked: Collection[str] = ()) -> list[ColumnChange]:
    """Return the statistics of each column that are not what they were; of masked ones those that tell of no value."""
    changes = []
    for name in before.columns.keys() & after.columns.keys():
        old, new = _statistics(before.columns[name]), _statistics(after.columns[name])
        told = [what for what in old if not (name in masked and what in TELLING)]
        changes += [ColumnChange(name, what, old[what], new[what]) for what in told if old[what] != new[what]]
    return sorted(changes, key=lambda change: (change.column, change.what))


def diff_versions(before: DatasetVersion, after: DatasetVersion, blobs: BlobStore) -> Diff:
    """Return what changed between two versions of a dataset; either may be quarantined."""
    old, new = _differing_rows(before, after, blobs), _differing_rows(after, before, blobs)
    spec = after.spec or before.spec
    masked = {name for one in (before, after) if one.spec for name in one.spec.personal}
    rows = diff_rows(old, new, spec.key if spec else [], masked)
    profiles = [read.read_profile(version, blobs) for version in (before, after)]
    is_profiled = profiles[0] is not None and profiles[1] is not None
    statistics = diff_profiles(profiles[0], profiles[1], masked) if is_profiled else []  # type: ignore[arg-type]
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
        rows.columns,
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
    # Keys are compared by their hashes: of other dtypes than before they are other keys, and no join takes both.
    hashes = {_KEY: row_hashes(frame.select(keys)), _HASH: row_hashes(frame)}
    return pl.DataFrame({**hashes, _PLACE: np.arange(frame.height)})


def _changed_samples(
    before: pl.DataFrame, after: pl.DataFrame, keys: list[str], masked: Collection[str]
) -> list[dict[str, Any]]:
    """Return keys and changes of pairs of rows: also of values that look alike once they are masked or cut."""
    names = [name for name in dict.fromkeys([*after.columns, *before.columns]) if name not in keys]
    differing = {name: _differing(before, after, name) for name in names}
    samples = []
    for place, (old, new) in enumerate(zip(sample_rows(before, masked), sample_rows(after, masked), strict=True)):
        changes = {name: {"before": old.get(name), "after": new.get(name)} for name in names if differing[name][place]}
        samples.append({**{name: new[name] for name in keys}, "changes": changes})
    return samples


def _differing(
    before: pl.DataFrame, after: pl.DataFrame, name: str, old: pl.Series | None = None, new: pl.Series | None = None
) -> npt.NDArray[np.bool_]:
    """Say of pairs of rows whether a column differs, bool (pairs,); one that is not there has no values.

    Args:
        before: The old rows.
        after: The new ones.
        name: Of the column, which at least one of them has.
        old: Numbers of the rows that are compared; None for all.
        new: Those they are compared with.
    """
    columns = [
        frame.select(name) if places is None else frame.select(name)[places]
        for frame, places in ((before, old), (after, new))
        if name in frame.columns
    ]
    if len(columns) == 1:
        return columns[0][name].is_not_null().to_numpy()
    earlier, later = (hash_columns(column)[name] for column in columns)
    return np.asarray(earlier != later)


def _statistics(profile: ColumnProfile) -> dict[str, Any]:
    shares = {"nulls": profile.nulls, "nans": profile.nans, "rows": profile.rows}
    statistics = {"kind": profile.kind, "distinct": profile.distinct_estimate, "mean": profile.mean, **shares}
    return {name: show_value(value) for name, value in {**statistics, "low": profile.low, "high": profile.high}.items()}
