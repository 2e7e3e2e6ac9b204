"""Verbs of training sets: frozen versions of a service's point-in-time join."""

from loopwright import data
from loopwright.features import sql
from loopwright.features.events import TrainingSetRecorded
from loopwright.features.plans import plan as find_plan
from loopwright.features.types import TrainingSetSpec, TrainingSetVersion
from loopwright.governance import lineage
from loopwright.kernel.digests import Digest
from loopwright.kernel.errors import InvalidInput, NotFound
from loopwright.kernel.refs import parse_ref
from loopwright.kernel.verbs import query, verb
from loopwright.store.tombstones import missing
from loopwright.store.tx import Tx
from loopwright.store.types import BlobRef


@verb("features.record_training_set", changes=TrainingSetVersion, internal=True)
def record_training_set(
    tx: Tx,
    *,
    spec: TrainingSetSpec,
    blob: BlobRef,
    rows: int,
    plan_digest: Digest,
    event_at_min: int,
    event_at_max: int,
    unlabelled_rows: int | None = None,
    reason: str = "",
) -> TrainingSetVersion:
    """Record a training set whose Parquet is stored. The same content for the same spec is the version there is.

    Args:
        spec: What was frozen.
        blob: The Parquet.
        rows: How many.
        plan_digest: What was computed.
        event_at_min: First event time, microseconds UTC.
        event_at_max: Last event time.
        unlabelled_rows: How many keys had no label; None for the part of a set that says it.
        reason: Why.
    """
    plan = find_plan(tx, digest=plan_digest)
    for dataset, version in spec.dataset_versions.items():
        data.require_version(tx, dataset=dataset, version=version)  # it may have been deleted since it was read
    for kept in sql.list_training_sets(tx, spec.service, digest=blob.digest):
        if kept.spec == spec and kept.plan_digest == plan_digest:
            return kept
    recorded = TrainingSetVersion(
        service=spec.service,
        version=sql.next_training_set(tx, spec.service),
        spec=spec,
        digest=blob.digest,
        size_bytes=blob.size_bytes,
        rows=rows,
        columns=plan.columns,
        label="" if plan.label is None else plan.label.column,
        plan_digest=plan_digest,
        event_at_min=event_at_min,
        event_at_max=event_at_max,
        recorded_at=tx.wall_us,
    )
    tx.keep_blobs(blob)
    sql.insert_training_set(tx, recorded)
    ref = tx.ref("training_set", spec.service, recorded.version)
    sources = [tx.ref("dataset", name, version) for name, version in sorted(spec.dataset_versions.items())]
    lineage.link(tx, ref, "joined_from", *sources)
    lineage.link(tx, ref, "computed_by", tx.ref("feature_service", spec.service), tx.ref("feature_plan", plan_digest))
    lineage.link(tx, ref, "computed_by", *(tx.ref("feature_view", view.name) for view in plan.views))
    if plan.code_digest:
        lineage.link(tx, ref, "computed_by", tx.ref("code", plan.code_digest))
    facts = TrainingSetRecorded(rows=rows, digest=blob.digest, plan_digest=plan_digest, unlabelled_rows=unlabelled_rows)
    tx.emit(facts, ref, reason=reason)
    return recorded


@query("features.training_set")
def training_set(tx: Tx, *, service: str, version: int | None = None) -> TrainingSetVersion:
    """Return one training set of a service; the newest if no version is given."""
    newest = sql.list_training_sets(tx, service, version=version, limit=1)
    if not newest:
        name = service if version is None else f"{service}/{version}"
        step = "start a pipeline that freezes one"
        unknown = NotFound(f"there is no training set {name}", field="training_set", value=name, next_step=step)
        raise unknown if version is None else missing(tx, "training_set", service, version, unknown)
    return newest[0]


@query("features.training_sets")
def list_training_sets(tx: Tx, *, service: str, limit: int = 100) -> list[TrainingSetVersion]:
    """Return the training sets of a service, newest first."""
    return sql.list_training_sets(tx, service, limit=min(limit, 1000))


@query("features.rows_used")
def rows_used(tx: Tx, *, ref: str) -> BlobRef:
    """Return the Parquet whose column ``row_id`` names the rows of a training set, by its ref."""
    parsed = parse_ref(ref, tx.project)
    if parsed.kind != "training_set" or parsed.project != tx.project:
        raise InvalidInput(
            "this is no training set of this project", field="ref", value=ref, rule="training_set:name/version"
        )
    used = training_set(tx, service=parsed.name, version=parsed.version)
    return BlobRef(used.digest, used.size_bytes)


@query("features.training_set_spec", internal=True)
def training_set_spec(
    tx: Tx,
    *,
    plan_digest: Digest,
    end_at: int,
    start_at: int | None = None,
    known_by: int | None = None,
    dataset_versions: dict[str, int] = {},  # noqa: B006 - never changed
) -> TrainingSetSpec:
    """Return what to freeze with every dataset version settled: the given ones, else the newest."""
    plan = find_plan(tx, digest=plan_digest)
    versions = {
        dataset.name: data.get_version(tx, dataset=dataset.name, version=dataset_versions.get(dataset.name)).version
        for dataset in plan.datasets
    }
    return TrainingSetSpec(plan.service, versions, start_at, end_at, tx.now_us if known_by is None else known_by)
