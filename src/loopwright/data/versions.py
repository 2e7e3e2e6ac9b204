"""Verbs of dataset versions: import, look at, release from quarantine, compare."""

from typing import Any

from loopwright.data import datasets, sql
from loopwright.data.events import (
    DiffStarted,
    ImportFailed,
    ImportStarted,
    ImportUnchanged,
    VersionQuarantined,
    VersionReady,
)
from loopwright.data.quarantine import blocking, check_usable, explain_quarantine
from loopwright.data.row_sums import add_row_sums
from loopwright.data.types import (
    VERSION_STATES,
    ColumnSchema,
    DatasetVersion,
    Diff,
    DiffRequest,
    ImportedRows,
    ImportRequest,
    ImportResult,
    Operation,
)
from loopwright.governance import lineage
from loopwright.kernel.digests import Digest
from loopwright.kernel.documents import convert, digest_of
from loopwright.kernel.errors import Conflict, InvalidInput, NotFound, error_from_dict
from loopwright.kernel.states import check_change
from loopwright.kernel.verbs import Role, query, verb
from loopwright.store import jobs
from loopwright.store.sql import last_deleted_version
from loopwright.store.tombstones import missing
from loopwright.store.tx import Tx
from loopwright.store.types import BlobRef, Job
from loopwright.store.work import kind_of

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


@verb("data.finish_import", changes=DatasetVersion, internal=True)
def finish_import(tx: Tx, *, job_id: str, imported: ImportedRows) -> ImportResult:
    """Make the rows of an import job a version, numbered after the last one. Finishing twice is once.

    Returns:
        ``stale`` and nothing done, if a version became ready since the job looked.
    """
    done = sql.find_import(tx, job_id)
    if done is not None and done.state != "failed":
        return done
    _require_import(tx, job_id, imported.dataset)
    # Jobs work side by side, and each built on the version that was newest when it looked. Of two, the second to finish
    # builds again: it compared its rows with the keys of a version that is not the newest any more.
    sql.lock_dataset(tx, imported.dataset)
    newest = _last(tx, imported.dataset, "ready")
    number = None if newest is None else newest.version
    if number != imported.parent:
        return ImportResult("stale", number)
    version = _next_version(tx, imported, newest)
    if newest is not None and (version.digest == newest.digest or not imported.fragments):
        message = f"dataset {imported.dataset} has this content already, as version {newest.version}"
        result = ImportResult("unchanged", newest.version, 0, imported.dropped_rows, message)
        tx.emit(ImportUnchanged(job_id=job_id), tx.ref("dataset", imported.dataset, newest.version))
    else:
        result = _record(tx, job_id, imported, version)
    sql.put_import(tx, job_id, imported.dataset, result, tx.wall_us)
    return result


@verb("data.fail_import", changes=DatasetVersion, internal=True)
def fail_import(tx: Tx, *, job_id: str, dataset: str, error: dict[str, Any]) -> ImportResult:
    """Record that an import job made no version, and why."""
    done = sql.find_import(tx, job_id)
    if done is not None and done.state != "failed":
        return done
    _require_import(tx, job_id, dataset)
    message = error_from_dict(error).message
    result = ImportResult("failed", None, message=message)
    sql.put_import(tx, job_id, dataset, result, tx.wall_us)
    # A job is tried again by itself; the same failure is told once, and another one anew.
    if done is None or done.message != message:
        tx.emit(ImportFailed(job_id=job_id, error=error), tx.ref("dataset", dataset), reason=message)
    return result


def _require_import(tx: Tx, job_id: str, dataset: str) -> None:
    """Refuse the outcome of a job that imports nothing into this dataset.

    Raises:
        NotFound: There is no such job.
        InvalidInput: It does something else.
    """
    job, ref = jobs.get(tx, job_id=job_id), tx.ref("dataset", dataset)
    if job.kind != kind_of(ImportRequest).name or job.ref != ref:
        rule = f"an import into {dataset}"
        raise InvalidInput(
            "this job imports something else", field="job_id", value=f"{job.kind} of {job.ref}", rule=rule
        )


@query("data.import_result")
def import_result(tx: Tx, *, job_id: str) -> ImportResult | None:
    """Return how the import of a job ended; None while it has not."""
    return sql.find_import(tx, job_id)


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
    if (last := _last(tx, dataset)) is not None:
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

    Versions that complete rows or take some away bring none.
    """
    brought = sql.list_versions(tx, dataset, limit=2, before=version + 1, state="ready", operations=_BRINGING)
    return brought[1] if len(brought) > 1 else None


@query("data.versions")
def list_versions(tx: Tx, *, dataset: str, limit: int = 100, before: int | None = None) -> list[DatasetVersion]:
    """Return versions, newest first, without their fragments."""
    datasets.get(tx, dataset=dataset)
    return sql.list_versions(tx, dataset, limit=min(limit, _MOST_LISTED), before=before)


@query("data.released_versions")
def released_versions(tx: Tx, *, dataset: str, version: int) -> list[DatasetVersion]:
    """Return the versions with rows in this one that a person released from quarantine, newest first."""
    get_version(tx, dataset=dataset, version=version)
    checked = sql.list_checks(tx, dataset, version)
    return [get_version(tx, dataset=dataset, version=number) for number, checks in checked if blocking(checks)]


def built_on(tx: Tx, *, dataset: str, version: int) -> list[int]:
    """Return the versions that were built on one, so that its rows are theirs too."""
    return sql.built_on(tx, dataset, version)


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
    newest = _last(tx, dataset, "ready")
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
    _emit_ready(tx, released, reason, rows_added=released.rows - (newest.rows if newest else 0), is_released=True)
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
        return tx.start_job(DiffRequest(dataset=dataset, before=before, after=after), ref, job_id=job_id)
    return jobs.retry(tx, job_id=job_id, reason="it was asked for again") if known.state == "failed" else known


@query("data.diff_result")
def diff_result(tx: Tx, *, job_id: str) -> Diff | None:
    """Return what a diff job found; None while it works.

    Raises:
        LoopwrightError: The error the job ended with.
    """
    job = jobs.get(tx, job_id=job_id)
    if job.error is not None:
        raise error_from_dict(job.error)
    return None if job.result is None else convert(job.result, Diff, "result")


def content_digest(schema: list[ColumnSchema], rows: int, row_sum: str) -> str:
    """Return the digest of a content: schema by name, number of rows, and the order-free sum of their hashes."""
    columns = sorted((column.name, column.dtype) for column in schema)
    return digest_of({"schema": columns, "rows": rows, "row_sum": row_sum})


def _last(tx: Tx, dataset: str, state: str | None = None) -> DatasetVersion | None:
    newest = sql.list_versions(tx, dataset, limit=1, state=state)
    return newest[0] if newest else None


def _next_version(tx: Tx, imported: ImportedRows, newest: DatasetVersion | None) -> DatasetVersion:
    last = _last(tx, imported.dataset)
    # A number is given once: refs to a version that was deleted lead to its tombstone, never to another version.
    taken = max(0 if last is None else last.version, last_deleted_version(tx, "dataset", imported.dataset))
    below = None if imported.operation == "replace" else newest
    rows = imported.rows + (below.rows if below else 0)
    row_sum = add_row_sums(below.row_sum if below else "", imported.row_sum)
    return DatasetVersion(
        dataset=imported.dataset,
        version=taken + 1,
        state="quarantined" if blocking(imported.checks) else "ready",
        operation=imported.operation,
        parent=imported.parent,
        digest=content_digest(imported.schema, rows, row_sum),
        schema=imported.schema,
        fragments=imported.fragments,
        rows=rows,
        size_bytes=sum(fragment.size_bytes for fragment in imported.fragments) + (below.size_bytes if below else 0),
        profile_digest=imported.profile.digest,
        checks=imported.checks,
        event_at=tx.now_us,
        recorded_at=tx.wall_us,
        reason=imported.reason,
        spec=imported.spec,
        row_sum=row_sum,
        failing_digest=None if imported.failing is None else imported.failing.digest,
        raw=imported.raw,
    )


def _record(tx: Tx, job_id: str, imported: ImportedRows, version: DatasetVersion) -> ImportResult:
    last = _last(tx, version.dataset)
    is_quarantined = version.state == "quarantined"
    if (
        is_quarantined
        and last is not None
        and (last.state, last.digest, last.parent)
        == (
            version.state,
            version.digest,
            version.parent,
        )
    ):
        # The same bad rows sent again are the same quarantined version.
        message = explain_quarantine(last)
        return ImportResult("quarantined", last.version, 0, imported.dropped_rows, message)
    # Fragments are kept once, by the version that added them; the base says where the chain of changes begins.
    below = None if imported.operation == "replace" else version.parent
    base = version.version if below is None else sql.find_base(tx, version.dataset, below)
    blobs = [BlobRef(fragment.digest, fragment.size_bytes) for fragment in imported.fragments]
    tx.keep_blobs(*blobs, imported.profile, *([imported.failing] if imported.failing else []))
    sql.insert_version(tx, version, base)
    ref = tx.ref("dataset", version.dataset, version.version)
    lineage.link(tx, ref, "version_of", tx.ref("dataset", version.dataset))
    if is_quarantined:
        message = explain_quarantine(version)
        checks = [result.check for result in blocking(version.checks)]
        facts = VersionQuarantined(dataset=version.dataset, version=version.version, job_id=job_id, checks=checks)
        tx.emit(facts, ref, reason=message)
        return ImportResult("quarantined", version.version, imported.rows, imported.dropped_rows, message)
    changed = imported.changed_rows
    _emit_ready(tx, version, version.reason, rows_added=imported.rows, rows_changed=changed, job_id=job_id)
    return ImportResult("ready", version.version, imported.rows, imported.dropped_rows, changed_rows=changed)


def _emit_ready(
    tx: Tx,
    version: DatasetVersion,
    reason: str,
    *,
    rows_added: int,
    rows_changed: int = 0,
    job_id: str = "",
    is_released: bool = False,
) -> None:
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
    )
    tx.emit(facts, tx.ref("dataset", version.dataset, version.version), reason=reason)
