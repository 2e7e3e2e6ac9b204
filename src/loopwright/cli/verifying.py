"""``loopwright verify``: every promise of the state folder, recomputed from the bytes."""

from collections.abc import Callable

import msgspec

from loopwright.cli.opening import open_platform
from loopwright.config import Settings
from loopwright.governance import Dispatcher
from loopwright.kernel.errors import LoopwrightError
from loopwright.loop import verifying
from loopwright.server import refuse_if_owned
from loopwright.store import sql
from loopwright.store.blobs import BlobStore, open_blob_store
from loopwright.store.engine import Connection, Database
from loopwright.wire.checkpoints import open_checkpoints
from loopwright.wire.reading import reader_errors

_DAMAGED = "the database file is damaged; stop, and restore the newest backup"
_ADVICE = (
    "a row that differs from its events was changed past the platform: find out who writes the database, "
    "and put it right by a verb, such as tokens.revoke or registry.set_alias"
)


class Report(msgspec.Struct):
    """What was checked, and what is wrong."""

    events: int = 0
    checkpoints: int = 0
    blobs: int = 0
    chunks: int = 0
    rows: int = 0
    problems: list[str] = []
    notes: list[str] = []


def verify_state(settings: Settings) -> Report:
    """Check the log with its checkpoints, rows against events, every blob's digest, and the rows of every chunk."""
    database = open_platform(settings)
    blobs = open_blob_store(settings.blobs_url, settings.state_dir / "blob-copies")
    report = Report()
    try:
        _check_file(database, report)
        _check_log(database, settings, report)
        _check_rows("blobs", database, report, lambda connection: _check_blobs(connection, blobs, report))
        _check_rows("chunks", database, report, lambda connection: _check_chunks(connection, blobs, report))
    finally:
        database.close()
    return report


def put_log_back(settings: Settings, reason: str) -> int:
    """Sign that the database was put in the place of a newer one; return how many checkpoints it gives up.

    Raises:
        Unavailable: A server works on the state folder, or there is no key to sign with.
    """
    refuse_if_owned(settings)
    database = open_platform(settings)
    try:
        return verifying.put_log_back(Dispatcher(database), open_checkpoints(settings), reason)
    finally:
        database.close()


def _check_file(database: Database, report: Report) -> None:
    """Have SQLite look at every page of its file; PostgreSQL keeps checksums of its own."""
    if not database.is_sqlite:
        return
    try:
        with database.reading(without_deadline=True) as connection:
            found = connection.exec_driver_sql("PRAGMA integrity_check(3)").scalars().all()
    except LoopwrightError as error:
        report.problems.append(str(error))
        return
    if found != ["ok"]:
        why = " ".join("; ".join(map(str, found)).split())
        report.problems.append(f"{_DAMAGED}: {database.engine.url.database}: {why}")


def _check_log(database: Database, settings: Settings, report: Report) -> None:
    try:
        log = verifying.verify_database(database, open_checkpoints(settings))
    except LoopwrightError as error:
        report.problems.append(f"the event log was not verified: {error}")
        return
    report.events, report.checkpoints, report.notes = log.events, log.checkpoints, log.notes
    report.problems += [*log.problems, *map(str, log.mismatches)]
    if log.mismatches:
        report.notes.append(_ADVICE)


def _check_rows(what: str, database: Database, report: Report, check: Callable[[Connection], None]) -> None:
    try:
        with database.reading(without_deadline=True) as connection:
            check(connection)
    except LoopwrightError as error:
        report.problems.append(f"not all {what} were verified: {error}")


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
        try:
            rows = pl.scan_parquet(blobs.path(chunk.digest)).select(pl.len()).collect().item()
        except reader_errors() as error:
            why = str(error).partition("\n")[0]
            report.problems.append(f"chunk {chunk.chunk_id} of {chunk.project}/{chunk.stream} cannot be read: {why}")
            continue
        if rows != chunk.rows:
            report.problems.append(
                f"chunk {chunk.chunk_id} of {chunk.project}/{chunk.stream}: {rows} rows, not {chunk.rows}"
            )
