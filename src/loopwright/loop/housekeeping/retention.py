"""Removing rows of streams that are older than was declared, but for those that something still rests on.

It goes on in a closed project, where nothing rests on rows any more: a promise to remove them holds there too.
"""

from collections.abc import Iterator

from loopwright import data, monitoring, serving
from loopwright.governance import projects
from loopwright.kernel.clock import DAY_US, HOUR_US
from loopwright.kernel.verbs import Count, Role, query, verb
from loopwright.loop.housekeeping import old_points
from loopwright.loop.housekeeping.streams import require_stream
from loopwright.loop.label_feed import UNSEALED_US, label_feed
from loopwright.loop.push_feed import push_feed
from loopwright.loop.types import Expired, Pin
from loopwright.store import jobs
from loopwright.store import sql as store_sql
from loopwright.store.events import RowsRemoved
from loopwright.store.keeping import Kind, read_keep
from loopwright.store.retention import keep_of, save, subject_of
from loopwright.store.tx import Tx
from loopwright.store.types import Chunk, Removal, Retention

MOST_CHUNKS = 1_000
"""Chunks of a stream that are removed in one transaction; the rest goes in the next round."""
MOST_MERGED = 5_000
"""What they were merged from, together: a row each, which goes with them; one chunk of a day may be of 43,200."""
_MOST_JOBS = 1_000
_BEHIND_US = 2 * HOUR_US
"""How long labels are stored without being taken, every hour, when something is wrong."""
_RULES = {"predictions": "predictions", "labels": "labels", "keyed_labels": "labels"}
"""By kind of a deployment's rows: the kind whose declaration holds for them."""


@verb("retention.set", changes=Retention, role=Role.ADMIN)
def set_retention(tx: Tx, *, kind: Kind, keep: str, stream: str = "", reason: str = "") -> Retention:
    """Declare how long rows of a stream are kept, by event time; nothing is removed by saying so.

    Points of metrics go as long after the end of their run; the last of each metric stays.

    Args:
        tx: The open transaction.
        kind: Which rows.
        keep: Such as ``90d``, one day at least; ``forever`` for an end of removing.
        stream: Deployment, dataset or experiment; empty for every stream of the kind that has none of its own.
        reason: Why.

    Raises:
        InvalidInput: The time is no duration, or shorter than a day.
        NotFound: There is no such stream; suggests the nearest.
    """
    declared = Retention(kind, stream, read_keep(keep, "keep"))
    if stream and not _ends(tx, declared):
        require_stream(tx, kind, stream, "stream")
    save(tx, declared, reason)
    return declared


def _ends(tx: Tx, declared: Retention) -> bool:
    """Say whether this is the end of a declaration that holds; its stream may be gone, or never have been."""
    holding = {(each.kind, each.stream) for each in store_sql.list_retentions(tx)}
    return declared.keep_us is None and (declared.kind, declared.stream) in holding


@query("retention.plan", role=Role.ADMIN)
def plan(tx: Tx) -> list[Expired]:
    """Return what ``retention.apply`` would remove now, and what is kept longer than was declared, and why."""
    expired = [
        Expired(
            kind,
            stream,
            *store_sql.sum_expired(tx, _expiring(tx, kind, stream, cutoff, pins)),
            [pin for pin in pins if pin.start_at < cutoff],
        )
        for kind, stream, cutoff in _declared(tx)
        for pins in [_pins(tx, kind, stream)]
    ]
    return expired + old_points.plan(tx)


@verb("retention.apply", changes=Removal, role=Role.ADMIN, lasts="closed")
def apply(tx: Tx, *, most_chunks: Count = MOST_CHUNKS) -> list[Removal]:
    """Remove what is old enough and rests under nothing, and tell it; a server does so by itself every six hours.

    Whole chunks go, when the newest of their rows is old enough. Their blobs follow with the garbage.
    """
    removed = []
    for kind, stream, cutoff in _declared(tx):
        which = _expiring(tx, kind, stream, cutoff, _pins(tx, kind, stream))
        old = store_sql.expired_chunks(tx, which, limit=most_chunks, most_merged=MOST_MERGED)
        if old:
            removed.append(_remove(tx, kind, stream, old))
    return removed + old_points.apply(tx)


def _declared(tx: Tx) -> Iterator[tuple[str, str, int]]:
    """Yield kind, stream and the moment before which rows are old enough, for each stream that has one."""
    declared = store_sql.list_retentions(tx)
    if not declared:
        return
    now_us = _now_us(tx)
    deployments = [each.spec.name for each in serving.list_deployments(tx)]
    streams = [(kind, rule, name) for name in deployments for kind, rule in _RULES.items()]
    streams += [("pushes", "pushes", each.spec.name) for each in data.list_datasets(tx)]
    for kind, rule, stream in streams:
        keep_us = keep_of(declared, rule, stream)
        if keep_us is not None:
            yield kind, stream, now_us - keep_us


def _now_us(tx: Tx) -> int:
    """Return the moment rows are old by: in a closed project a clock that is replayed stands still, and rows age on."""
    project = projects.find(tx, tx.project)
    if project.closed_at is None or project.clock == "wall":
        return tx.now_us
    return tx.now_us + tx.wall_us - project.closed_at


def _expiring(tx: Tx, kind: str, stream: str, cutoff: int, pins: list[Pin]) -> store_sql.Expiring:
    recorded_before = tx.wall_us - DAY_US  # what was brought in just now is to be seen for a day, however old it is
    if kind == "pushes":
        recorded_before = min([recorded_before, *(pin.start_at for pin in pins)])
    else:
        cutoff = min([cutoff, *(pin.start_at for pin in pins)])
    return store_sql.Expiring(kind, stream, cutoff, recorded_before)


def _remove(tx: Tx, kind: str, stream: str, old: list[Chunk]) -> Removal:
    removal = Removal(
        removal_id=tx.new_id("rem"),
        kind=kind,
        stream=stream,
        chunks=len(old),
        rows=sum(chunk.rows for chunk in old),
        size_bytes=sum(chunk.size_bytes for chunk in old),
        start_at=min(chunk.event_at_min for chunk in old),
        end_at=max(chunk.event_at_max for chunk in old) + 1,
        id_first=min(chunk.id_first for chunk in old),
        id_last=max(chunk.id_last for chunk in old),
        removed_at=tx.wall_us,
    )
    store_sql.remove_chunks(tx, removal, [chunk.chunk_id for chunk in old])
    facts = RowsRemoved(
        kind, stream, removal.chunks, removal.rows, removal.size_bytes, removal.start_at, removal.end_at
    )
    tx.emit(facts, subject_of(tx, kind, stream), reason="older than retention.set keeps them")
    return removal


def _pins(tx: Tx, kind: str, stream: str) -> list[Pin]:
    """Return what still needs rows of a stream."""
    if projects.find(tx, tx.project).closed_at is not None:
        return []  # no window closes there any more, and no fill begins
    if kind == "pushes":
        return list(_pins_of_pushes(tx, stream))
    return [*_pins_of_deployment(tx, stream), *_pins_of_labels(tx, kind, stream)]


def _pins_of_pushes(tx: Tx, dataset: str) -> Iterator[Pin]:
    """A fill reads what was pushed since the version before the newest; what no version holds yet is there alone."""
    feed = push_feed(tx, dataset=dataset)
    if feed is not None:
        yield Pin(feed.until + 1, f"{dataset} has not taken all that was pushed")
    newest = data.get(tx, dataset=dataset).newest
    before = None if newest is None else data.version_before(tx, dataset=dataset, version=newest)
    if before is None:
        yield Pin(0, "no two versions hold what was pushed")
    else:
        since = before.recorded_at
        yield Pin(since - DAY_US, f"fills read what was pushed since version {before.version}")


def _pins_of_deployment(tx: Tx, deployment: str) -> Iterator[Pin]:
    monitor = next((each for each in monitoring.list_monitors(tx) if each.deployment == deployment), None)
    span_us = 0 if monitor is None else max(monitor.spec.span_us, monitor.spec.over_us)
    if monitor is not None and monitor.next_at is not None:
        yield Pin(monitor.next_at, "the window that is open")
    if (closed_at := monitoring.oldest_closed(tx, deployment=deployment)) is not None:
        yield Pin(closed_at, "a window whose labels have not matured")
    about = tx.ref("deployment", deployment)
    for incident in monitoring.live_incidents(tx, subject=about):
        yield Pin(incident.opened_at - span_us - DAY_US, f"incident {incident.incident_id} is open")
    for rollout in serving.list_rollouts(tx, deployment=deployment):
        if rollout.finished_at is None:
            yield Pin(rollout.event_at - DAY_US, f"rollout {rollout.rollout_id} is live")
    under_way = jobs.list_jobs(tx, states=["queued", "running"], limit=_MOST_JOBS)
    if len(under_way) == _MOST_JOBS:
        yield Pin(0, f"{_MOST_JOBS:,} jobs or more are under way")
    for job in under_way:
        if job.ref == about and job.lane != "upkeep":
            start_at = job.args.get("start_at")
            yield Pin((start_at if isinstance(start_at, int) else 0) - DAY_US, f"job {job.job_id} runs")


def _pins_of_labels(tx: Tx, kind: str, deployment: str) -> Iterator[Pin]:
    """Labels that a dataset is still to take are there alone, and their rows are found by the predictions."""
    feed = label_feed(tx, deployment=deployment)
    if feed is None:
        return
    if kind != "predictions":
        # What was stored within a day stays as it is, whatever its event time.
        oldest = store_sql.oldest_stored(tx, kind, deployment, since=feed.since + 1, before=tx.wall_us - DAY_US)
        if oldest is not None:
            yield Pin(oldest, f"labels that {feed.dataset} has not taken yet")
        return
    # While it keeps up its labels pin no predictions: whoever sends one of an unknown id each hour would pin them all.
    ids = store_sql.told_of(tx, deployment, since=feed.since + 1, before=tx.wall_us - _BEHIND_US)
    oldest = None if ids is None else store_sql.oldest_of_ids(tx, kind, deployment, ids)
    if oldest is not None:
        yield Pin(oldest, f"predictions of labels that {feed.dataset} has not taken yet")
    # Of those that wait for their predictions, the log was looked through up to the last time.
    if feed.waiting and tx.wall_us < feed.looked_at + UNSEALED_US:
        since, before = feed.looked_at - DAY_US, tx.wall_us - DAY_US
        oldest = store_sql.oldest_stored(tx, kind, deployment, since=since, before=before)
        if oldest is not None:
            yield Pin(oldest, f"labels that wait for {feed.dataset} may be of predictions that came late")
