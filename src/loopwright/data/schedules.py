"""Imports that come again: a source that is read every so often, as its declaration says."""

from loopwright.data import sql, versions
from loopwright.data.types import DatasetSpec, DatasetVersion, ImportRequest, Operation
from loopwright.kernel.verbs import SERVER_ALONE, verb
from loopwright.store import jobs
from loopwright.store.timers import plans_next, sooner
from loopwright.store.tx import Tx
from loopwright.store.types import Job
from loopwright.store.work import kind_of

_MOST_UNDER_WAY = 1000


@verb("data.start_scheduled_import", changes=DatasetVersion, internal=True, parts=SERVER_ALONE)
def start_scheduled_import(tx: Tx, *, dataset: str) -> Job | None:
    """Start reading a dataset's source again; None where it is still being read, or is not declared so any more."""
    spec = _scheduled(tx, dataset)
    if spec is None or _is_under_way(tx, dataset):
        return None
    return versions.start_import(
        tx, dataset=dataset, operation=_operation(spec), reason="its source is read again on schedule"
    )


@plans_next(start_scheduled_import)
def plan_import(tx: Tx, *, dataset: str) -> None:
    """Plan when a source is read next, as long as the dataset says how often; what is planned is not put off."""
    spec = _scheduled(tx, dataset)
    if spec is not None and spec.every_us is not None:
        due_at = tx.now_us + spec.every_us
        sooner(tx, due_at, f"data.import/{dataset}", start_scheduled_import, dataset=dataset)


def _scheduled(tx: Tx, dataset: str) -> DatasetSpec | None:
    found = sql.find_dataset(tx, dataset)
    return None if found is None or found.spec.every_us is None else found.spec


def _operation(spec: DatasetSpec) -> Operation:
    """Return what becomes of the rows of a source: what changed, all there is now, or what is new in files."""
    if spec.source.kind != "sql":
        return "append"
    return "upsert" if spec.source.watermark else "replace"


def _is_under_way(tx: Tx, dataset: str) -> bool:
    ref = tx.ref("dataset", dataset)
    live = jobs.list_jobs(tx, states=["queued", "running"], kind=kind_of(ImportRequest).name, limit=_MOST_UNDER_WAY)
    return any(job.ref == ref for job in live)
