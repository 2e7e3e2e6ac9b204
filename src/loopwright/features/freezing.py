"""Freezing training sets: rows of dataset versions are joined point in time, stored and recorded."""

import tempfile
from pathlib import Path

import msgspec
import polars as pl

from loopwright import data
from loopwright.data import layers, read
from loopwright.features import plans, training_sets
from loopwright.features.join import BuiltTrainingSet, build_training_set
from loopwright.features.maturity import embargo, learn_lag, tell_lag
from loopwright.features.requests import RunRequest
from loopwright.features.rows import DatasetRows
from loopwright.features.types import FeaturePlan, LabelLag, TrainingSetSpec, TrainingSetVersion
from loopwright.kernel.errors import InvalidInput
from loopwright.store.work import JobContext


def freeze_training_set(
    context: JobContext,
    *,
    plan_digest: str,
    end_at: int,
    start_at: int | None = None,
    known_by: int | None = None,
    dataset_versions: dict[str, int] | None = None,
    embargo_us: int = 0,
    mature: float | None = None,
    run_requests: RunRequest,
    reason: str = "",
) -> TrainingSetVersion:
    """Build a training set, store it as Parquet and record its version; the same inputs give the same version.

    Args:
        context: What the worker hands to a job.
        plan_digest: What to compute.
        end_at: First event time that is out, microseconds UTC.
        start_at: First event time; None for all.
        known_by: Labels that became known later are left out; None for now.
        dataset_versions: Versions to read; those not named are the newest.
        embargo_us: How long before ``end_at`` rows end, as labels of younger ones are not ripe.
        mature: The embargo is what it takes until this share of the labels of each class is known, as learned.
        run_requests: Calls on-request functions.
        reason: Why.

    Raises:
        InvalidInput: No row has a label in that time, or too few labels tell how late they come.
    """
    plan = context.call(plans.plan, digest=plan_digest)
    spec = context.call(
        training_sets.training_set_spec,
        plan_digest=plan_digest,
        start_at=start_at,
        end_at=end_at,
        known_by=known_by,
        dataset_versions=dataset_versions or {},
    )
    if mature is not None:
        lag = _learn_lag(context, plan, spec)
        spec = msgspec.structs.replace(spec, lag=lag)
        context.progress(tell_lag(lag))
        embargo_us = embargo(lag, mature)
    if embargo_us:
        spec = msgspec.structs.replace(spec, end_at=spec.end_at - embargo_us, embargo_us=embargo_us)
    built = _build(context, plan, spec, run_requests)
    context.progress(f"{built.frame.height} rows joined")
    return _store_rows(context, spec, built.frame, plan_digest, reason, built.unlabelled_rows)


def _learn_lag(context: JobContext, plan: FeaturePlan, spec: TrainingSetSpec) -> LabelLag:
    """Learn from the versions that a training set is made of how late its labels come, as seen from its end."""
    label = plan.label
    if label is None:
        raise InvalidInput("this service has no label", field="label", value=plan.service)
    dataset = next(each for each in plan.datasets if each.name == label.dataset)
    version = context.call(data.get_version, dataset=label.dataset, version=spec.dataset_versions[label.dataset])
    moment = data.known.known_moment(dataset, label.column).column
    columns = dict.fromkeys([*dataset.key, dataset.time, label.column, moment])
    frame = read.stages(version, context.blobs, list(columns)).collect()
    if layers.STAGE in frame.columns:  # a label came when its row first had one; what corrected it came later
        known = pl.Series("known_at", DatasetRows(dataset, frame).known_at(label.column))
        named = frame.with_columns(known, is_open=pl.col(label.column).is_null())
        frame = named.sort("is_open", "known_at", layers.STAGE).unique(dataset.key, keep="first").drop("known_at")
    rows = DatasetRows(dataset, frame)
    return learn_lag(frame[label.column], rows.event_at, rows.known_at(label.column), min(spec.known_by, spec.end_at))


def cut_training_set(
    context: JobContext,
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
    return _store_rows(context, spec, rows, whole.plan_digest, reason)


def _store_rows(
    context: JobContext,
    spec: TrainingSetSpec,
    rows: pl.DataFrame,
    plan_digest: str,
    reason: str,
    unlabelled_rows: int | None = None,
) -> TrainingSetVersion:
    if rows.is_empty():
        raise InvalidInput(
            "no row has a label in this time",
            field="start_at",
            details=None if unlabelled_rows is None else {"unlabelled_rows": unlabelled_rows},
            next_step="choose a longer time, or wait until labels are known",
        )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.parquet"
        rows.write_parquet(file, compression="zstd", compression_level=1)
        blob = context.blobs.put_file(file)
    return context.call(
        training_sets.record_training_set,
        spec=spec,
        blob=blob,
        rows=rows.height,
        plan_digest=plan_digest,
        event_at_min=rows["event_at"][0],
        event_at_max=rows["event_at"][-1],
        unlabelled_rows=unlabelled_rows,
        reason=reason,
    )


def _build(context: JobContext, plan: FeaturePlan, spec: TrainingSetSpec, run_requests: RunRequest) -> BuiltTrainingSet:
    """Build what a spec says, without recording it."""
    versions = [
        context.call(data.get_version, dataset=name, version=number) for name, number in spec.dataset_versions.items()
    ]
    scans = {version.dataset: read.stages(version, context.blobs) for version in versions}
    return build_training_set(
        plan,
        scans,
        start_at=spec.start_at,
        end_at=spec.end_at,
        known_by=spec.known_by,
        run_requests=run_requests,
    )
