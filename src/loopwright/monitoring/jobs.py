"""Jobs of monitoring: measuring windows, profiling references, delivering alerts."""

from typing import Any

import polars as pl

from loopwright.kernel.documents import to_builtins
from loopwright.kernel.plugins import load_plugin
from loopwright.monitoring import sketches
from loopwright.monitoring.channels import Notice
from loopwright.monitoring.evaluation import evaluate
from loopwright.monitoring.reference import build_reference
from loopwright.monitoring.types import Incident, Monitor, Window, WindowTask
from loopwright.store.types import Job, Streams
from loopwright.store.work import JobContext, job

ALLOWED_HOSTS = "webhook-hosts"
"""File in the state folder: hosts with private addresses that webhooks may reach, one a line."""


@job("monitoring.evaluate_window")
def evaluate_window(context: JobContext, job: Job) -> dict[str, Any]:
    """Measure one window."""
    context.seal(_log(job))
    window = _measure(context, job.project, job.args)
    return {"predictions": window.predictions, "labels": window.labels, "state": window.state}


@job("monitoring.evaluate_range")
def evaluate_range(context: JobContext, job: Job) -> dict[str, Any]:
    """Measure every window of a range that has ended, in order."""
    context.seal(_log(job))
    deployment = job.args["deployment"]
    monitor: Monitor = context.call("monitoring.get", {"deployment": deployment}, job.project)
    every_us, end_at = monitor.spec.every_us, job.args["end_at"]
    starts = [at for at in range(job.args["start_at"], end_at, every_us) if at + every_us <= end_at]
    for done, start_at in enumerate(starts):
        is_mature = start_at + every_us + monitor.spec.label_lag_us <= job.event_at
        named = {"deployment": deployment, "start_at": start_at, "end_at": start_at + every_us}
        _measure(context, job.project, {**named, "state": "settled" if is_mature else "closed"})
        context.progress(f"{done + 1} of {len(starts)} windows")
    return {"windows": len(starts)}


def _log(job: Job) -> Streams:
    """Return what a window is measured from: the predictions and labels of its deployment."""
    return Streams(job.project, ("predictions", "labels"), job.args["deployment"])


def _measure(context: JobContext, project: str, named: dict[str, Any]) -> Window:
    task: WindowTask = context.call("monitoring.window_task", named, project)
    window, blobs = evaluate(task, context.blobs)
    args = {"window": to_builtins(window), "blobs": to_builtins(blobs)}
    stored: Window = context.call("monitoring.finish_window", args, project)
    return stored


@job("monitoring.build_reference")
def profile_reference(context: JobContext, job: Job) -> dict[str, Any]:
    """Profile the rows of a Parquet blob and set them as the reference of a deployment."""
    args = job.args
    monitor: Monitor = context.call("monitoring.get", {"deployment": args["deployment"]}, job.project)
    frame = pl.read_parquet(context.blobs.path(args["digest"]))
    columns = args["columns"] or [name for name in frame.columns if name not in (args["time"], args["score"])]
    reference = build_reference(
        frame,
        columns,
        every_us=monitor.spec.every_us,
        over_us=monitor.spec.over_us,
        metric=monitor.spec.drift,
        time=args["time"] or "event_at",
        score=args["score"],
    )
    stored = context.blobs.put(sketches.to_bytes(reference))
    named = {"deployment": args["deployment"], "profile_digest": stored.digest, "metrics": args["metrics"]}
    context.call("monitoring.set_reference", {**named, "model_version": args["model_version"]}, job.project)
    return {"profile_digest": stored.digest, "rows": frame.height, "columns": len(columns)}


@job("monitoring.deliver_alert")
def deliver_alert(context: JobContext, job: Job) -> dict[str, Any]:
    """Tell one channel that an incident was opened or resolved."""
    incident: Incident = context.call("monitoring.incident", {"incident_id": job.args["incident_id"]}, job.project)
    kind, _, target = str(job.args["channel"]).partition(":")
    listed = context.state_dir / ALLOWED_HOSTS
    allowed = frozenset(listed.read_text("utf-8").split()) if listed.exists() else frozenset[str]()
    load_plugin("alert_channels", kind)(target, Notice(job.project, job.args["change"], incident), allowed)
    return {"channel": kind, "incident_id": incident.incident_id}
