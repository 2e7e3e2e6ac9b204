"""Jobs of data: import rows as a version, compare two versions. The worker runs them; the server never imports this."""

import shutil
from pathlib import Path
from typing import Any

import polars as pl

from loopwright.data import sources, versions
from loopwright.data.columns import admit
from loopwright.data.diff import diff_versions
from loopwright.data.imports import build_version, key_range
from loopwright.data.keys import KeyIndex
from loopwright.data.types import DiffRequest, ImportRequest, ImportResult
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import Conflict, LoopwrightError
from loopwright.store.work import JobContext, job
from loopwright.wire.reading import reader_errors
from loopwright.wire.sizes import check_rows_fit, check_texts_fit

_TRIES = 20
"""Imports that may become ready while this one works, before it gives up."""


@job(ImportRequest)
def run_import(context: JobContext, args: ImportRequest) -> dict[str, Any]:
    """Read, transform, check and store rows, then make them a version. Running again changes nothing more."""
    job_id = context.job.job_id
    done = context.call(versions.import_result, job_id=job_id)
    if done is not None and done.state != "failed":
        return dict(to_builtins(done))
    try:
        result = _import(context, args)
    except LoopwrightError as error:
        context.call(versions.fail_import, job_id=job_id, dataset=args.spec.name, error=error.to_dict())
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
    folder = context.state_dir / "imports" / job.job_id
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        frame = admit(_read_rows(context, request, folder), request.spec)
        check_texts_fit(frame)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    context.progress(f"{frame.height} rows read")
    start_at, end_at = key_range(frame, request.spec)
    index = KeyIndex(request.spec.key, context.state_dir / "keys" / context.project / dataset)
    for _ in range(_TRIES):
        parent = context.call(versions.newest_version, dataset=dataset, start_at=start_at, end_at=end_at)
        imported = build_version(frame, request, parent, context.blobs, job.event_at, index)
        result = context.call(versions.finish_import, job_id=job.job_id, imported=imported)
        if result.state != "stale":
            return result
    raise Conflict(f"dataset {dataset} changes faster than this import can follow", next_step="import again")


def _read_rows(context: JobContext, request: ImportRequest, folder: Path) -> pl.DataFrame:
    spec = request.spec
    if request.blobs is not None:
        rows = sources.open_blobs(request.blobs, context.blobs)
    else:
        rows = sources.open_source(spec.source, sources.SourceRoots(context.source_roots, context.closed))
    try:
        check_rows_fit(rows)
        if spec.transform is None:
            return rows.collect()
        raw, out = folder / "raw.parquet", folder / "out.parquet"
        rows.sink_parquet(raw)
        context.transform(spec.transform, raw, out)
        check_rows_fit(pl.scan_parquet(out))
        return pl.read_parquet(out)
    except reader_errors() as error:
        raise sources.unreadable(spec.source.location or "the rows that were sent", error) from None
