"""Verbs of materialization: filling the online store with a view from a dataset version."""

from collections.abc import Sequence

from loopwright import data
from loopwright.features import sql
from loopwright.features.events import Materialized, MaterializeStarted
from loopwright.features.meanings import bind_views, view_key, view_names
from loopwright.features.plans import plan as find_plan
from loopwright.features.plans import push_spec
from loopwright.features.types import BoundView, Materialization, MaterializeRequest
from loopwright.features.views import find_view
from loopwright.kernel.digests import Digest
from loopwright.kernel.errors import NotFound
from loopwright.kernel.suggestions import suggest
from loopwright.kernel.verbs import query, verb
from loopwright.store.tx import Tx
from loopwright.store.types import Job


@verb("features.start_materialize", changes=Materialization)
def start_materialize(
    tx: Tx,
    *,
    view: str,
    dataset_version: int | None = None,
    plan_digest: Digest | None = None,
    reset: bool = False,
    reason: str = "",
) -> Job:
    """Start filling the online store with a view; what was filled before is not read again.

    Args:
        view: Name of the view.
        dataset_version: Version to fill from; None for the newest.
        plan_digest: Fill the view as this plan means it; None for its present declaration.
        reset: Fill the view anew, for a dataset that was repaired; what it holds answers until that is done.
        reason: Why.
    """
    bound = _bound(tx, view, plan_digest)
    version = data.get_version(tx, dataset=bound.view.dataset, version=dataset_version)
    request = MaterializeRequest(
        view=bound, dataset_version=version.version, until_us=tx.now_us, reset=reset, reason=reason
    )
    ref = tx.ref("feature_view", view)
    job = tx.start_job(request, ref)
    facts = MaterializeStarted(job_id=job.job_id, dataset=version.dataset, dataset_version=version.version, reset=reset)
    tx.emit(facts, ref, reason=reason)
    return job


@verb("features.finish_materialize", changes=Materialization, internal=True)
def finish_materialize(
    tx: Tx, *, job_id: str, view: BoundView, dataset_version: int, rows: int, entities: int, reason: str = ""
) -> Materialization:
    """Record a fill that is done. Recording it twice is once."""
    kept = sql.find_materialization(tx, job_id)
    if kept is not None:
        return kept
    filled = Materialization(
        view=view.view.name,
        view_key=view.key,
        dataset=view.view.dataset,
        dataset_version=dataset_version,
        rows=rows,
        entities=entities,
        job_id=job_id,
        event_at=tx.now_us,
        recorded_at=tx.wall_us,
        reason=reason,
    )
    sql.insert_materialization(tx, filled)
    facts = Materialized(
        dataset=filled.dataset, dataset_version=dataset_version, view_key=view.key, rows=rows, entities=entities
    )
    tx.emit(facts, tx.ref("feature_view", filled.view), reason=reason)
    return filled


@query("features.materializations")
def materializations(tx: Tx, *, view: str | None = None, limit: int = 100) -> list[Materialization]:
    """Return fills of the online store, newest first."""
    return sql.list_materializations(tx, view, min(limit, 1000))


def declared_views(tx: Tx) -> list[BoundView]:
    """Return every view as it is declared now, with its key in the online store."""
    return [_bound(tx, each.name, None) for each in sql.list_definitions(tx, "view")]


def filled_since(tx: Tx, recorded_at: int) -> set[str]:
    """Return the keys of the views that were filled since a moment of wall time, microseconds UTC."""
    return sql.filled_since(tx, recorded_at)


def forget_fills(tx: Tx, view_keys: Sequence[str]) -> None:
    """Forget that views were filled, so that whoever reads one again has it filled anew."""
    sql.delete_materializations(tx, view_keys)


@query("features.bound_views", internal=True)
def bound_views(tx: Tx, *, plan_digest: Digest) -> list[BoundView]:
    """Return a plan's views with their keys in the online store."""
    return bind_views(find_plan(tx, digest=plan_digest), tx.project)


def _bound(tx: Tx, view: str, plan_digest: str | None) -> BoundView:
    if plan_digest is None:
        spec = find_view(tx, view)
        dataset = push_spec(tx, spec.dataset)
        return BoundView(view_key(tx.project, spec, dataset), spec, dataset, view_names([], [spec])[0])
    views = {bound.view.name: bound for bound in bound_views(tx, plan_digest=plan_digest)}
    if view not in views:
        raise NotFound(f"the plan has no view {view}", field="view", value=view, next_step=suggest(view, views))
    return views[view]
