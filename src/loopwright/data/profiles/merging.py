"""Merging profiles: the profile of all rows of several, to the bit what counting them together gives."""

from collections.abc import Sequence
from itertools import chain

import numpy as np

from loopwright.data.profiles.columns import ColumnProfile, Profile
from loopwright.data.profiles.distinct import Distinct, merge_distinct
from loopwright.data.profiles.spread import Spread, merge_spreads
from loopwright.data.profiles.sums import exact_sums
from loopwright.kernel.errors import InvalidInput


def merge(*profiles: Profile) -> Profile:
    """Return the profile of the rows of all profiles, at least one.

    Raises:
        InvalidInput: A column has other edges or categories in each; profile one like the other.
    """
    if len(profiles) == 1:
        return profiles[0]
    columns = {}
    for name in dict.fromkeys(chain.from_iterable(profile.columns for profile in profiles)):
        kind = next(profile.columns[name].kind for profile in profiles if name in profile.columns)
        parts = [
            profile.columns.get(name) or ColumnProfile(kind, profile.rows, profile.rows, Distinct())
            for profile in profiles
        ]
        columns[name] = _merge_column(name, parts)
    return Profile(sum(profile.rows for profile in profiles), columns)


def _merge_column(name: str, parts: Sequence[ColumnProfile]) -> ColumnProfile:
    # A part without values has no bins of its own and takes those of the others.
    base = max(parts, key=lambda part: (bool(part.edges or part.categories), part.count > 0, part.kind))
    for part in parts:
        is_same_kind = part.kind == base.kind or not part.count
        if not is_same_kind or (_has_counted(part) and part.bins != base.bins):
            rule = "profiles of one kind, with the same edges and categories"
            raise InvalidInput(f"the profiles of column {name} cannot be merged", field=name, rule=rule)
    alike = [part for part in parts if part.bins == base.bins]
    binned = [part for part in alike if part.bin_counts]
    layers = _merge_sums(binned, len(base.edges) + 1)
    counted = [part.distinct for part in parts if part.distinct is not None]
    return ColumnProfile(
        base.kind,
        rows=sum(part.rows for part in parts),
        nulls=sum(part.nulls for part in parts),
        distinct=merge_distinct(counted) if len(counted) == len(parts) else None,
        nans=sum(part.nans for part in parts),
        infinities=sum(part.infinities for part in parts),
        negative_infinities=sum(part.negative_infinities for part in parts),
        count=sum(part.count for part in parts),
        low=min((part.low for part in parts if part.low is not None), default=None),
        high=max((part.high for part in parts if part.high is not None), default=None),
        edges=base.edges,
        bin_counts=_add([part.bin_counts for part in binned]),
        bin_sums=layers[0],
        bin_rests=layers[1:],
        categories=base.categories,
        category_counts=_add([part.category_counts for part in alike if part.category_counts]),
        other=sum(part.other for part in parts),
        spread=_merge_spread(parts),
    )


def _merge_spread(parts: Sequence[ColumnProfile]) -> Spread | None:
    """Return how the moments of all parts spread; None where a part with values does not say it."""
    filled = [part for part in parts if part.count]
    spreads = [part.spread for part in filled if part.spread is not None]
    return merge_spreads(spreads) if len(spreads) == len(filled) else None


def _has_counted(part: ColumnProfile) -> bool:
    return any(part.bin_counts) or any(part.category_counts) or part.other > 0


def _add(lists: Sequence[list[int]]) -> list[int]:
    return [sum(values) for values in zip(*lists, strict=True)]


def _merge_sums(parts: Sequence[ColumnProfile], size: int) -> list[list[float]]:
    if not parts:
        return [[]]
    layers = [layer for part in parts for layer in (part.bin_sums, *part.bin_rests)]
    by_bin = np.array(layers, dtype=np.float64).T
    return exact_sums(by_bin.ravel(), [len(layers) * index for index in range(1, size + 1)])
