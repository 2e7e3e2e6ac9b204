"""Opening the database of a platform by commands that work on it without its server."""

from pathlib import Path

from loopwright.config import Settings
from loopwright.kernel.errors import Conflict, NotFound
from loopwright.rooms import import_rooms
from loopwright.store.backups import refuse_half_restored
from loopwright.store.engine import Database
from loopwright.store.migrate import current_revision, holds_platform, revisions


def open_platform(settings: Settings) -> Database:
    """Open the database of a platform that was started before; nothing is made where there is none.

    Every room is known then: what rows account for, what events tell, which tables there are.

    Raises:
        NotFound: There is none, so the state folder or the database is another than was meant.
        Conflict: Its tables are those of another version, or a restore into it has not ended.
    """
    import_rooms()
    scheme, _, file = settings.database_url.partition(":///")
    if scheme == "sqlite" and not Path(file).exists():
        raise _nothing_in(settings)
    database = Database(settings.database_url)
    try:
        if not database.read(holds_platform):
            raise _nothing_in(settings)
        if (revision := database.read(current_revision)) != revisions()[-1]:
            raise Conflict(
                "this database is of another version of Loopwright",
                field="LOOPWRIGHT_DATABASE",
                value=f"revision {revision or 'none'}",
                rule=f"this version works on {revisions()[-1]}",
                next_step="start the server of this version once, which migrates it, or use the version that wrote it",
            )
        refuse_half_restored(database)
    except BaseException:
        database.close()
        raise
    return database


def _nothing_in(settings: Settings) -> NotFound:
    return NotFound(
        "there is no platform here",
        field="LOOPWRIGHT_STATE",
        value=f"{settings.state_dir}, database {settings.database_url.rsplit('@', 1)[-1]}",
        next_step="set LOOPWRIGHT_STATE, and LOOPWRIGHT_DATABASE where the server has it, as the server has them",
    )
