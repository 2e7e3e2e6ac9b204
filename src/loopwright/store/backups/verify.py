"""Proving a backup: every object read and recomputed, and the rows loaded into a scratch database."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection

from loopwright.kernel.errors import LoopwrightError
from loopwright.store.backups.backup import Backup
from loopwright.store.backups.place import BackupPlace
from loopwright.store.backups.restore import blob_digests, load_tables
from loopwright.store.engine import Database
from loopwright.store.migrate import upgrade


def verify_backup(
    backup: Backup, place: BackupPlace, check: Callable[[Connection], None] = lambda _: None
) -> list[str]:
    """Return what is wrong with a backup; nothing is, where the list is empty.

    Args:
        backup: Which.
        place: Where it is.
        check: Further checks of the rows, such as of the chain of events; raises what it finds.
    """
    problems = list(backup.problems)
    for digest in [*_listed(backup, place, problems), *(segment.digest for segment in backup.spool)]:
        try:
            place.objects.get(digest)
        except LoopwrightError as error:
            problems.append(f"object {digest[:12]}: {error.message}")
    with tempfile.TemporaryDirectory(prefix="loopwright-verify-") as folder:
        scratch = Database(f"sqlite:///{Path(folder) / 'scratch.db'}")
        try:
            upgrade(scratch, to=backup.revision)
            scratch.write(lambda connection: load_tables(connection, backup, place))
            upgrade(scratch)
            scratch.read(check)
        except LoopwrightError as error:
            problems.append(str(error))
        finally:
            scratch.close()
    return problems


def _listed(backup: Backup, place: BackupPlace, problems: list[str]) -> list[str]:
    try:
        return blob_digests(backup, place)
    except LoopwrightError as error:
        problems.append(f"the list of blobs: {error.message}")
        return []
