"""Rows that are pushed become a version of their dataset, each once: verbs, and the hourly timer.

Whoever pushes rows should not have to append them too. A dataset that ``takes_pushes`` gets what was put into the log
of pushes, which is what features saw, so that training reads the rows that serving read.
"""

from loopwright import data
from loopwright.data import PUSHED_AT, Dataset, ImportRequest
from loopwright.kernel.clock import HOUR_US
from loopwright.kernel.digests import MaybeDigest
from loopwright.kernel.errors import Conflict, InvalidInput, NotFound
from loopwright.kernel.verbs import SERVER_ALONE, Count, query, verb
from loopwright.loop.types import FeedPushes, ProjectSpec
from loopwright.store import jobs
from loopwright.store import sql as store_sql
from loopwright.store.streams import PUSHES
from loopwright.store.timers import plans_next, sooner
from loopwright.store.tx import Tx
from loopwright.store.types import BlobRef, Job, StreamCursor
from loopwright.store.work import kind_of

_UNDER_WAY = "is on its way"


@verb("loop.start_push_feed", changes=Dataset, internal=True, parts=SERVER_ALONE)
def start_push_feed(tx: Tx, *, dataset: str) -> Job | None:
    """Start making what was pushed a version, and plan the next time; None if the dataset takes none."""
    plan_push_feed(tx, dataset=dataset)
    return None if push_feed(tx, dataset=dataset) is None or why_held(tx, dataset) else _start(tx, dataset)


@plans_next(start_push_feed)
def plan_push_feed(tx: Tx, *, dataset: str) -> None:
    """Plan the feed of an hour later, as long as the dataset takes what is pushed."""
    if push_feed(tx, dataset=dataset) is not None:
        _plan(tx, dataset, tx.now_us + HOUR_US)


@verb("loop.take_pushes", changes=Dataset)
def take_pushes(tx: Tx, *, dataset: str) -> Job:
    """Start making what was pushed to a dataset a version now; it happens every hour without being asked for.

    Raises:
        InvalidInput: The dataset does not take what is pushed.
        Conflict: What was pushed before is not in yet, and waits for somebody.
    """
    data.get(tx, dataset=dataset)
    if push_feed(tx, dataset=dataset) is None:
        rule, step = "a dataset that takes_pushes", "declare it with takes_pushes=True, or append the rows"
        raise InvalidInput(
            f"what is pushed to {dataset} becomes no version", field="dataset", value=dataset, rule=rule, next_step=step
        )
    if (why := why_held(tx, dataset)) and why != _UNDER_WAY:
        step = "retry or dismiss the import, or release the version or import another: loopwright status"
        raise Conflict(f"what was pushed to {dataset} before {why}", field="dataset", value=dataset, next_step=step)
    return _start(tx, dataset)


def _start(tx: Tx, dataset: str) -> Job:
    return tx.start_job(FeedPushes(dataset), tx.ref("dataset", dataset))


def plan_push_feeds(tx: Tx, spec: ProjectSpec) -> None:
    """Plan the first feed of each dataset that takes what is pushed since now, and end those of the others."""
    for dataset in spec.datasets:
        if dataset.takes_pushes:
            _begin(tx, dataset.name)
            _plan(tx, dataset.name, tx.now_us + HOUR_US)
        else:  # what nobody is going to read holds back no merging
            store_sql.delete_cursor(tx, PUSHES.kind, dataset.name)


def _begin(tx: Tx, dataset: str) -> None:
    """Begin to read behind the newest version: who pushed rows before had to append them."""
    if store_sql.find_cursor(tx.connection, tx.project, PUSHES.kind, dataset) is None:
        newest = data.get(tx, dataset=dataset).newest
        head = None if newest is None else data.get_head(tx, dataset=dataset, version=newest)[0]
        store_sql.save_cursor(tx, StreamCursor(PUSHES.kind, dataset, 0 if head is None else head.recorded_at))


def _plan(tx: Tx, dataset: str, due_at: int) -> None:
    sooner(tx, due_at, f"loop.push_feed/{dataset}", start_push_feed, dataset=dataset)


@query("loop.push_feed", internal=True)
def push_feed(tx: Tx, *, dataset: str) -> StreamCursor | None:
    """Return how far a dataset has taken what is pushed to it; None if it takes nothing."""
    try:
        takes = data.get(tx, dataset=dataset).spec.takes_pushes
    except NotFound:  # it was deleted
        return None
    if not takes:
        return None
    cursor = store_sql.find_cursor(tx.connection, tx.project, PUSHES.kind, dataset)
    return cursor or StreamCursor(PUSHES.kind, dataset)


@verb("loop.finish_push_feed", changes=Dataset, internal=True, parts=("job",))
def finish_push_feed(
    tx: Tx,
    *,
    dataset: str,
    since: int,
    until: int,
    waited: MaybeDigest,
    chunks: Count,
    waiting: BlobRef | None,
    rows: BlobRef | None,
    has_more: bool,
    reason: str,
) -> Job | None:
    """Record how far what was pushed is taken, and start its import, both or none; None where nothing is imported.

    Args:
        tx: The open transaction.
        dataset: Which.
        since: How far it was taken when the feed began; where it is further now, another feed took the same.
        until: When the last chunk was stored that was read, wall time, microseconds UTC.
        waited: Digest of the rows that waited when the feed began; where others do now, another feed took them.
        chunks: How many were read. Where more were stored by then, the calls that stored them began before and ended
            after it was looked: all are taken in a moment.
        waiting: Parquet of rows of keys that ``rows`` has too: they follow in an import of their own.
        rows: Parquet of raw rows, each key once, with ``PUSHED_AT``; None where there is nothing new.
        has_more: Whether there is more than one import takes.
        reason: What came, in words.
    """
    feed = push_feed(tx, dataset=dataset)
    if feed is None or (feed.until, feed.waiting) != (since, waited) or why_held(tx, dataset):
        return None
    if store_sql.count_recorded(tx.connection, tx.project, PUSHES.kind, dataset, since + 1, until) != chunks:
        _plan(tx, dataset, tx.now_us + 1)
        return None
    tx.keep_blobs(*(blob for blob in (waiting, rows) if blob is not None))
    digest = "" if waiting is None else waiting.digest
    store_sql.save_cursor(tx, StreamCursor(PUSHES.kind, dataset, until, digest, has_more=has_more))
    if rows is None:
        return None
    return data.start_import(tx, dataset=dataset, operation="upsert", blobs=[rows], known_at=PUSHED_AT, reason=reason)


def why_held(tx: Tx, dataset: str) -> str:
    """Return why rows that were pushed before are not in yet, in words; empty where they are.

    Those that came after them wait, until somebody has retried or dismissed the import, or released or replaced the
    version: taken before, they would stand below what came before them, and nobody could bring that any more.
    """
    if data.get(tx, dataset=dataset).latest_state == "quarantined":
        return "may be in the version that is quarantined"
    states = ["queued", "running", "failed"]
    imports = jobs.list_jobs(tx, states=states, kind=kind_of(ImportRequest).name, limit=1000)
    ref = tx.ref("dataset", dataset)
    fed = [job for job in imports if job.ref == ref and _is_of_feed(job)]
    failed = next((job for job in fed if job.state == "failed"), None)
    if failed is not None:
        return f"could not be imported by job {failed.job_id}"
    return _UNDER_WAY if fed else ""


def were_fed(tx: Tx, job_id: str) -> bool:
    """Say whether an import was of rows that were pushed, so that features have seen them."""
    try:
        return _is_of_feed(jobs.get(tx, job_id=job_id))
    except NotFound:  # old jobs go
        return False


def _is_of_feed(job: Job) -> bool:
    return job.args.get("known_at") == PUSHED_AT


def feed_on(tx: Tx, *, dataset: str) -> None:
    """Let what follows be taken at once where there was more than one import takes."""
    feed = push_feed(tx, dataset=dataset)
    if feed is not None and (feed.waiting or feed.has_more):
        _plan(tx, dataset, tx.now_us + 1)
