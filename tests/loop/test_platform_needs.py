"""What lies undone tells that nobody does it, whichever process should have."""

from sqlalchemy import update

from loopwright.kernel.clock import MINUTE_US
from loopwright.loop.platform_needs import platform_needs
from loopwright.store.tables import events
from loopwright.store.tx import Tx


def test_events_that_nobody_seals_are_told(tx: Tx) -> None:
    """A sealer that lost the database tells nobody; what it left does."""
    tx.execute(update(events).values(position=None, chain=None))
    assert platform_needs(tx) == []
    tx.execute(update(events).values(recorded_at=tx.wall_us - 2 * MINUTE_US))
    [need] = platform_needs(tx)
    assert (need.kind, need.severity) == ("background", "critical")
    assert need.sentence.startswith("events are not sealed since 2013-02-28T23:58:00")
