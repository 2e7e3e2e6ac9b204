"""Verbs of gateways: they say which release they serve, under a lease of wall time."""

from loopwright.governance import SYSTEM
from loopwright.kernel.clock import SECOND_US
from loopwright.kernel.verbs import query, verb
from loopwright.serving import sql
from loopwright.serving.types import GatewayLease
from loopwright.store.tx import Tx

LEASE_US = 10 * SECOND_US
"""How long a gateway counts as alive after its last sign of life."""


@verb("serving.acknowledge", changes=GatewayLease, internal=True)
def acknowledge(tx: Tx, *, gateway: str, address: str, position: int) -> GatewayLease:
    """Record that a gateway serves every release up to ``position`` and is alive; no event is written."""
    before = {one.gateway: one.acknowledged for one in sql.list_gateways(tx.connection, SYSTEM)}
    if before.get(gateway) != position:
        tx.wake()
    lease = GatewayLease(gateway, address, position, tx.wall_us + LEASE_US)
    sql.put_gateway(tx.connection, SYSTEM, lease)
    return lease


@query("serving.gateways")
def gateways(tx: Tx) -> list[GatewayLease]:
    """Return the live gateways."""
    return [lease for lease in sql.list_gateways(tx.connection, SYSTEM) if lease.lease_until > tx.wall_us]


def is_acknowledged(tx: Tx) -> bool:
    """Say whether every live gateway serves the newest release of the project; true where none is live."""
    position = sql.newest_position(tx.connection, tx.project)
    return all(lease.acknowledged >= position for lease in gateways(tx))
