"""Verbs of batch scores: rows of a blob answered by one version, into the same prediction log."""

from loopwright import registry
from loopwright.governance import lineage
from loopwright.kernel.documents import convert
from loopwright.kernel.errors import Conflict, InvalidInput
from loopwright.kernel.verbs import verb
from loopwright.serving import sql
from loopwright.serving.deployments import lock_served
from loopwright.serving.events import Scored, ScoreStarted
from loopwright.serving.types import ScoreSpec, champion_of
from loopwright.store import jobs
from loopwright.store.tx import Tx
from loopwright.store.types import BlobRef, Job

SCORERS = "score:"
"""How the names of those begin who write scored rows into the log; the job's id follows."""


@verb("serving.start_score", changes=Job)
def start_score(
    tx: Tx,
    *,
    deployment: str,
    input: BlobRef,
    version: int | None = None,
    id_column: str = "",
    time_column: str = "",
    reason: str = "",
) -> Job:
    """Score a stored Parquet blob and log every row as a prediction of the deployment, variant ``score``.

    Args:
        deployment: Whose log the rows go to.
        input: The blob; it has the model's columns.
        version: Version of the deployment's model; None for the champion.
        id_column: Column with the caller's own ids, kept as ``row_key``.
        time_column: Column with event times (a datetime, or int64 microseconds UTC); empty for now.
        reason: Why.
    """
    found = lock_served(tx, deployment)
    newest = sql.find_release(tx, deployment)
    if version is None and newest is None:
        raise Conflict(
            f"{deployment} has no champion yet",
            field="version",
            rule="a version, or a release",
            next_step=f"loopwright deploy {deployment} --version N",
        )
    if version is None and newest is not None:
        version = champion_of(newest).version
    model = registry.get_version(tx, model=found.spec.model, version=version)
    if not input.size_bytes:
        raise InvalidInput("an empty blob has no rows", field="input", value=input.digest)
    tx.keep_blobs(input)
    number = 0 if newest is None else newest.number
    spec = ScoreSpec(deployment, model.model, model.version, number, input, id_column, time_column, found.spec.personal)
    ref = tx.ref("deployment", deployment)
    started = tx.start_job(spec, ref)
    facts = ScoreStarted(
        job_id=started.job_id,
        deployment=spec.deployment,
        model=spec.model,
        version=spec.version,
        release=spec.release,
        input=spec.input,
        id_column=spec.id_column,
        time_column=spec.time_column,
        personal=spec.personal,
    )
    tx.emit(facts, ref, reason=reason)
    return started


@verb("serving.finish_score", changes=Job, internal=True)
def finish_score(tx: Tx, *, job_id: str, output: BlobRef, rows: int) -> Job:
    """Record that a batch is scored: its answers as a blob (``prediction_id, row_key, score, answer``)."""
    started = jobs.get(tx, job_id=job_id)
    ref = tx.ref("score", job_id)
    if lineage.upstream(tx, ref=ref, depth=1):
        return started
    spec = convert(started.args, ScoreSpec, "args")
    tx.keep_blobs(output)
    lineage.link(tx, ref, "scored_by", tx.ref("model", spec.model, spec.version))
    facts = Scored(job_id, spec.model, spec.version, rows, output.digest)
    tx.emit(facts, tx.ref("deployment", spec.deployment))
    return started
