"""Keeping the online store to what somebody may still ask for; a server has it tidied by itself every six hours.

Two things leave it: all rows of a view that is neither declared nor read by an endpoint nor freshly filled for one, and
entities of a column view whose values are older than its time to live. A view that is read again is filled again, for
with its rows goes the record that it was filled.
"""

from collections.abc import Iterator

from loopwright import features, serving
from loopwright.features import BoundView
from loopwright.kernel.clock import DAY_US
from loopwright.kernel.verbs import Role, query, verb
from loopwright.loop.events import OnlineTidied
from loopwright.loop.types import OnlineUse, TidyOnline
from loopwright.store import sql as store_sql
from loopwright.store.tx import Tx
from loopwright.store.types import Job
from loopwright.store.work import kind_of

FRESH_US = 7 * DAY_US
"""How long a view that was filled for a training waits for a release that reads it."""


@verb("loop.start_tidying", changes=Job, role=Role.ADMIN)
def start_tidying(tx: Tx) -> Job:
    """Start dropping what nobody can ask the online store for any more; while one is under way that is returned."""
    kind = kind_of(TidyOnline).name
    live = store_sql.list_jobs(tx.connection, tx.project, states=("queued", "running"), kind=kind, limit=1)
    return live[0] if live else tx.start_job(TidyOnline(), tx.ref("project", tx.project))


def is_wanted(tx: Tx) -> bool:
    """Say whether the project has, or had, views whose rows may be in an online store."""
    return bool(features.list_definitions(tx, kind="view")) or bool(
        store_sql.list_tombstones(tx, kind="feature_view", limit=1)
    )


@query("loop.online_use", internal=True)
def online_use(tx: Tx) -> OnlineUse:
    """Return which views of the online store somebody may still read, and the project's present moment."""
    return OnlineUse(tx.now_us, list(_read_views(tx).values()))


@verb("loop.let_views_go", changes=features.Materialization, internal=True)
def let_views_go(tx: Tx, *, view_keys: list[str]) -> list[str]:
    """Forget that views were filled which nobody reads; return them: only their rows may be dropped."""
    kept = _read_views(tx).keys() | features.filled_since(tx, tx.wall_us - FRESH_US)
    gone = [key for key in view_keys if key not in kept]
    features.forget_fills(tx, gone)
    return gone


@verb("loop.finish_tidying", changes=features.Materialization, internal=True)
def finish_tidying(tx: Tx, *, views: list[str], entities: int, size_bytes: int) -> int:
    """Tell what was dropped, and fill views anew that an endpoint began to read meanwhile; return how many."""
    if views or entities:
        facts = OnlineTidied(views, entities, size_bytes)
        tx.emit(facts, tx.ref("project", tx.project), reason="nobody can ask for it any more")
    again = {bound.key: (bound.view.name, digest) for bound, digest in _served_views(tx) if bound.key in views}
    for view, digest in again.values():
        reason = "read again while it was dropped"
        features.start_materialize(tx, view=view, plan_digest=digest, reset=True, reason=reason)
    return len(again)


def _served_views(tx: Tx) -> Iterator[tuple[BoundView, str]]:
    """Yield the views that endpoints read, each with the digest of the plan that does."""
    for _, digest, plan in serving.served_plans(tx):
        for bound in features.bind_views(plan, tx.project):
            yield bound, digest


def _read_views(tx: Tx) -> dict[str, BoundView]:
    views = {bound.key: bound for bound in features.declared_views(tx)}
    return views | {bound.key: bound for bound, _ in _served_views(tx)}
