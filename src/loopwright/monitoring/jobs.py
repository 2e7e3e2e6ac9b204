"""Jobs of monitoring: measuring windows, profiling references, delivering alerts."""

from typing import Any, Literal

from loopwright.data import profiles, reading
from loopwright.kernel.plugins import load_plugin
from loopwright.monitoring import monitors, watched
from loopwright.monitoring.channels import Notice
from loopwright.monitoring.chunk_profiles import profile_chunk
from loopwright.monitoring.evaluation import evaluate
from loopwright.monitoring.incidents import get_incident
from loopwright.monitoring.profiling import countable_chunks
from loopwright.monitoring.reference import Reference, build_reference, reference_from_bytes
from loopwright.monitoring.targets import channel_target
from loopwright.monitoring.types import (
    BuildReference,
    DeliverAlert,
    EvaluateRange,
    EvaluateWindow,
    ProfileChunks,
    Window,
)
from loopwright.monitoring.windows import finish_window, window_task
from loopwright.store import chunks as store_chunks
from loopwright.store.retention import list_removals
from loopwright.store.types import Streams
from loopwright.store.work import JobContext, job

ALLOWED_HOSTS = "webhook-hosts"
"""File in the state folder: hosts with private addresses that webhooks may reach, one a line."""

_MEASURED: tuple[Literal["predictions", "labels"], ...] = ("predictions", "labels")


@job(EvaluateWindow)
def evaluate_window(context: JobContext, args: EvaluateWindow) -> dict[str, Any]:
    """Measure one window."""
    context.seal(_log(context, args.deployment))
    window = _measure(context, args)
    return {"predictions": window.predictions, "labels": window.labels, "state": window.state}


@job(EvaluateRange)
def evaluate_range(context: JobContext, args: EvaluateRange) -> dict[str, Any]:
    """Measure every window of a range that has ended, in order."""
    context.seal(_log(context, args.deployment))
    spec = context.call(watched.get, deployment=args.deployment).spec
    asked = [at for at in range(args.start_at, args.end_at, spec.every_us) if at + spec.every_us <= args.end_at]
    # Measured again, a window whose rows retention removed would say that nothing was predicted: its figures stay.
    kept_from = max(
        (
            removal.end_at
            for kind in _MEASURED
            for removal in context.call(list_removals, kind=kind, stream=args.deployment)
        ),
        default=args.start_at,
    )
    starts = [at for at in asked if at >= kept_from]
    for done, start_at in enumerate(starts):
        end_at = start_at + spec.every_us
        is_mature = end_at + spec.label_lag_us <= context.job.event_at
        _measure(context, EvaluateWindow(args.deployment, start_at, end_at, "settled" if is_mature else "closed"))
        context.progress(f"{done + 1} of {len(starts)} windows")
    removed = {"removed_by_retention": len(asked) - len(starts)} if len(asked) > len(starts) else {}
    return {"windows": len(starts), **removed}


def _log(context: JobContext, deployment: str) -> Streams:
    """Return what a window is measured from: the predictions and labels of its deployment."""
    return Streams(context.project, ("predictions", "labels"), deployment)


def _measure(context: JobContext, named: EvaluateWindow) -> Window:
    task = context.call(
        window_task,
        deployment=named.deployment,
        start_at=named.start_at,
        end_at=named.end_at,
        state=named.state,
    )
    window, blobs = evaluate(task, context.blobs)
    return context.call(finish_window, window=window, blobs=blobs)


@job(ProfileChunks)
def profile_chunks(context: JobContext, _args: ProfileChunks) -> dict[str, int]:
    """Count the rows of chunks that have no profile until none is left; one chunk is in memory at a time."""
    references: dict[str, Reference] = {}
    done: set[str] = set()
    rows = 0
    while countable := [each for each in context.call(countable_chunks) if each.chunk.chunk_id not in done]:
        for chunk, digest in ((each.chunk, each.reference) for each in countable):
            done.add(chunk.chunk_id)
            if digest not in references:
                references[digest] = reference_from_bytes(context.blobs.get(digest))
            profile = profile_chunk(chunk, context.blobs, digest, references[digest])
            stored = context.blobs.put(profiles.to_bytes(profile))
            context.call(store_chunks.set_profile, chunk_id=chunk.chunk_id, profile=stored)
            rows += chunk.rows
            context.progress(f"{rows:,} rows in {len(done):,} chunks")
    return {"chunks": len(done), "rows": rows}


@job(BuildReference)
def profile_reference(context: JobContext, args: BuildReference) -> dict[str, Any]:
    """Profile the rows of a Parquet blob and set them as the reference of a deployment."""
    spec = context.call(watched.get, deployment=args.deployment).spec
    frame = reading.read_frame(context, context.blobs.path(args.digest), what="the reference rows")
    columns = args.columns or [name for name in frame.columns if name not in (args.time, args.score)]
    reference = build_reference(
        frame,
        columns,
        every_us=spec.every_us,
        over_us=spec.over_us,
        metric=spec.drift,
        time=args.time or "event_at",
        score=args.score,
    )
    stored = context.blobs.put(profiles.to_bytes(reference))
    context.call(
        monitors.set_reference,
        deployment=args.deployment,
        profile_digest=stored.digest,
        model_version=args.model_version,
        metrics=args.metrics,
    )
    return {"profile_digest": stored.digest, "rows": frame.height, "columns": len(columns)}


@job(DeliverAlert)
def deliver_alert(context: JobContext, args: DeliverAlert) -> dict[str, Any]:
    """Tell one channel that an incident was opened or resolved."""
    incident = context.call(get_incident, incident_id=args.incident_id)
    kind, target = args.channel.partition(":")[0], context.call(channel_target, channel=args.channel)
    listed = context.state_dir / ALLOWED_HOSTS
    allowed = frozenset(listed.read_text("utf-8").split()) if listed.exists() else frozenset[str]()
    load_plugin("alert_channels", kind)(target, Notice(context.project, args.change, incident), allowed)
    return {"channel": kind, "incident_id": incident.incident_id}
