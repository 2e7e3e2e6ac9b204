"""Jobs of data: import rows as a version, compare two versions. The worker runs them; the server never imports this."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import polars as pl

from loopwright.data import commits, read, sources, versions
from loopwright.data.changes import build_change
from loopwright.data.checking import ChecksApart, values_among
from loopwright.data.checks import PAST, measured_as
from loopwright.data.columns import admit, require_names
from loopwright.data.diff import diff_versions
from loopwright.data.dtypes import parse_dtype
from loopwright.data.imports import build_version, key_range
from loopwright.data.keys import KeyIndex
from loopwright.data.reading import read_again, read_apart
from loopwright.data.types import (
    PUSHED_AT,
    CheckResult,
    CheckSpec,
    ColumnSchema,
    DiffRequest,
    ImportRequest,
    ImportResult,
)
from loopwright.data.watermarks import ask_database
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import Conflict, InvalidInput, LoopwrightError, NotFound
from loopwright.store.work import JobContext, job
from loopwright.wire.reading import reader_errors
from loopwright.wire.sizes import check_rows_fit, check_texts_fit

_TRIES = 20
"""Imports that may become ready while this one works, before it gives up."""


@job(ImportRequest)
def run_import(context: JobContext, args: ImportRequest) -> dict[str, Any]:
    """Read, transform, check and store rows, then make them a version. Running again changes nothing more."""
    job_id = context.job.job_id
    done = context.call(commits.import_result, job_id=job_id)
    if done is not None and done.state != "failed":
        return dict(to_builtins(done))
    try:
        result = _import(context, args)
    except LoopwrightError as error:
        context.call(commits.fail_import, job_id=job_id, dataset=args.spec.name, error=error.to_dict())
        raise
    return dict(to_builtins(result))


@job(DiffRequest)
def run_diff(context: JobContext, args: DiffRequest) -> dict[str, Any]:
    """Compare two versions of a dataset by key."""
    before, after = (
        context.call(versions.get_version, dataset=args.dataset, version=number) for number in (args.before, args.after)
    )
    return dict(to_builtins(diff_versions(before, after, context.blobs)))


def _import(context: JobContext, request: ImportRequest) -> ImportResult:
    job, dataset = context.job, request.spec.name
    with TemporaryDirectory() as folder:
        rows, raw = _read_rows(context, request, Path(folder))
        frame = admit(rows, request.spec, is_part=request.operation in ("complete", "delete"))
        check_texts_fit(frame)
    context.progress(f"{frame.height} rows read")
    is_change = request.operation in ("upsert", "complete", "delete")
    start_at, end_at = (None, None) if is_change else key_range(frame, request.spec)
    index = KeyIndex(request.spec.key, context.state_dir / "keys" / context.project / dataset)
    check = ChecksApart(context, _Stored(context, request))
    for _ in range(_TRIES):
        parent = context.call(versions.newest_version, dataset=dataset, start_at=start_at, end_at=end_at)
        if is_change and parent is not None:
            imported = build_change(frame, request, parent, context.blobs, job.event_at, index, check)
        elif request.operation in ("complete", "delete"):
            step = "import rows first"
            raise NotFound(f"dataset {dataset} has no version to {request.operation}", field="dataset", next_step=step)
        else:
            whole = _without_known_at(frame, request) if parent is None else frame
            imported = build_version(whole, request, parent, context.blobs, job.event_at, index, check)
        imported = msgspec.structs.replace(imported, raw=raw)
        result = context.call(commits.finish_import, job_id=job.job_id, imported=imported)
        if result.state != "stale":
            return result
    raise Conflict(f"dataset {dataset} changes faster than this import can follow", next_step="import again")


class _Stored:
    """What checks may ask for, as it is stored."""

    def __init__(self, context: JobContext, request: ImportRequest) -> None:
        self._context, self._request = context, request

    def write_values(self, dataset: str, column: str, among: Sequence[pl.Series], out: Path) -> None:
        version = self._context.call(versions.get_version, dataset=dataset)
        if column not in [one.name for one in version.schema]:
            raise InvalidInput(
                f"dataset {dataset} has no column {column}",
                field="check.other_column",
                value=column,
                rule=f"one of {', '.join(one.name for one in version.schema[:20])}",
            )
        rows = read.scan(version, self._context.blobs, columns=[column])
        values_among(rows, column, among).sink_parquet(out)

    def past(self, spec: CheckSpec) -> list[float]:
        found = [one.value for one in self._results if measured_as(one.check) == measured_as(spec)]
        return [value for value in found if value is not None][:PAST]

    @cached_property
    def _results(self) -> list[CheckResult]:
        name, operation = self._request.spec.name, self._request.operation
        alike = self._context.call(versions.imported_alike, dataset=name, operation=operation, limit=2 * PAST)
        return [result for one in alike for result in one.checks]


def _without_known_at(frame: pl.DataFrame, request: ImportRequest) -> pl.DataFrame:
    """Return the rows of a first version without the column that says when they became known, if it is no other's."""
    spec = request.spec
    declared = {*spec.key, spec.time, *(known.column for known in spec.known_at.values())}
    name = request.known_at
    return frame if name is None or name in declared else frame.drop(name, strict=False)


def _take_out_known_at(request: ImportRequest, given: Path) -> pl.DataFrame | None:
    """Take what says when rows were pushed out of rows that a transform is to see; return it beside their keys.

    None where they were not pushed.
    """
    if request.known_at != PUSHED_AT:
        return None
    rows, key = pl.read_parquet(given, glob=False), request.spec.key
    rows.drop(PUSHED_AT).write_parquet(given)
    return rows.select(*key, PUSHED_AT)


def _put_back_known_at(came: pl.DataFrame, request: ImportRequest, given: Path) -> None:
    """Put it back by the keys; of rows whose key the transform made it is that of the last."""
    rows, key = pl.read_parquet(given, glob=False), request.spec.key
    if set(key) <= set(rows.columns):
        alike = came.cast({name: rows.schema[name] for name in key}, strict=False)
        alike = alike.sort(PUSHED_AT).unique(key, keep="last")
        rows = rows.join(alike, on=key, how="left", maintain_order="left")
        rows = rows.with_columns(pl.col(PUSHED_AT).fill_null(came[PUSHED_AT].max()))
        rows.sort(PUSHED_AT, maintain_order=True).unique(key, keep="last", maintain_order=True).write_parquet(given)


def _read_rows(context: JobContext, request: ImportRequest, folder: Path) -> tuple[pl.DataFrame, list[ColumnSchema]]:
    """Return the rows after the transform, and the columns as they were before."""
    spec, given, out = request.spec, folder / "raw.parquet", folder / "out.parquet"
    before = context.call(versions.newest_version, dataset=spec.name, start_at=0, end_at=0)
    is_made = request.operation in ("complete", "delete")  # they speak of rows as they are after the transform
    stored = [] if before is None else before.schema if is_made else before.raw
    known = {column.name: parse_dtype(column.dtype) for column in stored}
    if request.operation == "replace":  # its types are told anew; what was text before stays so
        known = {name: dtype for name, dtype in known.items() if dtype == pl.String}
    raw = read_apart(context, request, known, given, ask_database(context, request, folder))
    require_names([column.name for column in raw])
    if is_made:
        raw = [] if before is None else before.raw
    elif spec.transform is not None:
        came = _take_out_known_at(request, given)
        context.transform(spec.transform, given, out)
        given = folder / "rows.parquet"
        read_again(context, out, given, what="what the transform returned")  # user code may have written anything
        if came is not None:
            _put_back_known_at(came, request, given)
    try:
        check_rows_fit(pl.scan_parquet(given, glob=False))
        return pl.read_parquet(given, glob=False), raw
    except reader_errors() as error:
        raise sources.unreadable(spec.source.location or "the rows that were sent", error) from None
