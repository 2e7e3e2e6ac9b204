"""What the platform itself needs a person for: disks, blob stores, workers, what servers do by themselves.

Read from rows that servers write and from what lies undone: it is told whichever server is asked, after a restart too.
"""

from collections.abc import Iterator

from loopwright.kernel.clock import MINUTE_US, format_moment
from loopwright.loop.needs import Need
from loopwright.store import jobs
from loopwright.store import sql as store_sql
from loopwright.store.backups.spools import sealing_command
from loopwright.store.tx import Tx
from loopwright.store.types import LowDisk
from loopwright.store.unwritable import HOW_TO_FREE

_UNTAKEN_US = 2 * MINUTE_US
"""A worker that lives takes what is due at once; one that begins needs seconds, on a busy machine a minute."""
_DISK_HEARD_US = 5 * MINUTE_US
"""A disk that no server has told of for so long is somebody's who is gone."""
_UNSEALED_US = 2 * MINUTE_US
"""What was committed is sealed at once; a sealer that lost its connection is back within seconds."""
_MOVES_ALL = frozenset({"answering events", "firing timers"})
"""What servers do that everything else waits for."""


def platform_needs(tx: Tx) -> list[Need]:
    """Return what the platform needs, as a project is told of it.

    While nothing can be written no job is taken either, whoever lives.
    """
    is_writable = tx.doubt is None or not tx.doubt.is_of_all
    return [*_database(tx), *_servers(tx), *_unsealed(tx), *(_untaken(tx) if is_writable else ())]


def _database(tx: Tx) -> Iterator[Need]:
    """Yield that nothing can be written: no row can tell of it, so the server that is asked does."""
    if tx.doubt is not None and tx.doubt.is_of_all:
        yield Need(
            kind="database",
            ref=tx.ref("server", "any"),
            severity="critical",
            sentence=f"nothing can be written to the database since {format_moment(tx.doubt.since)}: {tx.doubt.why}",
            event_at=None,
            recorded_at=tx.doubt.since,
            next_step=tx.doubt.next_step or "look at the database",
            command="loopwright doctor",
        )


def _untaken(tx: Tx) -> Iterator[Need]:
    """Yield the lanes whose jobs wait for a worker: no window closes, no canary is judged and no import comes in."""
    for one in jobs.untaken(tx, waiting_us=_UNTAKEN_US):
        many = "1 job waits" if one.jobs == 1 else f"{one.jobs} jobs wait"
        yield Need(
            kind="worker",
            ref=tx.ref("worker", one.lane),
            severity="critical",
            sentence=f"{many} since {format_moment(one.due_at)}, and no worker does jobs of the lane {one.lane}",
            event_at=None,
            recorded_at=one.due_at,
            next_step="start one: loopwright up --role worker; where one runs, its log and LOOPWRIGHT_SLOTS say why",
            command="loopwright logs worker",
        )


def _servers(tx: Tx) -> Iterator[Need]:
    """Yield what servers tell of themselves; of a project only here what is done for it alone."""
    for low in store_sql.find_low_disks(tx.connection, tx.wall_us - _DISK_HEARD_US):
        if low.spool_of:
            yield _spool(tx, low)
        elif not low.loop:
            yield _disk(tx, low)
        elif low.project in ("", tx.project):
            yield Need(
                kind="background",
                ref=tx.ref("server", low.host or "any"),
                severity="critical" if low.loop in _MOVES_ALL else "warning",
                sentence=f"{low.loop} fails: {low.message}",
                event_at=None,
                recorded_at=low.since,
                next_step="correct the cause; it is tried again by itself",
                command="loopwright logs server",
            )


def _unsealed(tx: Tx) -> Iterator[Need]:
    """Yield that nobody seals: no rule answers an event before it is in the chain, whoever lost the sealer."""
    oldest_at = store_sql.oldest_unsealed(tx)
    if oldest_at is None or tx.wall_us - oldest_at < _UNSEALED_US:
        return
    yield Need(
        kind="background",
        ref=tx.ref("server", "any"),
        severity="critical",
        sentence=f"events are not sealed since {format_moment(oldest_at)}: nothing answers them",
        event_at=None,
        recorded_at=oldest_at,
        next_step="restart the servers one after the other; their logs say why",
        command="loopwright logs server",
    )


def _spool(tx: Tx, low: LowDisk) -> Need:
    """Return rows that wait where nobody seals them, such as those that a restore put there; they may be anybody's."""
    return Need(
        kind="gateway",
        ref=tx.ref("gateway", "any"),
        severity="warning",
        sentence=f"{low.message} ({low.host})",
        event_at=None,
        recorded_at=low.since,
        next_step="start a gateway on that folder; it may be stopped when this is told no more",
        command=sealing_command(low.spool_of),
    )


def _disk(tx: Tx, low: LowDisk) -> Need:
    """Return a disk of a server that runs full, or a blob store out of use: whatever the project, it stands still."""
    what = "no file is stored or read" if low.is_blob_store else "when it is full, no row, event or file is taken"
    return Need(
        kind="blobs" if low.is_blob_store else "disk",
        ref=tx.ref("server", low.host),
        severity="critical",
        sentence=f"{low.message}: {what}",
        event_at=None,
        recorded_at=low.since,
        next_step="loopwright doctor says why"
        if low.is_blob_store
        else f"{HOW_TO_FREE}; loopwright gc says what may go",
        command="loopwright doctor" if low.is_blob_store else "loopwright gc --plan",
    )
