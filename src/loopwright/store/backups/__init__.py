"""Backups: one consistent state of the platform, in a folder or an object store, from which it can be set up anew."""

from loopwright.store.backups.backup import Backup, list_backups, make_backup
from loopwright.store.backups.pages import TableDump
from loopwright.store.backups.restore import refuse_half_restored, restore_backup
from loopwright.store.backups.spools import SpoolFile, Waiting, sealing_command, waiting
from loopwright.store.backups.thinning import Thinned, thin
from loopwright.store.backups.verify import verify_backup

__all__ = [
    "Backup",
    "SpoolFile",
    "TableDump",
    "Thinned",
    "Waiting",
    "list_backups",
    "make_backup",
    "refuse_half_restored",
    "restore_backup",
    "sealing_command",
    "thin",
    "verify_backup",
    "waiting",
]
