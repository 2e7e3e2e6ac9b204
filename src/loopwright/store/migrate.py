"""Bringing a database to the schema of this version: one linear list of migrations, applied forward under a lock."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from loopwright.kernel.errors import Conflict
from loopwright.store.blobs.local import sync_folder
from loopwright.store.columns import METADATA
from loopwright.store.engine import Database

FOLDER = Path(__file__).parent / "migrations"
_VERSIONS = "alembic_version"
_LOCK = 0x10098


def revisions() -> list[str]:
    """Return the revisions this version knows, oldest first."""
    return sorted(path.name[:4] for path in (FOLDER / "versions").glob("[0-9][0-9][0-9][0-9]_*.py"))


def current_revision(connection: Connection) -> str | None:
    """Return the revision a database is at; None where it has none yet."""
    if not inspect(connection).has_table(_VERSIONS):
        return None
    found: str | None = connection.execute(text(f"SELECT version_num FROM {_VERSIONS}")).scalar()
    return found


def holds_platform(connection: Connection) -> bool:
    """Say whether a database has the tables of a platform, of whichever version."""
    return inspect(connection).has_table("events")


def upgrade(database: Database, *, to: str = "head") -> Path | None:
    """Apply what is missing, in one transaction: all of it or nothing. The tables of every room must be imported.

    Args:
        database: On SQLite the caller holds the server's lock; on PostgreSQL an advisory lock is taken here.
        to: The revision to stop at.

    Returns:
        The copy of the SQLite file as it was before, if there was something to keep.

    Raises:
        Conflict: The database was written by a newer version.
    """
    newest = revisions()[-1]
    if database.read(_known_revision) == newest:
        return None
    copy = _copy_of(database)
    with _alone(database) as connection:
        if _known_revision(connection) != newest:
            _run(connection, to)
    return copy


def _known_revision(connection: Connection) -> str | None:
    found, known = current_revision(connection), revisions()
    if found is not None and found not in known:
        raise Conflict(
            "this database was written by a newer version of Loopwright",
            field="database_url",
            value=f"revision {found}",
            rule=f"at most {known[-1]}",
            next_step="install that version, or restore the copy that was made before its upgrade",
        )
    return found


@contextmanager
def _alone(database: Database) -> Iterator[Connection]:
    """Yield a connection in a transaction that no other upgrade runs beside."""
    if database.is_sqlite:
        engine, lock = database.engine, "BEGIN IMMEDIATE"
    else:  # READ COMMITTED: what another upgrade did while this one waited must be seen
        engine = database.engine.execution_options(isolation_level="READ COMMITTED")
        lock = (
            f"SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '2min'; SELECT pg_advisory_xact_lock({_LOCK})"
        )
    with engine.connect() as connection:
        connection.exec_driver_sql(lock)
        yield connection
        connection.commit()


def _run(connection: Connection, to: str) -> None:
    if current_revision(connection) is None and to == "head":
        # New, or from before revisions were kept. A test holds that all migrations lead to the same tables.
        METADATA.create_all(connection)
        connection.execute(text(f"CREATE TABLE {_VERSIONS} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
        connection.execute(text(f"INSERT INTO {_VERSIONS} VALUES (:newest)"), {"newest": revisions()[-1]})
        return
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, to)


def _copy_of(database: Database) -> Path | None:
    """Copy a SQLite database that holds something beside itself; SQLite makes the copy, so it is whole."""
    if not database.is_sqlite:
        return None
    with database.engine.connect() as connection:
        revision = current_revision(connection)
        if revision is None and not holds_platform(connection):
            return None
        file = Path(str(database.engine.url.database))
        copy = file.with_name(f"{file.stem}.before-{revision or 'revisions'}-upgrade{file.suffix}")
        draft = copy.with_suffix(".tmp")
        draft.unlink(missing_ok=True)
        connection.rollback()
        connection.execute(text("VACUUM INTO :place"), {"place": str(draft)})
    draft.chmod(0o600)
    draft.replace(copy)
    sync_folder(copy.parent)
    return copy
