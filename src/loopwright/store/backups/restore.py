"""Setting a platform up from a backup, in an empty place.

A kill may come at any moment. Until every row is there the place is still empty, and from then until the last step a
mark stands beside the rows: nobody works on a database that has it, and restoring the same backup again goes on there.
"""

import os
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection, delete, inspect, select

from loopwright.kernel.documents import from_json
from loopwright.kernel.errors import Conflict, Corrupt
from loopwright.store.backups.backup import Backup
from loopwright.store.backups.pages import OF_ITS_PROCESSES, decode_page, insert_page, set_counters, tables_of
from loopwright.store.backups.place import BackupPlace
from loopwright.store.blobs import BlobStore
from loopwright.store.blobs.local import sync_folder
from loopwright.store.engine import Database
from loopwright.store.migrate import current_revision, revisions, upgrade
from loopwright.store.sql import set_cursor
from loopwright.store.tables import cursors

_MARK = "restoring/"
"""How the cursor begins that stands in a database while it is restored; the id of the backup follows."""


def restore_backup(
    backup: Backup,
    place: BackupPlace,
    database: Database,
    blobs: BlobStore,
    state_dir: Path,
    tell: Callable[[], object] = lambda: None,
) -> None:
    """Copy blobs and spool, then load every table in one transaction, then migrate to this version's schema, then tell.

    What broke off is begun again, or goes on where the rows are there. The tables of every room must be imported.

    Args:
        backup: Which.
        place: Where it is.
        database: An empty one, SQLite or PostgreSQL, whichever the backup came from.
        blobs: Where blobs go.
        state_dir: Folder for the spool; a new gateway seals what is in it.
        tell: What is to be done last before anybody works on the database; it is done again where it broke off.

    Raises:
        Conflict: The database holds something, or the backup is of a newer version.
        Corrupt: An object of the backup is missing or was changed.
    """
    _check_version(backup)
    under_way = database.read(being_restored)
    if under_way is None:
        _check_empty(database)
        _load(backup, place, database, blobs, state_dir)
    elif under_way != backup.backup_id:
        raise _broke_off(under_way)
    upgrade(database)
    tell()
    database.write(lambda connection: connection.execute(delete(cursors).where(cursors.c.reader.startswith(_MARK))))


def being_restored(connection: Connection) -> str | None:
    """Return the id of the backup that is being restored into a database, or was when that broke off."""
    if not inspect(connection).has_table(cursors.name):
        return None
    found = connection.execute(select(cursors.c.reader).where(cursors.c.reader.startswith(_MARK))).scalar()
    return None if found is None else str(found).removeprefix(_MARK)


def refuse_half_restored(database: Database) -> None:
    """Refuse to work on a database whose restoring has not ended.

    Raises:
        Conflict: It has not; says how it does.
    """
    if (backup_id := database.read(being_restored)) is not None:
        raise _broke_off(backup_id)


def _broke_off(backup_id: str) -> Conflict:
    return Conflict(
        "this database is half restored: the command that did it has not ended, or broke off",
        field="backup",
        value=backup_id,
        next_step=f"repeat it: loopwright restore SOURCE --backup {backup_id}, with --state as it was",
    )


def _load(backup: Backup, place: BackupPlace, database: Database, blobs: BlobStore, state_dir: Path) -> None:
    for digest in blob_digests(backup, place):
        _copy_blob(place, blobs, digest)
    for segment in backup.spool:
        _write(state_dir, segment.checked_path, place.objects.get(segment.digest))
    upgrade(database, to=backup.revision)

    def load(connection: Connection) -> None:
        load_tables(connection, backup, place)
        set_cursor(connection, f"{_MARK}{backup.backup_id}", backup.created_at)

    database.write(load)


def _write(state_dir: Path, path: str, body: bytes) -> None:
    """Write a file below the state folder; it and its name survive a power cut."""
    file = state_dir / path
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with file.open("wb") as opened:
        opened.write(body)
        opened.flush()
        os.fsync(opened.fileno())
    for folder in Path(path).parents:
        sync_folder(state_dir / folder)


def load_tables(connection: Connection, backup: Backup, place: BackupPlace) -> None:
    """Insert the rows of every table of a backup."""
    tables = tables_of(connection)
    dumps = {dump.name: dump for dump in backup.tables if dump.name not in OF_ITS_PROCESSES}
    for table in reversed(tables):
        connection.execute(table.delete())  # rows that a migration put there are in the backup too
    for table in tables:
        dump = dumps.pop(table.name, None)
        if dump is None:
            raise Corrupt("this backup lacks a table", field=table.name, next_step="use another backup: --backup ID")
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


def _check_version(backup: Backup) -> None:
    if backup.revision not in revisions():
        raise Conflict(
            "this backup was made by a newer version of Loopwright",
            field="backup",
            value=f"revision {backup.revision}",
            rule=f"at most {revisions()[-1]}",
            next_step=f"install version {backup.version} or newer",
        )


def _check_empty(database: Database) -> None:
    with database.reading() as connection:
        if current_revision(connection) is not None and _has_rows(connection):
            raise Conflict(
                "this database is not empty; a backup is restored into an empty place",
                field="database_url",
                value=connection.engine.url.render_as_string(),
                next_step="name another state folder with --state, or another LOOPWRIGHT_DATABASE; "
                "if a restore filled this one, it had ended: loopwright verify",
            )


def _has_rows(connection: Connection) -> bool:
    return any(connection.execute(table.select().limit(1)).first() is not None for table in tables_of(connection))
