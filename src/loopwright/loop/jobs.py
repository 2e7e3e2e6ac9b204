"""Jobs of the loop, done by the worker: export of the log, skew audit, evaluation of a version, a project's end."""

import io
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from loopwright import data, registry, serving
from loopwright.data import read, reading
from loopwright.features import (
    FeaturePlan,
    RequestSpec,
    SkewReport,
    compare_served,
    freeze_training_set,
    online,
    tell_skew,
)
from loopwright.governance import projects
from loopwright.kernel.documents import convert, to_builtins
from loopwright.kernel.errors import InvalidInput, StepFailed
from loopwright.loop import (
    audits,
    batch_scores,  # noqa: F401 - a job in a file of its own
    feeding,  # noqa: F401 - another
    key_matching,  # noqa: F401 - another
    push_feeding,  # noqa: F401 - another
    recompute,
)
from loopwright.loop.backtest import playing
from loopwright.loop.backtest.closing import closing_table, read_changes, with_series
from loopwright.loop.housekeeping import deletion, tidying
from loopwright.loop.training import evidence
from loopwright.loop.types import (
    AuditDue,
    AuditSkew,
    ClosingTable,
    Evaluate,
    Export,
    ForgetDeleted,
    ForgetProject,
    MakeClosingTable,
    PlayBacktest,
    ReplayPrediction,
    SkewFound,
    TidyOnline,
)
from loopwright.pipelines import PipelineContext
from loopwright.serving import predictions
from loopwright.store import chunks, jobs
from loopwright.store.retention import list_removals, tell_removal
from loopwright.store.types import BlobRef, Chunk, Streams
from loopwright.store.work import JobContext, NotYet, job

_LOOK_AGAIN_S = 2.0
_COLUMNS = [
    "prediction_id",
    "row_key",
    "variant",
    "model_version",
    "is_shadow",
    "event_at",
    "recorded_at",
    "release",
    "score",
    "answer",
]


@job(Export)
def export(context: JobContext, args: Export) -> dict[str, Any]:
    """Write predictions and labels of a stretch of event time to one Parquet blob."""
    return _export(context, args)


def _export(context: JobContext, args: Export) -> dict[str, Any]:
    context.seal(Streams(context.project, ("predictions", "labels"), args.deployment))
    stored = _chunks(context, args)
    rows = predictions.latest(_scan(context, args, stored, columns=None if args.features else _COLUMNS))
    ids = chunks.id_ranges(stored)
    telling = context.call(chunks.find_labels, stream=args.deployment, ids=ids, start_at=args.start_at)
    between = (ids[0][0], ids[-1][1]) if ids else None
    joined = predictions.join_labels(rows, predictions.latest_labels(telling, context.blobs, between=between))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.parquet"
        joined.sink_parquet(path, compression="zstd")
        count = pl.scan_parquet(path).select(pl.len()).collect().item()
        blob = context.blobs.put_file(path)
    context.call(chunks.keep_blobs, blobs=[blob])
    removed = [
        tell_removal(removal)
        for kind in ("predictions", "labels")
        for removal in context.call(list_removals, kind=kind, stream=args.deployment)
        if removal.start_at < args.end_at and removal.end_at > args.start_at
    ]
    return {"digest": blob.digest, "size_bytes": blob.size_bytes, "rows": count, "removed": removed}


@job(AuditSkew)
def audit_skew(context: JobContext, args: AuditSkew) -> dict[str, Any]:
    """Compute a sample of served rows again from the datasets and compare every feature to the bit.

    Rows scored in a batch brought their features with them and are left out.
    """
    return _audit_skew(context, args)


@job(AuditDue)
def audit_due(context: JobContext, args: AuditDue) -> dict[str, Any]:
    """Audit what was served as far as the datasets reach, and tell what was found."""
    until = min(args.end_at, _held_until(context, args.deployment))
    nothing = {"rows": 0, "unequal_rows": 0, "unmatched_rows": 0, "first": [], "until": max(until, args.start_at)}
    if until <= args.start_at:
        return nothing
    try:
        found = _audit_skew(context, AuditSkew(args.deployment, args.rows, args.start_at, until))
    except _NothingToCompare:
        return nothing
    told = convert(found, SkewFound)
    context.call(audits.finish_skew_audit, deployment=args.deployment, start_at=args.start_at, until=until, found=told)
    return {**found, "until": until}


def _held_until(context: JobContext, deployment: str) -> int:
    """Return until when the datasets behind what serves hold what was known: the time of their last import."""
    release = context.call(serving.get_release, deployment=deployment)
    names = {dataset.name for plan in release.plans.values() for dataset in plan.datasets}
    return min((context.call(data.versions.get_version, dataset=name).event_at for name in names), default=0)


def _audit_skew(context: JobContext, args: AuditSkew) -> dict[str, Any]:
    context.seal(Streams(context.project, ("predictions",), args.deployment))
    is_looked_up = ~pl.col("is_shadow") & pl.col("error").is_null() & (pl.col("variant") != predictions.SCORED)
    rows = predictions.latest(_scan(context, args, _chunks(context, args)).filter(is_looked_up)).collect()
    sample = rows.sample(min(args.rows, rows.height), seed=0) if rows.height else rows
    reports = [_compare(context, *alike) for alike in _by_plan(context, args.deployment, sample)]
    causes = [skew for report in reports for skew in report.features]
    return {
        "rows": sum(report.rows for report in reports),
        "unequal_rows": sum(report.unequal_rows for report in reports),
        "unmatched_rows": sum(report.unmatched_rows for report in reports),
        "first": [to_builtins(one) for report in reports for one in report.first][:20],
        "features": [{**to_builtins(skew), "told": skew.tell()} for skew in causes],
        "told": tell_skew(causes),
    }


class _NothingToCompare(InvalidInput):
    """Features came with the requests: none was looked up."""


@job(MakeClosingTable)
def make_closing_table(context: JobContext, args: MakeClosingTable) -> dict[str, Any]:
    """Make the closing table of a stretch from the log of predictions and labels."""
    scope = args.scope
    exported = _export(context, Export(scope.deployment, scope.start_at, scope.end_at, features=False))
    log = with_series(pl.read_parquet(context.blobs.path(exported["digest"])), scope.zone)

    is_ours = not context.call(serving.get, deployment=scope.deployment).spec.is_external

    def skew(rows: int) -> dict[str, Any]:
        try:
            audited = AuditSkew(scope.deployment, rows if is_ours else 0, scope.start_at, scope.end_at)
            return _audit_skew(context, audited)
        except _NothingToCompare:
            return {"rows": 0, "unequal_rows": 0, "unmatched_rows": 0}

    table = closing_table(log, read_changes(context, scope), skew, scope)
    made: dict[str, Any] = to_builtins(ClosingTable(scope, table))
    return made


def _chunks(context: JobContext, args: Export | AuditSkew) -> list[Chunk]:
    """Return the chunks of what was predicted in the stretch."""
    start_at, end_at = args.start_at, args.end_at
    return context.call(chunks.find, kind="predictions", stream=args.deployment, start_at=start_at, end_at=end_at)


def _scan(
    context: JobContext, args: Export | AuditSkew, stored: list[Chunk], columns: list[str] | None = None
) -> pl.LazyFrame:
    return predictions.scan(stored, context.blobs, start_at=args.start_at, end_at=args.end_at, columns=columns)


def _by_plan(
    context: JobContext, deployment: str, sample: pl.DataFrame
) -> list[tuple[FeaturePlan, list[str], pl.DataFrame]]:
    """Return the rows that were served by one plan together, with the plan and what was left out of their log."""
    found: dict[tuple[str, ...], tuple[FeaturePlan, list[str], list[pl.DataFrame]]] = {}
    for (number, variant), part in sample.group_by("release", "variant", maintain_order=True):
        release = context.call(serving.get_release, deployment=deployment, number=int(number))
        digest = next(one.plan for one in release.variants if one.name == variant)
        plan = release.plans.get(digest)
        if plan is None:
            message = "this deployment looks no features up; there is nothing to compare"
            raise _NothingToCompare(message, field="deployment")
        _, _, parts = found.setdefault((digest, *sorted(release.personal)), (plan, release.personal, []))
        parts.append(part)
    return [(plan, personal, pl.concat(parts)) for plan, personal, parts in found.values()]


def _compare(context: JobContext, plan: FeaturePlan, personal: list[str], rows: pl.DataFrame) -> SkewReport:
    newest = {dataset.name: context.call(data.versions.get_version, dataset=dataset.name) for dataset in plan.datasets}
    scans = {name: read.stages(version, context.blobs) for name, version in newest.items()}
    kept = rows.select([name for name in rows.columns if not name.startswith("f.") or name[2:] in plan.columns])
    return compare_served(plan, scans, kept, partial(ask_child, context), unlogged=personal)


@job(Evaluate)
def evaluate(context: PipelineContext, args: Evaluate) -> dict[str, Any]:
    """Measure a registered version on held-out rows, run its gates and record what they said."""
    frozen = freeze_training_set(
        context,
        plan_digest=args.plan_digest,
        start_at=args.start_at,
        end_at=args.end_at,
        known_by=args.known_by,
        run_requests=partial(ask_child, context),
        reason=f"held-out rows for version {args.version} of {args.model}",
    )
    version = context.call(registry.get_version, model=args.model, version=args.version)
    rows = evidence.rows_document(context, frozen)

    def child(target: str, inputs: dict[str, Any]) -> Any:
        return context.children.call(target, inputs).output

    is_chosen = args.is_stretch_chosen
    report = evidence.run_and_record(
        context, child, version, rows, args.gates, args.reason, is_stretch_chosen=is_chosen
    )
    results = [
        {"gate": gate_result.gate.kind, "verdict": gate_result.verdict, "message": gate_result.message}
        for gate_result in report.results
    ]
    return {"report_id": report.report_id, "passed": report.passed, "rows": frozen.rows, "results": results}


@job(ReplayPrediction)
def replay_prediction(context: PipelineContext, args: ReplayPrediction) -> dict[str, Any]:
    """Compute one prediction again from the records."""
    replayed: dict[str, Any] = to_builtins(recompute.recompute(context, args.prediction_id))
    return replayed


@job(PlayBacktest)
def play_backtest(context: JobContext, args: PlayBacktest) -> dict[str, Any]:
    """Play a stretch of history in a scratch project, and keep its closing table."""
    played: dict[str, Any] = playing.play(context, args.backtest_id)
    return played


def ask_child(context: Any, request: RequestSpec, rows: pl.DataFrame) -> pl.DataFrame:
    """Call an on-request function once for all rows, in a child process of its code."""
    buffer = io.BytesIO()
    rows.select(request.inputs).write_parquet(buffer, compression="uncompressed")
    blob: BlobRef = context.blobs.put(buffer.getvalue())
    document = {"codec": "frame", "blob": blob.digest, "library": "polars"}
    pool: PipelineContext = context
    asked: dict[str, Any] = {"timeout_s": 600.0, "owner": context.project}
    answer = pool.children.call(request.function, {"": document}, **asked).output
    if not isinstance(answer, dict) or answer.get("codec") != "frame":
        raise StepFailed(f"{request.name} returned no frame", field="return", next_step="return one row for each row")
    path = context.blobs.path(answer["blob"])
    return reading.read_frame(context, path, what=f"what {request.name} returned").select(request.outputs)


@job(ForgetProject)
def forget_project(context: JobContext, args: ForgetProject) -> dict[str, int]:
    """Remove the rows of a deleted project once no other job of it runs any more."""
    running = context.call(jobs.list_jobs, states=["running"])
    if any(other.job_id != context.job.job_id for other in running):
        raise NotYet(_LOOK_AGAIN_S)
    rows = 0
    while removed := context.call(projects.forget_rows):
        rows += removed
        context.progress(f"{rows:,} rows removed")
    stores = online.OnlineStores(context.state_dir, context.online_url)
    stores.remove([context.project])  # other state folders are swept by who works there
    return {"rows": rows}


@job(ForgetDeleted)
def forget_deleted(context: JobContext, args: ForgetDeleted) -> None:
    """Remove the rows that belonged to deleted things, until none is left."""
    while left := context.call(deletion.forget_rows):
        context.progress(f"{left:,} things have rows left")


@job(TidyOnline)
def tidy_online(context: JobContext, args: TidyOnline) -> dict[str, int]:
    """Drop what nobody can ask for any more from the online store of this worker's state folder."""
    use = context.call(tidying.online_use)
    store = online.OnlineStores(context.state_dir, context.online_url).open(context.project)
    try:
        read = {bound.key for bound in use.views}
        unread = sorted(store.upkeep.view_keys(context.project) - read)
        gone = context.call(tidying.let_views_go, view_keys=unread) if unread else []
        entities, size_bytes = 0, 0
        for key in gone:
            entities += store.upkeep.forget(key)
        for bound in use.views:
            expired = store.upkeep.forget_expired(bound, use.now_us)
            entities, size_bytes = entities + expired.entities, size_bytes + expired.size_bytes
            context.progress(f"{entities:,} entities dropped")
        store.upkeep.forget_left_over()
        freed_bytes = store.upkeep.shrink()
    finally:
        store.close()
    context.call(tidying.finish_tidying, views=gone, entities=entities, size_bytes=size_bytes)
    return {"views": len(gone), "entities": entities, "size_bytes": size_bytes, "freed_bytes": freed_bytes}
