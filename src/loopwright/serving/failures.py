"""Verbs of releases that gateways cannot load: told once, and the end of a rollout that nobody could take up."""

from loopwright.kernel.verbs import verb
from loopwright.serving import sql
from loopwright.serving.events import ReleaseFailed
from loopwright.serving.rollouts.steps import give_up
from loopwright.serving.types import Release, ReleaseFailure
from loopwright.store.tx import Tx


@verb("serving.report_failure", changes=Release, internal=True, parts=("gateway",), lasts="closed")
def report_failure(tx: Tx, *, gateway: str, deployment: str, number: int, why: str) -> ReleaseFailure:
    """Record that a gateway could not load a release and serves the one before; what is known writes no event.

    Where no live gateway could, the rollout that made the release has failed.
    """
    failure = ReleaseFailure(gateway, tx.project, deployment, number, why)
    leases = sql.list_gateways(tx)
    if (gateway, *_address(failure), why) not in [
        (one.gateway, *_address(one), one.why) for lease in leases for one in lease.failures
    ]:
        ref = tx.ref("release", deployment, number)
        tx.emit(ReleaseFailed(deployment, number, gateway), ref, reason=why)
    address = (tx.project, deployment, number)
    failed = {one.gateway for lease in leases for one in lease.failures if _address(one) == address}
    if {lease.gateway for lease in leases if lease.lease_until > tx.wall_us} <= {*failed, gateway}:
        give_up(tx, deployment, number, why)
    return failure


def _address(failure: ReleaseFailure) -> tuple[str, str, int]:
    return (failure.project, failure.deployment, failure.number)
