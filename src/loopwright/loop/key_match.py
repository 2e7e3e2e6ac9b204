"""Labels that name rows by key become labels of the predictions for these rows: verbs, and the timer.

Whoever learns an outcome knows which row it is of, and seldom which prediction. Such labels are matched with the log,
by an index of the keys that came with its predictions; what comes of it is labels as if predictions had been named.
"""

from itertools import count

import msgspec

from loopwright.kernel.clock import MINUTE_US
from loopwright.kernel.digests import MaybeDigest
from loopwright.kernel.verbs import SERVER_ALONE, Count, query, verb
from loopwright.loop import sql
from loopwright.loop.types import KeyMatch, KeyRun, MatchLabels
from loopwright.serving import Deployment
from loopwright.store import chunks, jobs
from loopwright.store import sql as store_sql
from loopwright.store.streams import KEYED_LABELS, PREDICTIONS
from loopwright.store.timers import plans_next
from loopwright.store.tx import Tx
from loopwright.store.types import BlobRef, Job, StoredChunk, StreamCursor
from loopwright.store.work import kind_of

EVERY_US = 10 * MINUTE_US
"""How often labels by key are matched."""


@verb("loop.start_label_match", changes=Deployment, internal=True, parts=SERVER_ALONE)
def start_label_match(tx: Tx, *, deployment: str) -> Job | None:
    """Start matching labels that name rows, and plan the next time; None where nothing came.

    Predictions are put into the index though no label comes any more: what a cursor has not come to is not merged.
    """
    plan_label_match(tx, deployment=deployment)
    found = label_match(tx, deployment=deployment)
    if found is None or _is_under_way(tx, deployment):
        return None
    return _start(tx, deployment) if _has_new(tx, found.labels) or _has_new(tx, found.predictions) else None


def _start(tx: Tx, deployment: str) -> Job:
    return tx.start_job(MatchLabels(deployment), tx.ref("deployment", deployment))


def _has_new(tx: Tx, cursor: StreamCursor) -> bool:
    since = cursor.until + 1
    stream = tx.project, cursor.kind, cursor.stream
    return bool(store_sql.chunks_recorded(tx.connection, *stream, since=since, after="", limit=1))


@plans_next(start_label_match)
def plan_label_match(tx: Tx, *, deployment: str) -> None:
    """Plan the match that follows."""
    tx.later(tx.now_us + EVERY_US, _timer(deployment), start_label_match, deployment=deployment)


def begin(tx: Tx, *, deployment: str) -> None:
    """Plan the first match: labels came that name rows."""
    tx.later(tx.now_us + MINUTE_US, _timer(deployment), start_label_match, deployment=deployment)


def _timer(deployment: str) -> str:
    return f"loop.label_match/{deployment}"


def _is_under_way(tx: Tx, deployment: str) -> bool:
    ref = tx.ref("deployment", deployment)
    running = jobs.list_jobs(tx, states=["queued", "running"], kind=kind_of(MatchLabels).name, limit=1000)
    return any(job.ref == ref for job in running)


@query("loop.label_match", internal=True)
def label_match(tx: Tx, *, deployment: str) -> KeyMatch | None:
    """Return how far labels that name rows are matched; None where none ever came."""
    labels = store_sql.find_cursor(tx.connection, tx.project, KEYED_LABELS.kind, deployment)
    if labels is None:
        return None
    indexed = store_sql.find_cursor(tx.connection, tx.project, PREDICTIONS.kind, deployment)
    runs = sql.list_key_runs(tx, deployment)
    return KeyMatch(labels, indexed or StreamCursor(PREDICTIONS.kind, deployment), runs)


@verb("loop.finish_label_match", changes=Deployment, internal=True, parts=("job",))
def finish_label_match(
    tx: Tx,
    *,
    before: KeyMatch,
    labels: StreamCursor,
    predictions: StreamCursor,
    read: dict[str, Count],
    waiting: BlobRef | None,
    runs: list[KeyRun],
    matched: list[StoredChunk],
) -> bool:
    """Record labels of predictions, and how far both streams are read, all or nothing; False where others were first.

    Args:
        tx: The open transaction.
        before: What was known as the match began.
        labels: How far labels that name rows were read.
        predictions: How far predictions are in the index.
        read: How many chunks were read of each kind. Where more were stored by then, the calls that stored them began
            before and ended after it was looked: the next match, which starts now, reads them all.
        waiting: Parquet of labels whose predictions may still come.
        runs: Of the index from now on; those that are as they were among them.
        matched: Chunks of labels of predictions, of one writer; they get its next numbers.
    """
    deployment = before.labels.stream
    if label_match(tx, deployment=deployment) != before:
        return False
    for begun, ended in ((before.labels, labels), (before.predictions, predictions)):
        since = begun.until + 1
        stored = store_sql.count_recorded(tx.connection, tx.project, ended.kind, deployment, since, ended.until)
        if stored != read[ended.kind]:
            _start(tx, deployment)
            return False
    known = {run.number for run in before.runs}
    made = [BlobRef(run.digest, run.size_bytes) for run in runs if run.number not in known]
    tx.keep_blobs(*made, *([] if waiting is None else [waiting]))
    sql.save_key_runs(tx, deployment, runs)
    digest: MaybeDigest = "" if waiting is None else waiting.digest
    store_sql.save_cursor(tx, StreamCursor(KEYED_LABELS.kind, deployment, labels.until, digest))
    store_sql.save_cursor(tx, StreamCursor(PREDICTIONS.kind, deployment, predictions.until))
    # One writer for all matches, or what they write would never be merged.
    seqs = count(store_sql.next_seq(tx.connection, tx.project, matched[0]) if matched else 0)
    numbered = [msgspec.structs.replace(chunk, seq=seq) for chunk, seq in zip(matched, seqs, strict=False)]
    chunks.register(tx, chunks=numbered)
    if labels.has_more or predictions.has_more:
        _start(tx, deployment)
    return True
