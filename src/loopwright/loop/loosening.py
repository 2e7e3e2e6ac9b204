"""What of a whole declaration takes an approver: retrain policies here, everything else by its own room."""

from collections.abc import Iterator

from loopwright import data, monitoring, serving
from loopwright.governance import Approval, Loosening, loosening
from loopwright.kernel.errors import shorten
from loopwright.kernel.verbs import verb
from loopwright.loop import sql
from loopwright.loop.retrain import answers_of, find_policy
from loopwright.loop.strictness import loosened
from loopwright.loop.types import ProjectSpec, RetrainSpec
from loopwright.store.tx import Tx

_SHOWN = 500
"""Letters of what one rule was and would be."""


@verb("loop.ask_to_loosen", changes=Approval)
def ask_to_loosen(tx: Tx, *, deployment: str, policy: RetrainSpec | None, reason: str) -> Approval:
    """Ask an approver to let a retrain policy be loosened; once approved, ``loop.apply`` takes it.

    Args:
        tx: The open transaction.
        deployment: Whose policy.
        policy: As it would be declared; None asks to leave it out.
        reason: Why.

    Raises:
        InvalidInput: It loosens nothing, or says no reason.
    """
    return loosening.ask(tx, _of_policy(tx, deployment, policy), reason)


def require_policies(tx: Tx, spec: ProjectSpec) -> None:
    """Refuse a declaration that loosens a retrain policy to whoever may not.

    Raises:
        PermissionDenied: The caller is no approver and has no approval of this very change.
    """
    for found in _of_policies(tx, spec):
        loosening.require_allowed(tx, found)


def needs_approver(tx: Tx, spec: ProjectSpec) -> dict[str, list[str]]:
    """Return what a declaration would loosen that the caller may not, by ref."""
    return {
        found.subject: [shorten(one.told, _SHOWN) for one in found.weaker]
        for found in _all(tx, spec)
        if not loosening.is_allowed(tx, found)
    }


def _all(tx: Tx, spec: ProjectSpec) -> Iterator[Loosening]:
    policies = {policy.deployment: policy for policy in spec.retrains}
    yield from (data.find_loosening(tx, dataset) for dataset in spec.datasets)
    yield from (serving.find_loosening(tx, deployment) for deployment in spec.deployments)
    for name, monitor in spec.monitors.items():
        yield monitoring.find_loosening(tx, name, monitor, answers_of(policies.get(name)))
    yield from _of_policies(tx, spec)


def _of_policies(tx: Tx, spec: ProjectSpec) -> Iterator[Loosening]:
    """Yield what becomes of each policy that holds now; one that is no longer declared holds no longer."""
    if (found := sql.newest_spec(tx)) is None:
        return
    number, _, applied = found
    declared = {policy.deployment: policy for policy in spec.retrains}
    for before in applied.retrains:
        yield _change(tx, before.deployment, before, declared.get(before.deployment), number)


def _of_policy(tx: Tx, deployment: str, policy: RetrainSpec | None) -> Loosening:
    before, found = find_policy(tx, deployment), sql.newest_spec(tx)
    return _change(tx, deployment, before, policy, None if found is None else found[0])


def _change(
    tx: Tx, deployment: str, before: RetrainSpec | None, policy: RetrainSpec | None, number: int | None
) -> Loosening:
    """Return what becomes of a policy; ``number`` is that of the declaration by which it holds."""
    return Loosening(
        tx.ref("retrain_policy", deployment),
        f"the retrain policy of {deployment}",
        [] if before is None else loosened(before, policy),
        loosening.change_digest(before, number, policy),
        "loop.ask_to_loosen",
    )
