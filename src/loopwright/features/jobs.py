"""Jobs of features, done by the worker: filling the online store, freezing training sets."""

import tempfile
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from loopwright.data import DatasetVersion, read
from loopwright.features.frames import MOMENT, dtype_of
from loopwright.features.online import open_online_store
from loopwright.features.plans import used_columns
from loopwright.features.requests import RunRequest
from loopwright.features.training import BuiltTrainingSet, TrainingSet, build_training_set
from loopwright.features.types import (
    AggregateViewSpec,
    BoundView,
    DatasetPushSpec,
    FeaturePlan,
    TrainingSetSpec,
    TrainingSetVersion,
)
from loopwright.kernel.clock import DAY_US, HOUR_US
from loopwright.kernel.documents import convert, to_builtins
from loopwright.kernel.errors import InvalidInput
from loopwright.store.blobs import BlobStore
from loopwright.store.types import Job, Streams
from loopwright.store.work import JobContext, job

ONLINE_FILE = "online.sqlite"
"""The embedded online store's file in the state directory."""
PUSH_COLUMNS, RAW = ("push_id", "event_at", "recorded_at"), "raw."
"""What the log of pushes adds to a row, and what it puts before a column of the row that is named like that."""
_SLACK_US = 48 * HOUR_US


@job("features.materialize")
def materialize(context: JobContext, job: Job) -> dict[str, int]:
    """Fill the online store with one view; reads only fragments that the view was not filled from."""
    view = convert(job.args["view"], BoundView)
    place = {"dataset": view.view.dataset, "version": job.args["dataset_version"]}
    version: DatasetVersion = context.call("data.get_version", place, job.project)
    store = open_online_store(str(context.state_dir / ONLINE_FILE))
    try:
        if job.args["reset"]:
            store.forget(view.key)
        done = store.filled(view.key)
        fresh = [fragment for fragment in version.fragments if fragment.digest not in done]
        context.progress(f"{len(fresh)} of {len(version.fragments)} fragments to read")
        until_us = int(job.args["until_us"]) + DAY_US
        frame = _recent(view, msgspec.structs.replace(version, fragments=fresh), context.blobs, until_us)
        # A fragment with rows that are still to come is read again, until all of them are in.
        ends = {fragment.digest: fragment.event_at_max for fragment in fresh}
        whole = [digest for digest, end_at in ends.items() if end_at is not None and end_at <= until_us]
        filled = [store.fill(view, frame, whole, until_us)]
        if (rows := _pushed_rows(context, job.project, view, version)) is not None:
            filled.append(store.fill(view, rows, [], until_us))
    finally:
        store.close()
    facts = {"rows": sum(part.rows for part in filled), "entities": sum(part.changed for part in filled)}
    document = {
        "job_id": job.job_id,
        "view": to_builtins(view),
        "dataset_version": version.version,
        "reason": job.args["reason"],
    }
    context.call("features.finish_materialize", {**document, **facts}, job.project)
    return facts


def _recent(view: BoundView, version: DatasetVersion, blobs: BlobStore, until_us: int) -> pl.DataFrame:
    """Read the rows that can still answer: of windows by event time, those no older than the longest."""
    time, known = view.dataset.time, view.dataset.known_at.values()
    used = used_columns(view.view)
    names = [*view.dataset.key, time, view.view.entity, *used, *(moment.column for moment in known)]
    scan = read.scan(version, blobs)
    is_there = set(scan.collect_schema().names())
    scan = scan.select([name for name in dict.fromkeys(names) if name in is_there])
    if isinstance(view.view, AggregateViewSpec) and view.view.counts == "event" and version.fragments:
        newest = max(fragment.event_at_max or until_us for fragment in version.fragments)
        oldest = min(newest, until_us) - max(view.view.windows_us) - _SLACK_US
        scan = scan.filter(pl.col(time) >= pl.lit(oldest).cast(MOMENT))
    return scan.collect()


def _pushed_rows(context: JobContext, project: str, view: BoundView, version: DatasetVersion) -> pl.DataFrame | None:
    """Return what was pushed since the version before this one, transformed: a version may come later than its rows.

    Of a dataset with personal columns the log holds no whole rows: they come with the next version.
    """
    if context.call("data.get", {"dataset": version.dataset}, project).spec.personal:
        return None
    context.seal(Streams(project, ("pushes",), version.dataset))
    since = 0
    if version.parent is not None:
        parent = {"dataset": version.dataset, "version": version.parent}
        since = context.call("data.get_version", parent, project).recorded_at
    found = context.call("chunks.find", {"kind": "pushes", "stream": version.dataset}, project)
    chunks = [chunk for chunk in found if chunk.recorded_at >= since]
    if not chunks:
        return None
    frames = [pl.read_parquet(context.blobs.path(chunk.digest)) for chunk in chunks]
    rows = _as_sent(pl.concat(frames, how="diagonal_relaxed"), view.dataset)
    if view.dataset.transform is None:
        return rows
    with tempfile.TemporaryDirectory() as folder:
        raw, out = Path(folder) / "raw.parquet", Path(folder) / "out.parquet"
        rows.write_parquet(raw)
        context.transform(view.dataset.transform, raw, out)
        return pl.read_parquet(out)


def _as_sent(logged: pl.DataFrame, dataset: DatasetPushSpec) -> pl.DataFrame:
    """Return logged pushes with the columns that were sent, in the dtypes in which the gateway took them."""
    rows = logged.drop(name for name in PUSH_COLUMNS if name in logged.columns)
    rows = rows.rename({name: name.removeprefix(RAW) for name in rows.columns if name.startswith(RAW)})
    times = [dataset.time, *(moment.column for moment in dataset.known_at.values())]
    dtypes = {**dict.fromkeys(times, MOMENT), **{name: dtype_of(text) for name, text in dataset.dtypes.items()}}
    return rows.cast({name: dtypes[name] for name in rows.columns if name in dtypes}, strict=False)


def freeze_training_set(
    context: JobContext,
    project: str,
    *,
    plan_digest: str,
    end_at: int,
    start_at: int | None = None,
    known_by: int | None = None,
    dataset_versions: dict[str, int] | None = None,
    run_requests: RunRequest,
    reason: str = "",
) -> TrainingSetVersion:
    """Build a training set, store it as Parquet and record its version; the same inputs give the same version.

    Args:
        context: What the worker hands to a job.
        project: The project.
        plan_digest: What to compute.
        end_at: First event time that is out, microseconds UTC.
        start_at: First event time; None for all.
        known_by: Labels that became known later are left out; None for now.
        dataset_versions: Versions to read; those not named are the newest.
        run_requests: Calls on-request functions.
        reason: Why.

    Raises:
        InvalidInput: No row has a label in that time.
    """
    plan: FeaturePlan = context.call("features.plan", {"digest": plan_digest}, project)
    asked = {"plan_digest": plan_digest, "start_at": start_at, "end_at": end_at, "known_by": known_by}
    chosen = {**asked, "dataset_versions": dataset_versions or {}}
    spec: TrainingSetSpec = context.call("features.training_set_spec", chosen, project)
    built = build_from_versions(context, project, plan, spec, run_requests)
    context.progress(f"{built.frame.height} rows joined")
    facts = {"plan_digest": plan_digest, "unlabelled_rows": built.unlabelled_rows, "reason": reason}
    return _store_rows(context, project, spec, built.frame, facts)


def cut_training_set(
    context: JobContext,
    project: str,
    whole: TrainingSetVersion,
    *,
    start_at: int | None,
    end_at: int,
    reason: str = "",
) -> TrainingSetVersion:
    """Store the rows of a training set that happened in a part of its time as a version of their own.

    They are what ``freeze_training_set`` finds for that time and the same dataset versions, without joining them again.

    Args:
        context: What the worker hands to a job.
        project: The project.
        whole: The training set.
        start_at: First event time, microseconds UTC; None for the first there is.
        end_at: First event time that is out.
        reason: Why.

    Raises:
        InvalidInput: No row has a label in that time.
    """
    is_inside = pl.col("event_at") < end_at
    if start_at is not None:
        is_inside &= pl.col("event_at") >= start_at
    rows = pl.read_parquet(context.blobs.path(whole.digest)).filter(is_inside)
    spec = msgspec.structs.replace(whole.spec, start_at=start_at, end_at=end_at)
    return _store_rows(context, project, spec, rows, {"plan_digest": whole.plan_digest, "reason": reason})


def _store_rows(
    context: JobContext, project: str, spec: TrainingSetSpec, rows: pl.DataFrame, facts: dict[str, Any]
) -> TrainingSetVersion:
    if rows.is_empty():
        raise InvalidInput(
            "no row has a label in this time",
            field="start_at",
            details={name: facts[name] for name in ("unlabelled_rows",) if name in facts},
            next_step="choose a longer time, or wait until labels are known",
        )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.parquet"
        rows.write_parquet(file, compression="zstd", compression_level=1)
        blob = context.blobs.put_file(file)
    document = {
        "spec": to_builtins(spec),
        "blob": to_builtins(blob),
        "rows": rows.height,
        "event_at_min": rows["event_at"][0],
        "event_at_max": rows["event_at"][-1],
        **facts,
    }
    recorded: TrainingSetVersion = context.call("features.record_training_set", document, project)
    return recorded


def build_from_versions(
    context: JobContext, project: str, plan: FeaturePlan, spec: TrainingSetSpec, run_requests: RunRequest
) -> BuiltTrainingSet:
    """Build what a spec says, without recording it: for training sets and for the held-out rows of gates."""
    scans = {
        name: read.scan(context.call("data.get_version", {"dataset": name, "version": version}, project), context.blobs)
        for name, version in spec.dataset_versions.items()
    }
    times = {"start_at": spec.start_at, "end_at": spec.end_at, "known_by": spec.known_by}
    return build_training_set(plan, scans, run_requests=run_requests, **times)  # type: ignore[arg-type]


def load_training_set(
    blobs: BlobStore, recorded: TrainingSetVersion, *, params: dict[str, object] | None = None, project: str = ""
) -> TrainingSet:
    """Return a frozen training set as user code receives it."""
    frame = pl.read_parquet(blobs.path(recorded.digest))
    ref = f"{project}/" if project else ""
    ref += f"training_set:{recorded.service}/{recorded.version}"
    return TrainingSet(frame, label=recorded.label, params=params, ref=ref)
