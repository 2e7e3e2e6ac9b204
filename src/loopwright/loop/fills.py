"""Fills of the online store: what a plan reads has its past there, however the rows come and whenever it was declared.

Gateways keep the views of released plans up to date with what programs push. What lies before that comes from dataset
versions, and from pushes that no version holds yet; the store merges sets, so rows that come both ways count once.
"""

from collections.abc import Iterator

from loopwright import data, features, serving
from loopwright.features import BoundView, MaterializeRequest
from loopwright.kernel.clock import MINUTE_US
from loopwright.kernel.documents import convert
from loopwright.kernel.verbs import SERVER_ALONE, verb
from loopwright.loop.events import Restored
from loopwright.serving import Release
from loopwright.store import jobs
from loopwright.store import sql as store_sql
from loopwright.store.tx import Tx
from loopwright.store.work import kind_of

LOADED_BY_US = MINUTE_US
"""By then gateways have loaded a release and push into its views."""


def fill_from_version(tx: Tx, dataset: str, version: int, reason: str) -> int:
    """Fill the views over a dataset as they are declared, and as the plans that serve now mean them; say how many."""
    filled = set()
    for view in features.list_definitions(tx, kind="view"):
        if view.spec["dataset"] == dataset:
            job = features.start_materialize(tx, view=view.name, dataset_version=version, reason=reason)
            filled.add(convert(job.args, MaterializeRequest).view.key)
    for deployment in serving.list_deployments(tx):
        released = serving.status(tx, deployment=deployment.spec.name).release
        for digest, bound in _views_of(released):
            if bound.view.dataset == dataset and bound.key not in filled:
                filled.add(bound.key)
                features.start_materialize(
                    tx, view=bound.view.name, dataset_version=version, plan_digest=digest, reason=reason
                )
    return len(filled)


def fill_frozen_plan(tx: Tx, digest: str, reason: str) -> None:
    """Fill the views of a new plan that were never filled, so that they are ready when a model of it is."""
    for bound in features.bind_views(features.plan(tx, digest=digest), tx.project):
        if _filled_version(tx, bound) is None and not _is_being_filled(tx, bound):
            _start(tx, bound, digest, reason)


def fill_released_plans(tx: Tx, released: Release, before: Release | None, reason: str) -> None:
    """Fill the views that a release is the first to read with what came since they were filled, or last read.

    Each is filled once more when gateways have the release: what was pushed until then may still lie in their spools,
    where nothing here sees it. The job has it sealed first, and reads nothing twice.
    """
    read = {bound.key for _, bound in _views_of(before)}
    for digest, bound in _views_of(released):
        newest = data.get(tx, dataset=bound.view.dataset).newest
        if bound.key in read or newest is None:
            continue
        read.add(bound.key)
        if is_pushed(tx, bound.view.dataset) or _filled_version(tx, bound) != newest:
            _start(tx, bound, digest, reason)
        due_at, key = tx.now_us + LOADED_BY_US, f"features.materialize/{bound.key}"
        tx.later(due_at, key, features.start_materialize, view=bound.view.name, plan_digest=digest, reason=reason)


@verb("loop.note_restored", changes=features.Materialization, internal=True, parts=SERVER_ALONE)
def note_restored(tx: Tx, *, backup_id: str, backup_at: int) -> int:
    """Record that the project was set up again from a backup, and fill its online store, which no backup holds.

    Args:
        backup_id: Which.
        backup_at: When it was made, wall time, microseconds UTC.

    Returns:
        How many fills began.
    """
    reason = f"restored from {backup_id}"
    tx.emit(Restored(backup_id, backup_at), tx.ref("project", tx.project), reason=reason)
    datasets = {str(view.spec["dataset"]) for view in features.list_definitions(tx, kind="view")}
    for deployment in serving.list_deployments(tx):
        released = serving.status(tx, deployment=deployment.spec.name).release
        datasets |= {bound.view.dataset for _, bound in _views_of(released)}
    newest = {dataset: data.get(tx, dataset=dataset).newest for dataset in sorted(datasets)}
    return sum(
        fill_from_version(tx, dataset, version, reason) for dataset, version in newest.items() if version is not None
    )


def is_pushed(tx: Tx, dataset: str) -> bool:
    """Say whether rows of a dataset are known to be pushed, so that gateways keep its views up to date themselves."""
    return store_sql.has_chunks(tx.connection, tx.project, "pushes", dataset)


def _views_of(release: Release | None) -> Iterator[tuple[str, BoundView]]:
    for digest, plan in ({} if release is None else release.plans).items():
        for bound in features.bind_views(plan, release.project if release else ""):
            yield digest, bound


def _filled_version(tx: Tx, bound: BoundView) -> int | None:
    """Return the dataset version that a view was filled from last."""
    fills = features.materializations(tx, view=bound.view.name, limit=1000)
    return next((fill.dataset_version for fill in fills if fill.view_key == bound.key), None)


def _is_being_filled(tx: Tx, bound: BoundView) -> bool:
    live = jobs.list_jobs(tx, states=["queued", "running"], kind=kind_of(MaterializeRequest).name)
    return any(convert(job.args, MaterializeRequest).view.key == bound.key for job in live)


def _start(tx: Tx, bound: BoundView, digest: str, reason: str) -> None:
    if data.get(tx, dataset=bound.view.dataset).newest is not None:
        features.start_materialize(tx, view=bound.view.name, plan_digest=digest, reason=reason)
