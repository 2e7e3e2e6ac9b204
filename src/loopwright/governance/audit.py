"""The audit trail: events read as who did what to which ref, and why; and the check of their chain."""

from loopwright.kernel.errors import Corrupt
from loopwright.kernel.events import Event
from loopwright.kernel.verbs import Count, query
from loopwright.store import sql
from loopwright.store.engine import Connection
from loopwright.store.sealing import chain_hash
from loopwright.store.tx import Tx

_PAGE = 1000


@query("audit.list", reads_log=True)
def list_events(
    tx: Tx, *, limit: Count = 100, before: int | None = None, ref: str | None = None, type_prefix: str | None = None
) -> list[Event]:
    """Return the events of this project, newest first.

    Args:
        limit: At most 1,000.
        before: Only events before this position.
        ref: Only events of this ref and its versions.
        type_prefix: Such as ``serving.``.
    """
    return sql.newest_events(
        tx.connection, tx.project, limit=min(limit, _PAGE), before=before, ref=ref, type_prefix=type_prefix
    )


def verify_chain(connection: Connection) -> int:
    """Recompute every hash of the event log; return how many events hold.

    Raises:
        Corrupt: A position is missing or an event does not match its hash; names the position.
    """
    position, chain = 0, ""
    while page := sql.events_after(connection, position, limit=_PAGE):
        for event in page:
            if event.position != position + 1:
                raise Corrupt("an event is missing from the log", field="position", value=position + 1)
            chain = chain_hash(chain, event)
            if chain != event.chain:
                raise Corrupt("an event was changed after it was written", field="position", value=event.position)
            position = event.position
    return position
