"""Evaluation of one window from its chunks: drift against the reference, errors, latency, performance."""

import io
from collections import Counter
from pathlib import Path

import msgspec
import polars as pl

from loopwright.data import profiles
from loopwright.kernel.plugins import load_plugin
from loopwright.monitoring.answers import Answers, read_answers
from loopwright.monitoring.drift import DRIFT_METRICS
from loopwright.monitoring.performance import measure, score_rows, score_schema, segment_performance
from loopwright.monitoring.reference import Reference, reference_from_bytes
from loopwright.monitoring.types import FeatureDrift, Monitor, MonitorSpec, Window, WindowTask, served_variant
from loopwright.store.blobs import BlobStore
from loopwright.store.types import BlobRef


def evaluate(task: WindowTask, blobs: BlobStore) -> tuple[Window, list[BlobRef]]:
    """Measure one window; return it and the blobs it refers to.

    What was measured when the window closed is kept where no prediction came since: only labels have.
    """
    monitor = task.monitor
    spec = monitor.spec
    reference = _load_reference(monitor, blobs)
    # A window that closed before there was a reference is measured anew.
    known = task.known if task.known is None or task.known.reference or not monitor.reference else None
    answers = read_answers(task, blobs, None if known else reference)
    if known is not None and known.predictions != answers.tally.served:
        answers, known = read_answers(task, blobs, reference), None
    tally = answers.tally
    kept: list[BlobRef] = []
    drift, profile_digest = ([], "") if known is None else (known.drift, known.profile_digest)
    if known is None and reference is not None and tally.profile is not None and tally.served:
        kept.append(blobs.put(profiles.to_bytes(tally.profile)))
        profile_digest = kept[-1].digest
        if task.end_at - spec.over_us >= monitor.reference_at or not spec.over_us:  # whole stretches only
            drift = measure_drift(reference, profiles.merge(*_earlier_profiles(task, blobs), tally.profile), spec)
    window = Window(
        deployment=monitor.deployment,
        start_at=task.start_at,
        end_at=task.end_at,
        state=task.state,
        predictions=tally.served,
        labels=0,
        errors=tally.errors,
        latency_p99_ms=tally.latency_p99_ms,
        drift=drift,
        performance=[],
        span=[],
        segments={},
        profile_digest=profile_digest,
        recorded_at=task.now_us,
        reference=monitor.reference if known is None else known.reference,
        model_version=monitor.model_version if known is None else known.model_version,
    )
    return _with_performance(window, answers, task, blobs, kept), kept


def _with_performance(
    window: Window, answers: Answers, task: WindowTask, blobs: BlobStore, kept: list[BlobRef]
) -> Window:
    """Return the window with performance of itself, its span and segments of that; keeps its score rows as a blob."""
    monitor, spec = task.monitor, task.monitor.spec
    served = served_variant(monitor)
    counts = Counter[str]()
    for each in answers.tally.variants:
        counts[each.variant if each.is_shadow else served] += each.rows
    ordered = {served: counts.pop(served, 0), **dict(sorted(counts.items()))}
    name = pl.when("is_shadow").then("variant").otherwise(pl.lit(served))
    labelled = answers.labelled.with_columns(name.alias("variant"))
    scored = score_rows(labelled, monitor.task, spec.segments)
    digest = ""
    if scored.height:
        kept.append(_put_rows(scored, blobs))
        digest = kept[-1].digest
    window = msgspec.structs.replace(
        window,
        labels=int((labelled.get_column("variant") == served).sum()),
        performance=measure(scored, ordered, spec, monitor.task),
        scores_digest=digest,
    )
    if task.start_at < monitor.reference_at:
        return window  # a span over two models would be the quality of neither
    since = task.end_at - spec.span_us
    earlier = [part for part in task.before if part.start_at >= since]
    paths = [blobs.path(part.scores_digest) for part in earlier if part.scores_digest]
    together = pl.concat([_read_scores(paths, spec), scored]) if paths else scored
    for part in earlier:
        for variant, made in part.predictions.items():
            ordered[variant] = ordered.get(variant, 0) + made
    # Segments are small, so they wait until labels have matured.
    segments = segment_performance(together, served, spec, monitor.task) if task.state == "settled" else {}
    return msgspec.structs.replace(window, span=measure(together, ordered, spec, monitor.task), segments=segments)


def _earlier_profiles(task: WindowTask, blobs: BlobStore) -> list[profiles.Profile]:
    """Return the profiles of the windows before, as far as drift is measured over them too."""
    since = task.end_at - task.monitor.spec.over_us
    digests = [part.profile_digest for part in task.before if part.start_at >= since and part.profile_digest]
    return [profiles.from_bytes(blobs.get(digest)) for digest in digests]


def measure_drift(reference: Reference, profile: profiles.Profile, spec: MonitorSpec) -> list[FeatureDrift]:
    """Return the distance of each watched column; whether it lasts is judged when the window is stored."""
    distance = load_plugin(DRIFT_METRICS, spec.drift)
    stretch_us = reference.over_us or reference.every_us
    is_alike = (reference.metric, stretch_us) == (spec.drift, spec.over_us or spec.every_us)
    has_usual = spec.usual and is_alike
    found = []
    for name, column in profile.columns.items():
        if name in spec.ignore or name in reference.clock:
            continue
        base = reference.profile.columns[name]
        above = max(spec.above, reference.usual.get(name, 0.0) if has_usual else 0.0)
        value = max(0.0, float(distance(base, column)))
        found.append(FeatureDrift(name, value, column.missing, base.missing, profile.rows, False, above))
    return found


def _read_scores(paths: list[Path], spec: MonitorSpec) -> pl.DataFrame:
    schema = score_schema(spec.segments)
    return pl.scan_parquet(paths, schema=schema, missing_columns="insert", extra_columns="ignore").collect()


def _put_rows(rows: pl.DataFrame, blobs: BlobStore) -> BlobRef:
    body = io.BytesIO()
    rows.write_parquet(body, compression="zstd", compression_level=1)
    return blobs.put(body.getvalue())


def _load_reference(monitor: Monitor, blobs: BlobStore) -> Reference | None:
    return reference_from_bytes(blobs.get(monitor.reference)) if monitor.reference else None
