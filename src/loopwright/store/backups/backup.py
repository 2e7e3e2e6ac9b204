"""Making a backup while the platform runs.

Order is what makes it whole. The spool is copied first, then the database is read on one snapshot, then the blobs that
the snapshot names: a row that is sealed meanwhile is in both spool and snapshot and counts once, and a blob is written
before the row that names it. So everything that was acknowledged when the backup began is in it.

What the place has already is not copied again, and may be let go of by a thinning beside (``thinning``): nothing is
before it was marked as spare for a day. So what is marked is put again, which makes it young, when the backup begins,
each hour, and before its document is written. No lock is needed, which a bucket would not have.
"""

import re
import zlib
from contextlib import suppress
from pathlib import Path

import msgspec
from sqlalchemy import Connection, Table

from loopwright.kernel.clock import DAY_US, HOUR_US, Clock
from loopwright.kernel.documents import digest_bytes, to_json
from loopwright.kernel.errors import Conflict, Corrupt, LoopwrightError, NotFound, Unavailable
from loopwright.kernel.ids import new_id
from loopwright.kernel.version import VERSION
from loopwright.store import sql
from loopwright.store.backups.pages import TableDump, pages_of, tables_of
from loopwright.store.backups.place import BackupPlace
from loopwright.store.backups.spools import SpoolFile, not_sealed, segments
from loopwright.store.blobs import BlobStore
from loopwright.store.blobs.base import not_stored
from loopwright.store.engine import Database
from loopwright.store.migrate import current_revision

_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_DIGESTS_A_PAGE = 20_000
_YOUNG_US = DAY_US // 2
"""What was put so lately is left alone by a thinning until long after the document names it."""


class Backup(msgspec.Struct, frozen=True):
    """What one backup holds.

    ``created_at`` is wall time, microseconds UTC. ``revision`` is the schema its rows are of. ``blob_pages`` name
    objects that list the digests of blobs. ``copied_bytes`` is what this backup stored that the place did not have.
    ``problems`` are blobs that the backup should hold and could not read, or that are lost.
    """

    backup_id: str
    created_at: int
    version: str
    revision: str
    tables: list[TableDump]
    blobs: int
    blob_pages: list[str]
    spool: list[SpoolFile]
    copied_bytes: int
    problems: list[str] = []


def make_backup(database: Database, blobs: BlobStore, state_dir: Path, place: BackupPlace, clock: Clock) -> Backup:
    """Copy what the place does not have yet, then write the document that names everything.

    Args:
        database: The metadata database; nothing is written to it but positions that its events still lack.
        blobs: Its blob store.
        state_dir: Folder with the gateways' spools.
        place: Where to.
        clock: Wall time.

    Raises:
        Conflict: The database has no schema yet.
        Unavailable: The place or the database does not answer, or what was copied is gone from the place.
    """
    created_at = clock.now_us()
    store = _Store(place, clock)
    spool = [
        SpoolFile(str(file.relative_to(state_dir)), writer, digest)
        for file, writer in segments(state_dir)
        if (digest := store.put_if_there(file)) is not None
    ]
    named: set[str] = set()
    revision = database.read(current_revision)
    if revision is None:
        raise Conflict("this database is empty: there is nothing to back up", field="database_url")
    database.seal()
    with database.reading(without_deadline=True) as connection:
        tables = [_dump(connection, table, store, named) for table in tables_of(connection)]
        spool = not_sealed(spool, sql.sealed_segments(connection))
        recorded = _recorded(connection)
    stored = set(blobs.digests())
    kept, problems = _copy_blobs(blobs, store, named & stored)
    if lost := recorded - stored:  # a collection of garbage beside this takes the row first, then the blob
        with database.reading(without_deadline=True) as connection:
            lost &= _recorded(connection)
        problems += [f"blob {digest[:12]}: {not_stored(digest).message}" for digest in sorted(lost)]
    pages = [store.put(to_json(kept[at : at + _DIGESTS_A_PAGE])) for at in range(0, len(kept), _DIGESTS_A_PAGE)]
    store.look_again(blobs)
    backup = Backup(
        backup_id=new_id("bak", created_at),
        created_at=created_at,
        version=VERSION,
        revision=revision,
        tables=tables,
        blobs=len(kept),
        blob_pages=pages,
        spool=spool,
        copied_bytes=store.copied_bytes,
        problems=problems,
    )
    place.write(backup.backup_id, to_json(backup))
    return backup


def list_backups(place: BackupPlace) -> list[Backup]:
    """Return the backups of a place, oldest first."""
    return [place.read(backup_id, Backup) for backup_id in place.ids()]


class _Store:
    """Puts objects, skips those that are there and will stay, and counts bytes."""

    def __init__(self, place: BackupPlace, clock: Clock) -> None:
        self._place, self._objects, self._clock = place, place.objects, clock
        self._looked_at = clock.now_us()
        spare = place.read_spare()  # before the objects are listed: what is swept between the two is marked
        self._there = set(self._objects.digests())
        self._stays = self._there.difference(spare)
        self._named: set[str] = set()
        self._put_at: dict[str, int] = {}
        self.copied_bytes = 0

    def put(self, body: bytes) -> str:
        digest = digest_bytes(body)
        if not self._is_kept(digest):
            self._objects.put(body)
            self._count(digest, len(body))
        return digest

    def put_if_there(self, file: Path) -> str | None:
        """Store a file that its owner may delete at any moment; None if it did."""
        try:
            return self.put(file.read_bytes())
        except FileNotFoundError:
            return None

    def copy(self, blobs: BlobStore, digest: str) -> None:
        """Copy one blob under its own name."""
        if self._is_kept(digest):
            return
        ref = self._objects.put_file(blobs.path(digest))
        if ref.digest != digest:  # the copy went under the name of what it is, and belongs to no backup
            raise Corrupt("a stored blob has changed", field="digest", value=digest)
        self._count(digest, ref.size_bytes)

    def look_again(self, blobs: BlobStore) -> None:
        """See to it that all that was named is in the place, and stays there until the document can name it.

        Raises:
            Unavailable: Something is gone, and not to be had again.
        """
        self._renew()
        for digest in sorted(self._named.difference(self._objects.digests())):
            try:
                self._stays.discard(digest)
                self.copy(blobs, digest)
            except (NotFound, Corrupt):
                raise _gone(digest) from None

    def _is_kept(self, digest: str) -> bool:
        """Say whether an object is there and stays, now that it is relied on."""
        if self._clock.now_us() - self._looked_at > HOUR_US:
            self._renew()
        if digest in self._stays:
            self._named.add(digest)
            return True
        return False

    def _renew(self) -> None:
        """Put again what is relied on and was marked as spare by a thinning."""
        now_us = self._looked_at = self._clock.now_us()
        spare = {digest for digest in self._place.read_spare() if now_us - self._put_at.get(digest, 0) > _YOUNG_US}
        self._stays -= spare
        for digest in sorted(self._named & spare):
            with suppress(NotFound):  # the last look says so of what is missed
                self._objects.put_file(self._objects.path(digest))
                self._note_put(digest)

    def _note_put(self, digest: str) -> None:
        self._stays.add(digest)
        self._put_at[digest] = self._clock.now_us()

    def _count(self, digest: str, size_bytes: int) -> None:
        self._named.add(digest)
        self._note_put(digest)
        if digest not in self._there:
            self._there.add(digest)
            self.copied_bytes += size_bytes


def _gone(digest: str) -> Unavailable:
    return Unavailable(
        "what this backup relies on is gone from its place",
        field="digest",
        value=digest,
        next_step="repeat it; let nothing but backups themselves remove files there",
    )


def _dump(connection: Connection, table: Table, store: _Store, named: set[str]) -> TableDump:
    """Store the pages of a table and add the digests that stand in its rows to ``named``."""
    rows, pages = 0, []
    for count, body in pages_of(connection, table):
        rows += count
        pages.append(store.put(body))
        named.update(digest.decode() for digest in _DIGEST.findall(zlib.decompress(body)))
    columns = [str(column.name) for column in table.columns]
    return TableDump(str(table.name), columns, rows, pages)


def _recorded(connection: Connection) -> set[str]:
    """Return the digests of all blobs that projects refer to: each of them must be stored."""
    return {ref.digest for _, ref in sql.all_blobs(connection)}


def _copy_blobs(blobs: BlobStore, store: _Store, named: set[str]) -> tuple[list[str], list[str]]:
    """Copy the blobs that rows name; return their digests and what could not be read.

    Rows name blobs in many columns and inside documents. Whatever stands in a row, looks like a digest and is a blob
    that is stored belongs to the backup: no list of columns can then miss one.
    """
    kept, problems = [], []
    for digest in sorted(named):
        try:
            store.copy(blobs, digest)
            kept.append(digest)
        except LoopwrightError as error:
            problems.append(f"blob {digest[:12]}: {error.message}")
    return kept, problems
