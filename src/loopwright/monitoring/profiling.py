"""Verbs of profiling chunks: which ones are to be counted, and having it done where nobody waits for it."""

from loopwright.kernel.clock import DAY_US, HOUR_US, MINUTE_US
from loopwright.kernel.verbs import Count, Role, query, verb
from loopwright.monitoring import sql as own_sql
from loopwright.monitoring.types import CountableChunk, ProfileChunks
from loopwright.store import sql
from loopwright.store.tx import Tx
from loopwright.store.types import Job
from loopwright.store.work import kind_of

_AT_ONCE = 200
_SETTLED_US = (2 * HOUR_US, MINUTE_US, MINUTE_US)
"""How long ago a chunk of each level was stored: what a writer sealed is left alone until it could have been merged."""
_SINCE_US = 3 * DAY_US
"""What was stored longer ago and has no profile gets none: it was here before there were any, and is read as rows."""


@verb("monitoring.start_profiling", changes=Job, role=Role.ADMIN)
def start_profiling(tx: Tx) -> Job:
    """Start counting the rows of settled chunks, so that windows need not; a server does so by itself every hour."""
    under_way = sql.list_jobs(
        tx.connection, tx.project, states=("queued", "running"), kind=kind_of(ProfileChunks).name, limit=1
    )
    return under_way[0] if under_way else tx.start_job(ProfileChunks(), tx.ref("project", tx.project))


@query("monitoring.countable_chunks", internal=True)
def countable_chunks(tx: Tx, *, limit: Count = _AT_ONCE) -> list[CountableChunk]:
    """Return settled chunks of predictions without a profile, of deployments that are compared with a reference."""
    listed: list[CountableChunk] = []
    for monitor in own_sql.list_monitors(tx):
        if not monitor.reference or len(listed) >= limit:
            continue
        found = sql.unprofiled_chunks(
            tx.connection,
            tx.project,
            "predictions",
            monitor.deployment,
            since_us=tx.wall_us - _SINCE_US,
            before_us=tuple(tx.wall_us - settled_us for settled_us in _SETTLED_US),
            limit=limit - len(listed),
        )
        listed += [CountableChunk(chunk, monitor.reference) for chunk in found]
    return listed
