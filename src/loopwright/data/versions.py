"""Verbs of dataset versions: import, look at, release from quarantine, compare."""

from loopwright.data import datasets, sql
from loopwright.data.events import (
    DiffStarted,
    ImportStarted,
    VersionReady,
)
from loopwright.data.masking import mask_diff
from loopwright.data.quarantine import blocking, check_usable
from loopwright.data.types import (
    VERSION_STATES,
    DatasetVersion,
    Diff,
    DiffRequest,
    ImportRequest,
    Operation,
)
from loopwright.kernel.digests import Digest
from loopwright.kernel.documents import convert
from loopwright.kernel.errors import Conflict, InvalidInput, NotFound, error_from_dict
from loopwright.kernel.states import check_change
from loopwright.kernel.verbs import Role, query, verb
from loopwright.store import jobs
from loopwright.store.tombstones import missing
from loopwright.store.tx import Tx
from loopwright.store.types import BlobRef, Job

_MOST_LISTED = 1000
_BRINGING: list[Operation] = ["append", "replace", "upsert"]
"""Operations by which rows come."""


@verb("data.start_import", changes=DatasetVersion)
def start_import(
    tx: Tx,
    *,
    dataset: str,
    operation: Operation = "append",
    blobs: list[BlobRef] | None = None,
    reason: str = "",
    known_at: str | None = None,
    corrects: bool = False,
) -> Job:
    """Queue an import: rows become a new version once they are checked.

    Args:
        dataset: A declared dataset.
        operation: ``append`` adds rows to the newest version, ``replace`` makes them the whole content, ``upsert`` adds
            those of new keys and puts the others in the place of those of the same key. ``complete`` fills in columns
            of rows that are there: keys and these columns, as after the transform. ``delete`` takes rows away by key.
        blobs: Raw Parquet that is already in the blob store; None reads the declared source.
        reason: Why.
        known_at: A column of the rows that says when values of rows that are there became known; of ``upsert`` and
            ``complete``. None for what the declaration says, if the rows tell that moment, else for now.
        corrects: ``complete`` may also change values that are there.
    """
    spec = datasets.get(tx, dataset=dataset).spec
    if blobs is None and spec.source.is_sent:
        rule = f"a {spec.source.kind} source is sent rows"
        raise InvalidInput(f"dataset {dataset} cannot be read from a place", field="blobs", rule=rule)
    if blobs is not None and not blobs:
        raise InvalidInput("no rows were sent", field="blobs", value="[]", rule="at least one Parquet blob")
    tx.keep_blobs(*(blobs or []))
    if known_at is not None and operation not in ("upsert", "complete"):
        rule = "upsert or complete; other rows became known as the dataset declares"
        raise InvalidInput(
            "these rows say nothing of when they became known", field="known_at", value=known_at, rule=rule
        )
    ref = tx.ref("dataset", dataset)
    request = ImportRequest(spec, operation, blobs, reason, known_at=known_at, corrects=corrects)
    job = tx.start_job(request, ref)
    tx.emit(ImportStarted(job_id=job.job_id, operation=operation), ref, reason=reason)
    return job


@query("data.get_version")
def get_version(tx: Tx, *, dataset: str, version: int | None = None) -> DatasetVersion:
    """Return one version with all its fragments: the newest ready one, or by number whatever its state.

    Raises:
        NotFound: No such version, or none yet.
        Quarantined: No number was given and every version so far is quarantined.
    """
    named = sql.find_version(tx, dataset, version, state=None if version else "ready")
    if named is not None:
        return named
    if version is not None:
        raise _unknown(tx, dataset, version)
    datasets.get(tx, dataset=dataset)
    if (last := last_version(tx, dataset)) is not None:
        check_usable(last)
    raise NotFound(f"dataset {dataset} has no version yet", field="version", next_step="import rows first")


def _unknown(tx: Tx, dataset: str, version: int) -> Exception:
    """Return why there is no such version: it was deleted, or it or the dataset never was."""
    unknown = NotFound(f"dataset {dataset} has no version {version}", field="version", value=version)
    error = missing(tx, "dataset", dataset, version, unknown)
    if error is unknown:
        datasets.get(tx, dataset=dataset)
    return error


def get_head(tx: Tx, *, dataset: str, version: int) -> tuple[DatasetVersion, list[Digest]]:
    """Return one version without its fragments, whatever its state, and their digests.

    Raises:
        NotFound: No such version, or none any more.
    """
    head = sql.find_head(tx, dataset, version)
    if head is None:
        raise _unknown(tx, dataset, version)
    return head


@query("data.newest_version", internal=True)
def newest_version(
    tx: Tx, *, dataset: str, start_at: int | None = None, end_at: int | None = None
) -> DatasetVersion | None:
    """Return the newest ready version for an import job, with only the fragments that meet ``[start_at, end_at)``."""
    return sql.find_version(tx, dataset, state="ready", during=(start_at, end_at))


@query("data.version_before", internal=True)
def version_before(tx: Tx, *, dataset: str, version: int) -> DatasetVersion | None:
    """Return the version before the one whose rows a version brought, without its fragments; None if it is the first.

    Versions that complete rows or take some away bring none. Of one that was restored it is the version that it repeats
    which did, when it did: what the restore withdrew never counts.
    """
    brought = _bringing(tx, dataset, version)
    return None if brought is None else _bringing(tx, dataset, brought.version - 1)


def _bringing(tx: Tx, dataset: str, version: int) -> DatasetVersion | None:
    """Return the version that brought the rows of one, as an import made it; None where none did, or none any more."""
    while found := sql.list_versions(tx, dataset, limit=1, before=version + 1, state="ready", operations=_BRINGING):
        if found[0].restored_from is None:
            return found[0]
        version = found[0].restored_from
    return None


@query("data.versions")
def list_versions(tx: Tx, *, dataset: str, limit: int = 100, before: int | None = None) -> list[DatasetVersion]:
    """Return versions, newest first, without their fragments."""
    datasets.get(tx, dataset=dataset)
    return sql.list_versions(tx, dataset, limit=min(limit, _MOST_LISTED), before=before)


@query("data.imported_alike", internal=True)
def imported_alike(tx: Tx, *, dataset: str, operation: Operation, limit: int) -> list[DatasetVersion]:
    """Return the ready versions that imports of one kind made, newest first, without their fragments.

    What was restored is left out: it was measured once, and people choose how often they restore.
    """
    return sql.list_versions(tx, dataset, limit=limit, state="ready", operations=[operation], is_imported=True)


@query("data.last_imported", internal=True)
def last_imported(tx: Tx, *, dataset: str) -> DatasetVersion | None:
    """Return the last version that an import made, whatever its state, without its fragments."""
    newest = sql.list_versions(tx, dataset, limit=1, is_imported=True)
    return newest[0] if newest else None


@query("data.released_versions")
def released_versions(tx: Tx, *, dataset: str, version: int) -> list[DatasetVersion]:
    """Return the versions with rows in this one that a person released from quarantine, newest first."""
    get_version(tx, dataset=dataset, version=version)
    checked = sql.list_checks(tx, dataset, version)
    return [get_version(tx, dataset=dataset, version=number) for number, checks in checked if blocking(checks)]


def built_on(tx: Tx, *, dataset: str, version: int) -> list[int]:
    """Return the versions that were built on one, so that its rows are theirs too."""
    return sql.built_on(tx, dataset, version)


def sharing(tx: Tx, *, dataset: str, version: int | None, limit: int) -> list[tuple[str, int]]:
    """Return dataset and number of the versions that name files of a version, or of a whole dataset, as their own.

    What was restored does, and what was imported again: who deletes rows so that nobody reads them has to know.
    """
    return sql.list_sharing(tx, dataset, version, limit=limit)


def require_version(tx: Tx, *, dataset: str, version: int) -> None:
    """Make sure that a version is there, without reading its fragments.

    Raises:
        NotFound: It is not, or not any more.
    """
    if not sql.has_version(tx, dataset, version):
        get_version(tx, dataset=dataset, version=version)


@verb("data.release_quarantine", changes=DatasetVersion, role=Role.APPROVER)
def release_quarantine(tx: Tx, *, dataset: str, version: int, reason: str) -> DatasetVersion:
    """Let a quarantined version be used although a check failed.

    Raises:
        InvalidInput: No reason is given.
        Conflict: It is not quarantined, or other rows became ready after it was built.
    """
    if not reason.strip():
        raise InvalidInput("a release needs a reason", field="reason", rule="at least one word")
    sql.lock_dataset(tx, dataset)
    held = get_version(tx, dataset=dataset, version=version)
    check_change("dataset version", VERSION_STATES, held.state, "ready")
    # A version's rows are those of its parent and its own, so it can only stand on what was newest when it was built.
    newest = last_version(tx, dataset, "ready")
    if newest is not None and newest.version != held.parent:
        raise Conflict(
            f"version {newest.version} became ready since version {version} was built",
            field="version",
            value=version,
            rule="a version is released on top of the one it was built on",
            next_step="import these rows again",
        )
    sql.update_version(tx, dataset, version, state="ready")
    released = get_version(tx, dataset=dataset, version=version)
    emit_ready(tx, released, reason, rows_added=released.rows - (newest.rows if newest else 0), is_released=True)
    return released


@verb("data.start_diff", changes=Diff, role=Role.VIEWER)
def start_diff(tx: Tx, *, dataset: str, before: int, after: int) -> Job:
    """Queue the comparison of two versions; asking again gives the same job, queued anew if it failed."""
    for number in (before, after):
        get_version(tx, dataset=dataset, version=number)
    ref = tx.ref("dataset", dataset, after)
    job_id = f"job_diff-{dataset}-{before}-{after}"
    try:
        known = jobs.get(tx, job_id=job_id)
    except NotFound:
        tx.emit(DiffStarted(job_id=job_id, before=before, after=after), ref)
        return jobs.start_asked(tx, DiffRequest(dataset=dataset, before=before, after=after), ref, job_id=job_id)
    return jobs.retry(tx, job_id=job_id, reason="it was asked for again") if known.state == "failed" else known


@query("data.diff_result")
def diff_result(tx: Tx, *, job_id: str) -> Diff | None:
    """Return what a diff job found; None while it works. What is declared personal by now is masked, whenever it ran.

    Raises:
        LoopwrightError: The error the job ended with.
    """
    job = jobs.get(tx, job_id=job_id)
    if job.error is not None:
        raise error_from_dict(job.error)
    if job.result is None:
        return None
    found = convert(job.result, Diff, "result")
    return mask_diff(found, datasets.get(tx, dataset=found.dataset).spec.personal)


def last_version(tx: Tx, dataset: str, state: str | None = None) -> DatasetVersion | None:
    """Return the last version, of a state if one is given, without its fragments."""
    newest = sql.list_versions(tx, dataset, limit=1, state=state)
    return newest[0] if newest else None


def emit_ready(
    tx: Tx,
    version: DatasetVersion,
    reason: str,
    *,
    rows_added: int,
    rows_changed: int = 0,
    job_id: str = "",
    is_released: bool = False,
) -> None:
    """Tell that a version may be used from now on."""
    facts = VersionReady(
        dataset=version.dataset,
        version=version.version,
        operation=version.operation,
        parent=version.parent,
        digest=version.digest,
        rows=version.rows,
        warnings=[result.message for result in version.checks if not result.passed],
        rows_added=rows_added,
        rows_changed=rows_changed,
        job_id=job_id,
        is_released=is_released,
        restored_from=version.restored_from,
    )
    tx.emit(facts, tx.ref("dataset", version.dataset, version.version), reason=reason)
