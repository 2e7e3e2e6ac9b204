"""``loopwright verify``: every promise of the state folder, recomputed from the bytes."""

import msgspec

from loopwright.config import Settings
from loopwright.governance import audit
from loopwright.kernel.errors import LoopwrightError
from loopwright.store import sql
from loopwright.store.blobs import BlobStore, open_blob_store
from loopwright.store.engine import Connection, Database


class Report(msgspec.Struct):
    """What was checked, and what is wrong."""

    events: int = 0
    blobs: int = 0
    chunks: int = 0
    rows: int = 0
    problems: list[str] = []


def verify_state(settings: Settings) -> Report:
    """Check the chain of events, the digest of every blob that a row refers to, and the rows of every chunk."""
    database = Database(settings.database_url)
    blobs = open_blob_store(settings.blobs_url, settings.state_dir / "blob-copies")
    report = Report()
    try:
        database.seal()
        with database.reading(without_deadline=True) as connection:
            _check_events(connection, report)
            _check_blobs(connection, blobs, report)
            _check_chunks(connection, blobs, report)
    finally:
        database.close()
    return report


def _check_events(connection: Connection, report: Report) -> None:
    try:
        report.events = audit.verify_chain(connection)
    except LoopwrightError as error:
        report.problems.append(str(error))


def _check_blobs(connection: Connection, blobs: BlobStore, report: Report) -> None:
    seen: set[str] = set()
    for project, ref in sql.all_blobs(connection):
        if ref.digest in seen:
            continue
        seen.add(ref.digest)
        report.blobs += 1
        try:
            size_bytes = len(blobs.get(ref.digest))
        except LoopwrightError as error:
            report.problems.append(f"blob {ref.digest[:12]} of {project}: {error.message}")
            continue
        if size_bytes != ref.size_bytes:
            report.problems.append(
                f"blob {ref.digest[:12]} of {project}: {size_bytes} bytes, {ref.size_bytes} recorded"
            )


def _check_chunks(connection: Connection, blobs: BlobStore, report: Report) -> None:
    import polars as pl

    for chunk in sql.all_chunks(connection):
        report.chunks += 1
        report.rows += chunk.rows
        if not blobs.has(chunk.digest):
            report.problems.append(f"chunk {chunk.chunk_id} of {chunk.project}/{chunk.stream}: its blob is missing")
            continue
        rows = pl.scan_parquet(blobs.path(chunk.digest)).select(pl.len()).collect().item()
        if rows != chunk.rows:
            report.problems.append(
                f"chunk {chunk.chunk_id} of {chunk.project}/{chunk.stream}: {rows} rows, not {chunk.rows}"
            )
