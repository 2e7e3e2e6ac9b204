"""Letting go of old backups, and of the objects that no other one names.

An object is removed once it was marked as named by no backup for a day, and nobody put it in that time. Whoever makes a
backup meanwhile puts again what is marked and they rely on (``backup``): no lock is needed, which a bucket would not
have, and what is killed on the way is simply done again.
"""

import msgspec

from loopwright.kernel.clock import DAY_US, Clock
from loopwright.store.backups.backup import Backup, list_backups
from loopwright.store.backups.place import BackupPlace
from loopwright.store.backups.restore import blob_digests

SPARE_US = DAY_US
"""How long an object stays that no backup names; a backup that is being made looks at the marks far more often."""


class Thinned(msgspec.Struct, frozen=True):
    """What was let go of: ids of backups, bytes that were freed, and bytes that a later thinning can free."""

    backups: list[str]
    freed_bytes: int
    spare_bytes: int


def thin(place: BackupPlace, keep: int, clock: Clock) -> Thinned:
    """Keep the newest backups of a place, counted by those without problems, and all that are newer than the last one.

    Args:
        place: Where they are.
        keep: How many stay, at least 1.
        clock: Wall time.

    Raises:
        Corrupt: The document or a list of a backup was changed: nothing is removed, for it does not say what it needs.
        Conflict: A folder of the place is a link to elsewhere.
        Unavailable: The place does not answer.
    """
    place.refuse_links()
    backups = list_backups(place)
    whole = [number for number, backup in enumerate(backups) if not backup.problems]
    first = whole[-keep] if len(whole) >= keep else 0
    named = _named(backups[first:], place)
    for backup in backups[:first]:
        place.forget(backup.backup_id)
    now_us = clock.now_us()
    sizes = {ref.digest: ref.size_bytes for ref in place.objects.inventory() if ref.digest not in named}
    before = place.read_spare()
    since = {digest: before.get(digest, now_us) for digest in sizes}
    due = [digest for digest, spare_since in since.items() if now_us - spare_since >= SPARE_US]
    removed = {ref.digest for ref in place.objects.sweep(due, now_us - SPARE_US)}
    place.write_spare({digest: spare_since for digest, spare_since in since.items() if digest not in removed})
    freed = sum(sizes[digest] for digest in removed)
    return Thinned([backup.backup_id for backup in backups[:first]], freed, sum(sizes.values()) - freed)


def _named(backups: list[Backup], place: BackupPlace) -> set[str]:
    """Return the digests of all objects that backups name."""
    named: set[str] = set()
    listed: set[tuple[str, ...]] = set()
    for backup in backups:
        named.update(page for table in backup.tables for page in table.pages)
        named.update(backup.blob_pages)
        named.update(file.digest for file in backup.spool)
        pages = tuple(backup.blob_pages)
        if pages not in listed:  # hardly anything changes between most
            listed.add(pages)
            named.update(blob_digests(backup, place))
    return named
