"""How versions come to be: an import ends."""

from typing import Any

from loopwright.data import datasets, sql
from loopwright.data.events import ImportFailed, ImportUnchanged, VersionQuarantined
from loopwright.data.quarantine import blocking, explain_quarantine
from loopwright.data.row_sums import add_row_sums
from loopwright.data.strictness import loosened
from loopwright.data.types import ColumnSchema, DatasetVersion, ImportedRows, ImportRequest, ImportResult
from loopwright.data.versions import emit_ready, last_version
from loopwright.governance import lineage
from loopwright.kernel.documents import digest_of
from loopwright.kernel.errors import Conflict, InvalidInput, error_from_dict
from loopwright.kernel.verbs import query, verb
from loopwright.store import jobs
from loopwright.store.sql import last_deleted_version
from loopwright.store.tx import Tx
from loopwright.store.types import BlobRef
from loopwright.store.work import kind_of


@verb("data.finish_import", changes=DatasetVersion, internal=True)
def finish_import(tx: Tx, *, job_id: str, imported: ImportedRows) -> ImportResult:
    """Make the rows of an import job a version, numbered after the last one. Finishing twice is once.

    Returns:
        ``stale`` and nothing done, if a version became ready since the job looked.

    Raises:
        Conflict: The rows were held to looser rules than are declared by now, or have another key or time.
    """
    done = sql.find_import(tx, job_id)
    if done is not None and done.state != "failed":
        return done
    _require_import(tx, job_id, imported.dataset)
    # Jobs work side by side, and each built on the version that was newest when it looked. Of two, the second to finish
    # builds again: it compared its rows with the keys of a version that is not the newest any more.
    sql.lock_dataset(tx, imported.dataset)
    newest = last_version(tx, imported.dataset, "ready")
    number = None if newest is None else newest.version
    if number != imported.parent:
        return ImportResult("stale", number)
    version = _next_version(tx, imported, newest)
    if newest is not None and (version.digest == newest.digest or not imported.fragments):
        message = f"dataset {imported.dataset} has this content already, as version {newest.version}"
        result = ImportResult("unchanged", newest.version, 0, imported.dropped_rows, message)
        tx.emit(ImportUnchanged(job_id=job_id), tx.ref("dataset", imported.dataset, newest.version))
    else:
        _require_rules(tx, imported)
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


def _require_rules(tx: Tx, imported: ImportedRows) -> None:
    """Refuse rows that are not what is declared by now.

    A job keeps the declaration that it was asked under, and may wait or be done again for as long as anybody likes.
    """
    declared, spec = datasets.get(tx, dataset=imported.dataset).spec, imported.spec
    told = [rule.told for rule in loosened(declared, spec)]
    told += [name for name in ("key", "time") if getattr(declared, name) != getattr(spec, name)]
    if told:
        raise Conflict(
            f"dataset {imported.dataset} was declared anew since this import was asked for",
            field="spec",
            value="; ".join(told),
            rule="rows are held to what is declared when they become a version",
            next_step="import them again",
        )


@query("data.import_result")
def import_result(tx: Tx, *, job_id: str) -> ImportResult | None:
    """Return how the import of a job ended; None while it has not."""
    return sql.find_import(tx, job_id)


def content_digest(schema: list[ColumnSchema], rows: int, row_sum: str) -> str:
    """Return the digest of a content: schema by name, number of rows, and the order-free sum of their hashes."""
    columns = sorted((column.name, column.dtype) for column in schema)
    return digest_of({"schema": columns, "rows": rows, "row_sum": row_sum})


def next_number(tx: Tx, dataset: str) -> int:
    """Return a number that is given once: refs to a deleted version lead to its tombstone, never to another version."""
    last = last_version(tx, dataset)
    return 1 + max(0 if last is None else last.version, last_deleted_version(tx, "dataset", dataset))


def _next_version(tx: Tx, imported: ImportedRows, newest: DatasetVersion | None) -> DatasetVersion:
    below = None if imported.operation == "replace" else newest
    rows = imported.rows + (below.rows if below else 0)
    row_sum = add_row_sums(below.row_sum if below else "", imported.row_sum)
    return DatasetVersion(
        dataset=imported.dataset,
        version=next_number(tx, imported.dataset),
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
    last = last_version(tx, version.dataset)
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
    emit_ready(tx, version, version.reason, rows_added=imported.rows, rows_changed=changed, job_id=job_id)
    return ImportResult("ready", version.version, imported.rows, imported.dropped_rows, changed_rows=changed)
