"""Reading versions: a lazy frame over the fragments that matter, and a version's profile."""

from collections.abc import Sequence

import polars as pl

from loopwright.data import layers, profiles
from loopwright.data.dtypes import parse_dtype
from loopwright.data.known import known_moment
from loopwright.data.layers import Layers
from loopwright.data.quarantine import check_usable
from loopwright.data.types import DatasetVersion, Fragment, KnownAt
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
    schema, wanted = _columns_of(version, columns, may_be_quarantined=may_be_quarantined)
    time = _time_of(version, start_at, end_at)
    rows = _open(version, blobs, schema, start_at, end_at).scan(list(dict.fromkeys([*wanted, *time])))
    if time:
        rows = rows.filter(_between(time[0], schema[time[0]], start_at, end_at))
    return rows.select(wanted)


def stages(
    version: DatasetVersion,
    blobs: BlobStore,
    columns: Sequence[str] | None = None,
    above: Sequence[Fragment] | None = None,
) -> pl.LazyFrame:
    """Return every state in which each row of a version was: once as it came, and again for each change it saw.

    Beside each column whose values changed there are ``layers.KNOWN`` and ``layers.SUPERSEDED``, and ``layers.STAGE``
    numbers a row's states; of a version without changes they are not there.

    Args:
        version: With its fragments.
        blobs: Where they are stored.
        columns: Only these; None for all.
        above: Only the rows that these fragments of cells changed; None for all.
    """
    schema, wanted = _columns_of(version, columns)
    return Layers(version.fragments, schema, blobs).stages(wanted, above)


KNOWN_AT = "known_at"
"""In ``newest_values``: when the value became known, Int64 microseconds UTC; null where it never did."""


def newest_values(version: DatasetVersion, blobs: BlobStore, column: str) -> pl.LazyFrame:
    """Return the key of each row, what a column says of it now, and ``KNOWN_AT``.

    Args:
        version: With its fragments.
        blobs: Where they are stored.
        column: Which.
    """
    assert version.spec is not None
    spec = version.spec
    moment = known_moment(spec, column)
    schema, _ = _columns_of(version, [column, moment.column])
    used = list(dict.fromkeys([*spec.key, column, moment.column]))
    rows = Layers(version.fragments, schema, blobs).stages(used)
    there = set(rows.collect_schema())
    rows = rows.with_columns(_known(column, moment, there).alias(KNOWN_AT))
    if layers.STAGE in there:
        rows = rows.sort(layers.STAGE, maintain_order=True).unique(spec.key, keep="last", maintain_order=True)
    return rows.select(*spec.key, column, KNOWN_AT)


def as_known_at(
    version: DatasetVersion,
    blobs: BlobStore,
    at_us: int,
    columns: Sequence[str] | None = None,
    start_at: int | None = None,
    end_at: int | None = None,
) -> pl.LazyFrame:
    """Return the rows of a version as they were known at a moment, in no order.

    A value that became known later is null, or what it was before; a row of which neither the key nor any of the
    columns was known is not there. Rows that were taken away are not shown, whenever that was.

    Args:
        version: With its fragments.
        blobs: Where they are stored.
        at_us: Microseconds UTC.
        columns: Only these; None for all.
        start_at: Only rows with event time at or after this, microseconds UTC. Fragments outside are not opened.
        end_at: Only rows with event time before this.

    Raises:
        InvalidInput: The dataset has no time, so nobody can say when its rows became known.
    """
    schema, wanted = _columns_of(version, columns)
    assert version.spec is not None
    spec, moments = version.spec, {name: known_moment(version.spec, name) for name in schema}
    time = _time_of(version, start_at, end_at)
    used = dict.fromkeys([*wanted, *spec.key, *time, *(moment.column for moment in moments.values())])
    rows = _open(version, blobs, schema, start_at, end_at).stages(list(used))
    if time:
        rows = rows.filter(_between(time[0], schema[time[0]], start_at, end_at))
    there = set(rows.collect_schema())
    at = {name: _known(name, moments[name], there) for name in dict.fromkeys([*wanted, *spec.key])}
    is_seen = pl.any_horizontal(known <= at_us for known in at.values())
    seen = {
        name: pl.when(at[name] <= at_us).then(name).otherwise(None).alias(name)
        for name in wanted
        if name not in spec.key
    }
    if layers.STAGE not in there:
        return rows.filter(is_seen).with_columns(seen.values()).select(wanted)
    last = [pl.col(name).filter(at[name] <= at_us).last().alias(name) for name in seen]
    order = rows.filter(is_seen).sort(layers.STAGE, maintain_order=True)
    return order.group_by(spec.key, maintain_order=True).agg(last).select(wanted)


def _known(name: str, declared: KnownAt, there: set[str]) -> pl.Expr:
    """When the values of a column became known, microseconds UTC."""
    moment = pl.col(declared.column).dt.epoch("us") + declared.after_us
    return pl.coalesce(layers.KNOWN + name, moment) if layers.KNOWN + name in there else moment


def _columns_of(
    version: DatasetVersion, columns: Sequence[str] | None, *, may_be_quarantined: bool = False
) -> tuple[dict[str, pl.DataType], list[str]]:
    """Return the dtypes of a version that may be used, and which columns are wanted."""
    if not (may_be_quarantined and version.state == "quarantined"):
        check_usable(version)
    schema = {column.name: parse_dtype(column.dtype) for column in version.schema}
    wanted = list(schema) if columns is None else list(dict.fromkeys(columns))
    if unknown := [name for name in wanted if name not in schema]:
        rule = f"one of {', '.join(schema)}"
        raise InvalidInput(
            f"dataset {version.dataset} has no column {unknown[0]}", field="columns", value=unknown[0], rule=rule
        )
    return schema, wanted


def _open(
    version: DatasetVersion, blobs: BlobStore, schema: dict[str, pl.DataType], start_at: int | None, end_at: int | None
) -> Layers:
    return Layers([part for part in version.fragments if overlaps(part, start_at, end_at)], schema, blobs)


def overlaps(fragment: Fragment, start_at: int | None, end_at: int | None) -> bool:
    """Say whether a fragment may hold rows with event time in ``[start_at, end_at)``."""
    if fragment.event_at_min is None or fragment.event_at_max is None:
        return True
    begins_before = end_at is None or fragment.event_at_min < end_at
    return begins_before and (start_at is None or fragment.event_at_max >= start_at)


def read_profile(version: DatasetVersion, blobs: BlobStore) -> profiles.Profile | None:
    """Return the profile of all rows of a version."""
    return None if version.profile_digest is None else profiles.from_bytes(blobs.get(version.profile_digest))


def _time_of(version: DatasetVersion, start_at: int | None, end_at: int | None) -> list[str]:
    """Return the column that rows are selected by, none if all are."""
    if start_at is None and end_at is None:
        return []
    time = version.spec.time if version.spec is not None else None
    if time is None:
        raise InvalidInput(f"dataset {version.dataset} has no time to select by", field="start_at", rule="declare time")
    return [time]


def _between(time: str, dtype: pl.DataType, start_at: int | None, end_at: int | None) -> pl.Expr:
    moment, bounds = pl.col(time), []
    if start_at is not None:
        bounds.append(moment >= pl.lit(start_at).cast(dtype))
    if end_at is not None:
        bounds.append(moment < pl.lit(end_at).cast(dtype))
    return pl.all_horizontal(bounds)
