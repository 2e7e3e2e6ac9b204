"""Reading versions: a lazy frame over the fragments that matter, and a version's profile."""

from collections.abc import Sequence

import polars as pl

from loopwright.data import profiles
from loopwright.data.dtypes import parse_dtype
from loopwright.data.quarantine import check_usable
from loopwright.data.types import DatasetVersion, Fragment
from loopwright.kernel.errors import InvalidInput
from loopwright.store.blobs import BlobStore


def scan(
    version: DatasetVersion,
    blobs: BlobStore,
    columns: Sequence[str] | None = None,
    start_at: int | None = None,
    end_at: int | None = None,
    *,
    may_be_quarantined: bool = False,
) -> pl.LazyFrame:
    """Return the rows of a version in stored order, columns as in its schema; declared moments are Datetime(us, UTC).

    Args:
        version: With its fragments, as ``data.get_version`` returns it.
        blobs: Where they are stored.
        columns: Only these; None for all.
        start_at: Only rows with event time at or after this, microseconds UTC. Fragments outside are not opened.
        end_at: Only rows with event time before this.
        may_be_quarantined: To look at a version that may not be used.

    Raises:
        Quarantined: The version is quarantined.
        InvalidInput: A column is unknown, or the dataset has no time to select by.
    """
    if not (may_be_quarantined and version.state == "quarantined"):
        check_usable(version)
    schema = {column.name: parse_dtype(column.dtype) for column in version.schema}
    wanted = list(schema) if columns is None else list(columns)
    if unknown := [name for name in wanted if name not in schema]:
        rule = f"one of {', '.join(schema)}"
        raise InvalidInput(
            f"dataset {version.dataset} has no column {unknown[0]}", field="columns", value=unknown[0], rule=rule
        )
    fragments = [fragment for fragment in version.fragments if overlaps(fragment, start_at, end_at)]
    if not fragments:
        return pl.LazyFrame(schema=schema).select(wanted)
    paths = [blobs.path(fragment.digest) for fragment in fragments]
    rows = pl.scan_parquet(paths, schema=schema, missing_columns="insert", glob=False)
    if start_at is not None or end_at is not None:
        rows = rows.filter(_between(version, schema, start_at, end_at))
    return rows.select(wanted)


def overlaps(fragment: Fragment, start_at: int | None, end_at: int | None) -> bool:
    """Say whether a fragment may hold rows with event time in ``[start_at, end_at)``."""
    if fragment.event_at_min is None or fragment.event_at_max is None:
        return True
    begins_before = end_at is None or fragment.event_at_min < end_at
    return begins_before and (start_at is None or fragment.event_at_max >= start_at)


def read_profile(version: DatasetVersion, blobs: BlobStore) -> profiles.Profile | None:
    """Return the profile of all rows of a version."""
    return None if version.profile_digest is None else profiles.from_bytes(blobs.get(version.profile_digest))


def _between(
    version: DatasetVersion, schema: dict[str, pl.DataType], start_at: int | None, end_at: int | None
) -> pl.Expr:
    time = version.spec.time if version.spec is not None else None
    if time is None:
        raise InvalidInput(f"dataset {version.dataset} has no time to select by", field="start_at", rule="declare time")
    moment = pl.col(time)
    bounds = []
    if start_at is not None:
        bounds.append(moment >= pl.lit(start_at).cast(schema[time]))
    if end_at is not None:
        bounds.append(moment < pl.lit(end_at).cast(schema[time]))
    return pl.all_horizontal(bounds)
