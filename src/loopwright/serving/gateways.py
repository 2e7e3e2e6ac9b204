"""Verbs of gateways: they say which release they serve, under a lease of wall time."""

from msgspec.structs import replace

from loopwright.kernel.clock import DAY_US, SECOND_US
from loopwright.kernel.errors import PermissionDenied
from loopwright.kernel.verbs import query, verb
from loopwright.serving import sql
from loopwright.serving.types import GatewayLease, ReleaseFailure, Trouble
from loopwright.store.news import GATEWAYS
from loopwright.store.tx import Tx

LEASE_US = 10 * SECOND_US
"""How long a gateway counts as alive after its last sign of life."""
KEPT_US = DAY_US
"""How long the lease of a gateway that is gone stays to be read."""


@verb("serving.acknowledge", changes=GatewayLease, internal=True, parts=("gateway",), above_projects=True)
def acknowledge(
    tx: Tx,
    *,
    gateway: str,
    address: str,
    position: int,
    failures: list[ReleaseFailure] | None = None,
    troubles: list[Trouble] | None = None,
) -> GatewayLease:
    """Record that a gateway is alive and serves every release up to ``position``; no event is written.

    Args:
        gateway: Its name.
        address: Where it answers.
        position: Of the newest release that it has taken up.
        failures: Releases up to there that it could not load.
        troubles: What else it cannot mend by itself.
    """
    if tx.bounds is not None and address != tx.bounds.address:
        raise PermissionDenied(
            "a gateway speaks for its own address only", field="address", value=address, rule=tx.bounds.address
        )
    # Its own row alone: whoever reads what every other gateway writes is run again whenever one of them does.
    if sql.acknowledged_by(tx, gateway) != position:
        tx.wake(GATEWAYS)
    lease = GatewayLease(gateway, address, position, tx.wall_us + LEASE_US, failures or [], troubles or [])
    sql.put_gateway(tx, lease)
    return lease


@query("serving.gateways")
def list_gateways(tx: Tx) -> list[GatewayLease]:
    """Return the live gateways, with the failures and troubles that concern this project."""
    return [
        replace(
            lease,
            failures=[release_failure for release_failure in lease.failures if release_failure.project == tx.project],
            troubles=[trouble for trouble in lease.troubles if trouble.project in ("", tx.project)],
        )
        for lease in sql.list_gateways(tx, alive_at=tx.wall_us)
    ]


def last_heard_of(tx: Tx) -> int | None:
    """Return when a gateway last gave a sign of life (wall, microseconds UTC), None where none ever did."""
    until = sql.last_lease(tx)
    return None if until is None else until - LEASE_US


def forget_gateways(tx: Tx) -> int:
    """Drop the leases that ended more than a day ago and return how many; the last one of all stays."""
    return sql.forget_gateways(tx, tx.wall_us - KEPT_US)


def is_acknowledged(tx: Tx) -> bool:
    """Say whether every live gateway has taken up the newest release of the project; true where none is live.

    One that cannot load a release and has said so is not waited for: it serves the one before.
    """
    return not sql.is_behind(tx)
