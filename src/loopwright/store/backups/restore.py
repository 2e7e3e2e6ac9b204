"""Setting a platform up from a backup, in an empty place."""

from pathlib import Path

from sqlalchemy import Connection

from loopwright.kernel.documents import from_json
from loopwright.kernel.errors import Conflict, Corrupt
from loopwright.store.backups.backup import Backup
from loopwright.store.backups.pages import OF_ITS_PROCESSES, decode_page, insert_page, set_counters, tables_of
from loopwright.store.backups.place import BackupPlace
from loopwright.store.blobs import BlobStore
from loopwright.store.engine import Database
from loopwright.store.migrate import current_revision, revisions, upgrade


def restore_backup(backup: Backup, place: BackupPlace, database: Database, blobs: BlobStore, state_dir: Path) -> None:
    """Copy blobs and spool, then load every table in one transaction, then migrate to this version's schema.

    What broke off may be begun again: blobs and spool files are the same then, and the database is still empty. The
    tables of every room must be imported.

    Args:
        backup: Which.
        place: Where it is.
        database: An empty one, SQLite or PostgreSQL, whichever the backup came from.
        blobs: Where blobs go.
        state_dir: Folder for the spool; a new gateway seals what is in it.

    Raises:
        Conflict: The database holds something, or the backup is of a newer version.
        Corrupt: An object of the backup is missing or was changed.
    """
    _check_empty(backup, database)
    for digest in blob_digests(backup, place):
        _copy_blob(place, blobs, digest)
    for segment in backup.spool:
        file = state_dir / segment.checked_path
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.write_bytes(place.objects.get(segment.digest))
    upgrade(database, to=backup.revision)
    database.write(lambda connection: load_tables(connection, backup, place))
    upgrade(database)


def load_tables(connection: Connection, backup: Backup, place: BackupPlace) -> None:
    """Insert the rows of every table of a backup."""
    tables = tables_of(connection)
    dumps = {dump.name: dump for dump in backup.tables if dump.name not in OF_ITS_PROCESSES}
    for table in reversed(tables):
        connection.execute(table.delete())  # rows that a migration put there are in the backup too
    for table in tables:
        dump = dumps.pop(table.name)
        rows = 0
        for digest in dump.pages:
            page = decode_page(place.objects.get(digest), dump.columns)
            insert_page(connection, table, page)
            rows += len(page)
        if rows != dump.rows:
            raise Corrupt("a table of this backup is not whole", field=table.name, value=rows, rule=f"{dump.rows} rows")
    if dumps:
        raise Corrupt("this backup has tables that its schema does not know", value=", ".join(dumps))
    set_counters(connection, tables)


def blob_digests(backup: Backup, place: BackupPlace) -> list[str]:
    """Return the digests of the blobs of a backup."""
    return [digest for page in backup.blob_pages for digest in from_json(place.objects.get(page), list[str], page)]


def _copy_blob(place: BackupPlace, blobs: BlobStore, digest: str) -> None:
    ref = blobs.put_file(place.objects.path(digest))
    if ref.digest != digest:
        blobs.delete(ref.digest)
        raise Corrupt("a blob of this backup was changed", field="digest", value=digest, next_step="use another backup")


def _check_empty(backup: Backup, database: Database) -> None:
    if backup.revision not in revisions():
        raise Conflict(
            "this backup was made by a newer version of Loopwright",
            field="backup",
            value=f"revision {backup.revision}",
            rule=f"at most {revisions()[-1]}",
            next_step=f"install version {backup.version} or newer",
        )
    with database.reading() as connection:
        if current_revision(connection) is not None and _has_rows(connection):
            raise Conflict(
                "this database is not empty; a backup is restored into an empty place",
                field="database_url",
                value=connection.engine.url.render_as_string(),
                next_step="name another state folder with --state, or another LOOPWRIGHT_DATABASE",
            )


def _has_rows(connection: Connection) -> bool:
    return any(connection.execute(table.select().limit(1)).first() is not None for table in tables_of(connection))
