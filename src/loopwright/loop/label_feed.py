"""Labels that come for predictions complete the rows that retraining reads: verbs, and the hourly timer.

Whoever sends outcomes to a deployment should not have to send them again to a dataset. A dataset that ``takes_labels``
gets those of the deployments that are trained on it, by the keys of their rows, each known from when it came.
"""

from loopwright import data
from loopwright.data import Dataset, ImportRequest
from loopwright.features import LabelSpec
from loopwright.kernel.clock import DAY_US, HOUR_US
from loopwright.kernel.verbs import SERVER_ALONE, query, verb
from loopwright.loop import sql
from loopwright.loop.types import FeedLabels, LabelFeed, ProjectSpec
from loopwright.store import jobs
from loopwright.store.timers import plans_next, sooner
from loopwright.store.tx import Tx
from loopwright.store.types import BlobRef, Job
from loopwright.store.work import kind_of

KNOWN_AT = "_known_at"
"""Column of what is fed that says when each label became known; no dataset has it."""
UNSEALED_US = 30 * DAY_US
"""How long a label waits for its prediction, which may lie in the spool of a gateway that is down."""


@verb("loop.start_label_feed", changes=Dataset, internal=True, parts=SERVER_ALONE)
def start_label_feed(tx: Tx, *, deployment: str) -> Job | None:
    """Start completing a dataset with the labels of a deployment, and plan the next time; None if none takes them."""
    plan_feed(tx, deployment=deployment)
    feed = label_feed(tx, deployment=deployment)
    if feed is None:
        return None
    ref, job_id = tx.ref("deployment", deployment), f"labels-{deployment}-{tx.now_us}"
    return tx.start_job(FeedLabels(deployment), ref, job_id=job_id)


@plans_next(start_label_feed)
def plan_feed(tx: Tx, *, deployment: str) -> None:
    """Plan the feed of an hour later, as long as a dataset takes labels of the deployment."""
    if label_feed(tx, deployment=deployment) is not None:
        _plan(tx, deployment)


def _plan(tx: Tx, deployment: str) -> None:
    sooner(tx, tx.now_us + HOUR_US, _timer(deployment), start_label_feed, deployment=deployment)


def _timer(deployment: str) -> str:
    return f"loop.label_feed/{deployment}"


def plan_feeds(tx: Tx, spec: ProjectSpec) -> None:
    """Plan the first feed of each deployment whose labels a dataset takes since now."""
    for deployment in spec.deployments:
        if _taken(spec, deployment.name) is not None:
            _plan(tx, deployment.name)


def look_again(tx: Tx, *, dataset: str) -> None:
    """Have every label looked at again that a dataset takes: the rows that said some of them were replaced."""
    if (found := sql.newest_spec(tx)) is None:
        return
    for deployment in sql.list_label_feeds(tx):
        feed = _feed(tx, found[2], deployment)
        if feed is not None and feed.dataset == dataset:
            sql.put_label_feed(tx, deployment, since=0, replacements=feed.replacements + 1)


def feed_on(tx: Tx, *, dataset: str) -> None:
    """Let the next labels be taken where there were more than one import takes, now that one has said its own.

    Where none does, as its version is quarantined, they are taken in an hour, as ever.
    """
    if (found := sql.newest_spec(tx)) is None:
        return
    for deployment in sql.list_label_feeds(tx, has_more=True):
        label = _taken(found[2], deployment)
        if label is not None and label.dataset == dataset:  # a moment later: jobs are named after theirs
            tx.later(tx.now_us + 1, _timer(deployment), start_label_feed, deployment=deployment)


@query("loop.label_feed", internal=True)
def label_feed(tx: Tx, *, deployment: str) -> LabelFeed | None:
    """Return which dataset takes the labels of a deployment, and how far it has; None if none does."""
    found = sql.newest_spec(tx)
    return None if found is None else _feed(tx, found[2], deployment)


def _feed(tx: Tx, spec: ProjectSpec, deployment: str) -> LabelFeed | None:
    label = _taken(spec, deployment)
    if label is None:
        return None
    return LabelFeed(deployment, label.dataset, label.column, **sql.find_label_feed(tx, deployment))


def _taken(spec: ProjectSpec, deployment: str) -> LabelSpec | None:
    """Return the label of a deployment that a dataset takes."""
    label = _label_of(spec, deployment)
    takes = label is not None and any(one.name == label.dataset and one.takes_labels for one in spec.datasets)
    return label if takes else None


def _label_of(spec: ProjectSpec, deployment: str) -> LabelSpec | None:
    """Return the label that a deployment's model is trained on."""
    models = {each.model for each in spec.deployments if each.name == deployment and not each.is_external}
    services = {train.service for train in spec.trains if train.model in models}
    return next((service.label for service in spec.services if service.name in services), None)


@verb("loop.finish_label_feed", changes=Dataset, internal=True, parts=("job",))
def finish_label_feed(
    tx: Tx,
    *,
    deployment: str,
    replacements: int,
    since: int,
    looked_at: int,
    waiting: BlobRef | None,
    rows: BlobRef | None,
    has_more: bool,
    reason: str,
) -> Job | None:
    """Record how far a dataset has taken the labels of a deployment, and start completing it with those that came.

    Args:
        tx: The open transaction.
        deployment: Whose labels.
        replacements: How often the dataset's rows had been replaced when the feed began.
        since: From when on chunks are looked at the next time, wall time, microseconds UTC.
        looked_at: When the log was looked into for their predictions, wall time, microseconds UTC.
        waiting: Parquet of labels that no version says yet, those of ``rows`` among them: imports may fail.
        rows: Parquet of keys, the label's column and ``KNOWN_AT``; None where there is nothing new.
        has_more: Whether more labels could be given than one import takes.
        reason: What came, in words.
    """
    feed = label_feed(tx, deployment=deployment)
    if feed is None:
        return None
    tx.keep_blobs(*(blob for blob in (waiting, rows) if blob is not None))
    # Rows that were replaced meanwhile may say nothing of what this feed found them to say: all are looked at again.
    # Positions would not tell: a replacement puts ``since`` to where it may have been before.
    since = since if replacements == feed.replacements else feed.since
    digest = "" if waiting is None else waiting.digest
    sql.put_label_feed(tx, deployment, since=since, looked_at=looked_at, waiting=digest, has_more=has_more)
    if rows is None or _is_importing(tx, feed.dataset):
        return None
    return data.start_import(
        tx, dataset=feed.dataset, operation="complete", blobs=[rows], known_at=KNOWN_AT, corrects=True, reason=reason
    )


def _is_importing(tx: Tx, dataset: str) -> bool:
    """Say whether labels that came before are still on their way into a dataset; the next feed brings the others."""
    imports = jobs.list_jobs(tx, states=["queued", "running"], kind=kind_of(ImportRequest).name, limit=1000)
    ref = tx.ref("dataset", dataset)
    return any(job.ref == ref and job.args.get("known_at") == KNOWN_AT for job in imports)
