"""Building a version from rows: schema, repeats, checks, fragments, profile. Touches blobs, never the database."""

import io
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from loopwright.data import profiles, quality, read
from loopwright.data.checking import Checked, Checker, check_here
from loopwright.data.columns import align, schema_of
from loopwright.data.fingerprints import Hashes, hash_columns, row_hashes, sum_rows
from loopwright.data.keys import KeyIndex
from loopwright.data.layers import MOST_FRAGMENT_ROWS
from loopwright.data.types import (
    CheckResult,
    CheckSpec,
    ColumnSchema,
    DatasetSpec,
    DatasetVersion,
    Fragment,
    ImportedRows,
    ImportRequest,
)
from loopwright.kernel.errors import InvalidInput
from loopwright.store.blobs import BlobStore
from loopwright.store.types import BlobRef

_GROUP_ROWS = 65_536
_SHOWN = 3
_KEEP_REASON = "a key names one row; append adds rows and never changes them"


def build_version(
    frame: pl.DataFrame,
    request: ImportRequest,
    parent: DatasetVersion | None,
    blobs: BlobStore,
    now_us: int,
    index: KeyIndex | None = None,
    check: Checker = check_here,
) -> ImportedRows:
    """Turn admitted rows into fragments, check results and a profile on top of ``parent``, the newest ready version.

    Args:
        frame: The rows, after ``admit``.
        request: What to do.
        parent: With its fragments in the ``key_range`` of the rows, at least.
        blobs: Where fragments are stored.
        now_us: The project's present moment, microseconds UTC.
        index: What is known of the keys of the parent's fragments; added to.
        check: Runs the checks.

    Raises:
        InvalidInput: There are no rows, the schema does not fit an append, or a key comes twice with different values.
    """
    spec, is_append = request.spec, request.operation == "append"
    index = KeyIndex(spec.key) if index is None else index
    frame, misfits = align(frame, parent.schema) if parent is not None else (frame, [])
    if misfits and is_append:
        raise refuse_schema(spec.name, misfits)
    height = frame.height
    # Sorted by time, then key: fragments then cover short stretches, so that a read of a day opens few of them, and the
    # same rows in another order become the same bytes.
    frame = drop_repeats(frame.sort([*([spec.time] if spec.time else []), *spec.key]), spec)
    hashed = hash_columns(frame)
    keys = row_hashes(frame.select(spec.key), hashed)
    if is_append and parent is not None:
        is_new = ~_find_known(frame, hashed, keys, spec, parent, blobs, index)
        if not is_new.all():
            frame, keys = frame.filter(is_new), keys[is_new]
            hashed = {name: hashes[is_new] for name, hashes in hashed.items()}
    elif not height:
        raise InvalidInput(f"there are no rows to import into {spec.name}", field="source", rule="at least one row")
    checks, failing = check(frame, spec, now_us) if frame.height else Checked([], None)
    fragments = write_fragments(frame, spec.time, blobs)
    if spec.time not in spec.key:
        index.remember(fragments, keys)
        index.save([*(parent.fragments if parent is not None else []), *fragments])
    return ImportedRows(
        dataset=spec.name,
        operation=request.operation,
        parent=None if parent is None else parent.version,
        spec=spec,
        schema=_schema(frame, parent if is_append else None),
        fragments=fragments,
        rows=frame.height,
        row_sum=sum_rows(row_hashes(frame, hashed)),
        profile=_profile(frame, hashed, parent if is_append else None, blobs),
        checks=[*_schema_checks(misfits), *checks],
        failing=blobs.put(to_parquet(failing)) if failing is not None and failing.height else None,
        dropped_rows=height - frame.height,
        reason=request.reason,
    )


def time_range(frame: pl.DataFrame, time: str | None) -> tuple[int | None, int | None]:
    """Return ``[start_at, end_at)`` of the event times of a frame, microseconds UTC; None without a time or rows."""
    if time is None or not frame.height:
        return None, None
    ticks = frame[time].cast(pl.Int64)
    return int(ticks.min()), int(ticks.max()) + 1  # type: ignore[arg-type]


def key_range(frame: pl.DataFrame, spec: DatasetSpec) -> tuple[int | None, int | None]:
    """Return ``[start_at, end_at)`` of the event times at which a key of a frame may be found in other rows.

    Without the time in the key, a row of any time may have it.
    """
    return time_range(frame, spec.time) if spec.time in spec.key else (None, None)


def write_fragments(frame: pl.DataFrame, time: str | None, blobs: BlobStore) -> list[Fragment]:
    """Store sorted rows as Parquet blobs of at most 262,144 rows."""
    fragments = []
    for rows in frame.iter_slices(MOST_FRAGMENT_ROWS) if frame.height else []:
        ref = blobs.put(to_parquet(rows))
        start_at, end_at = time_range(rows, time)
        newest = None if end_at is None else end_at - 1
        fragments.append(Fragment(ref.digest, ref.size_bytes, rows.height, start_at, newest))
    return fragments


def to_parquet(frame: pl.DataFrame) -> bytes:
    """Return the bytes of a fragment."""
    # A column of nothing but nulls has no dtype yet; readers fill it in from the version's schema.
    empty = [name for name, dtype in frame.schema.items() if dtype == pl.Null]
    frame = frame.drop(empty) if empty else frame
    body = io.BytesIO()
    frame.write_parquet(body, compression="zstd", compression_level=1, row_group_size=_GROUP_ROWS)
    return body.getvalue()


def _schema(frame: pl.DataFrame, parent: DatasetVersion | None) -> list[ColumnSchema]:
    """Return the schema of parent and new rows together; a dtype that the new rows leave open stays the parent's."""
    known = {column.name: column for column in parent.schema} if parent is not None else {}
    return [known.get(column.name, column) if column.dtype == "Null" else column for column in schema_of(frame)]


def drop_repeats(frame: pl.DataFrame, spec: DatasetSpec) -> pl.DataFrame:
    """Drop rows that repeat another one exactly; refuse two different rows of one key."""
    if not frame.select(spec.key).is_duplicated().any():
        return frame
    first = np.unique(row_hashes(frame), return_index=True)[1]
    frame = frame[np.sort(first)]
    twice = frame.filter(pl.struct(spec.key).is_duplicated())
    if twice.height:
        step = "keep one row a key in the transform"
        raise refuse_keys(twice, spec, "come twice with different values", "a key names one row", step)
    return frame


def fragments_with(
    frame: pl.DataFrame,
    keys: Hashes,
    spec: DatasetSpec,
    version: DatasetVersion,
    blobs: BlobStore,
    index: KeyIndex,
) -> list[Fragment]:
    """Return the fragments of a version that may hold a key of these rows, and what lies above any; none if none does.

    Args:
        frame: The rows.
        keys: uint64 (rows,), hashes of their keys.
        spec: The declaration.
        version: With its fragments in the ``key_range`` of the rows, at least.
        blobs: Where they are stored.
        index: What is known of their keys.
    """
    if spec.time in spec.key:
        span = time_range(frame, spec.time)
        holding = [part for part in version.fragments if part.kind == "rows" and read.overlaps(part, *span)]
    else:
        holding = index.fragments_with(keys, version, blobs)
    held = set(map(id, holding))
    return [part for part in version.fragments if part.kind != "rows" or id(part) in held] if held else []


def _find_known(
    frame: pl.DataFrame,
    hashed: Mapping[str, Hashes],
    keys: Hashes,
    spec: DatasetSpec,
    parent: DatasetVersion,
    blobs: BlobStore,
    index: KeyIndex,
) -> npt.NDArray[np.bool_]:
    """Return which rows the parent has exactly so, bool (rows,); refuse rows whose key it has with other values.

    Only fragments that may have a key of the new rows are opened.
    """
    is_known = np.zeros(frame.height, np.bool_)
    opened = fragments_with(frame, keys, spec, parent, blobs, index)
    if not opened or not frame.height:
        return is_known
    meeting = msgspec.structs.replace(parent, fragments=opened)
    known = read.scan(meeting, blobs).join(frame.lazy().select(spec.key), on=spec.key, how="semi").collect()
    if known.height:
        columns = [name for name in frame.columns if name in known.columns]
        is_known = np.isin(row_hashes(frame, hashed), row_hashes(known.select(columns)))
        changed = frame.filter(~is_known).join(known, on=spec.key, how="semi", maintain_order="left")
        if changed.height:
            what = f"are in version {parent.version} with other values"
            raise refuse_keys(changed, spec, what, _KEEP_REASON, "import with upsert, or with replace")
    return is_known


def _profile(
    frame: pl.DataFrame, hashed: Mapping[str, Hashes], parent: DatasetVersion | None, blobs: BlobStore
) -> BlobRef:
    below = read.read_profile(parent, blobs) if parent is not None else None
    profile = profiles.profile_frame(frame, below, hashed)
    return blobs.put(profiles.to_bytes(profile if below is None else profiles.merge(below, profile)))


def refuse_schema(dataset: str, misfits: Sequence[str]) -> InvalidInput:
    """Return the error of rows that lack columns or have them in other dtypes."""
    return InvalidInput(
        f"these rows do not fit dataset {dataset}: {'; '.join(misfits)}",
        field=misfits[0].split(" ")[1],
        rule="an append keeps every column and its dtype; new columns may come",
        next_step="correct the source or the transform, or import with replace to change the schema",
    )


def _schema_checks(misfits: Sequence[str]) -> list[CheckResult]:
    """Return a failed check for each column that a replacement lost or changed, so that a person looks first."""
    return [
        CheckResult(CheckSpec("schema", misfit.split(" ")[1]), False, 0, 0, message=f"{misfit} in the newest version")
        for misfit in misfits
    ]


def refuse_keys(rows: pl.DataFrame, spec: DatasetSpec, what: str, rule: str, next_step: str) -> InvalidInput:
    """Return the error of rows that cannot be taken, with the keys of the first of them."""
    samples = quality.sample_rows(rows.select(spec.key).head(quality.MOST_SAMPLES), spec.personal)
    shown = "; ".join(", ".join(f"{name}={value}" for name, value in row.items()) for row in samples[:_SHOWN])
    return InvalidInput(
        f"{rows.height} rows of dataset {spec.name} {what}: {shown}",
        field=", ".join(spec.key),
        rule=rule,
        next_step=next_step,
        details={"samples": samples},
    )
