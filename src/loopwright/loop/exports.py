"""Reading the loop's own records back as data: the prediction log with its labels, and the skew audit."""

from loopwright import serving
from loopwright.kernel.verbs import Role, verb
from loopwright.loop.events import ExportStarted
from loopwright.loop.types import AuditSkew, Export
from loopwright.store.tx import Tx
from loopwright.store.types import Job


@verb("loop.start_export", changes=Job, role=Role.VIEWER)
def start_export(tx: Tx, *, deployment: str, start_at: int, end_at: int, features: bool = False) -> Job:
    """Start writing predictions with labels to one Parquet blob; the job's result holds its digest.

    Args:
        deployment: Its name.
        start_at: First event time, microseconds UTC.
        end_at: First event time that is out.
        features: True adds the logged features of served rows.
    """
    serving.get(tx, deployment=deployment)
    ref = tx.ref("deployment", deployment)
    started = tx.start_job(Export(deployment, start_at, end_at, features), ref)
    tx.emit(ExportStarted(started.job_id, start_at, end_at, features), ref)
    return started


@verb("loop.start_skew_audit", changes=Job, role=Role.VIEWER)
def start_skew_audit(
    tx: Tx, *, deployment: str, rows: int = 1000, start_at: int | None = None, end_at: int | None = None
) -> Job:
    """Start computing served feature rows again, point in time; the result counts the unequal ones."""
    serving.get(tx, deployment=deployment)
    work = AuditSkew(deployment, min(rows, 100_000), start_at, end_at)
    return tx.start_job(work, tx.ref("deployment", deployment))
