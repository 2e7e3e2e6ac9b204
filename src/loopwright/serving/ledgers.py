"""What events say of deployments and releases."""

from collections.abc import Mapping
from typing import Any

from loopwright.governance import Account, ledger
from loopwright.kernel.documents import digest_of, to_builtins
from loopwright.kernel.events import Event, event_type
from loopwright.serving.events import DeploymentDeclared, Released, Retired
from loopwright.serving.tables import deployments, releases


def _spec_digest(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"spec_digest": digest_of(row["spec"])}


@ledger(deployments, key=("project_id", "name"), told_by=(DeploymentDeclared,), also=_spec_digest)
def keep_deployments(account: Account, event: Event) -> None:
    """The rules of a deployment: gates, approvals, steps, limits."""
    told = event.read(DeploymentDeclared)
    facts = {"spec_digest": told.spec_digest} if told.spec_digest else {}
    account.put((event.project, told.deployment), event, model=told.model, **facts)


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    document = row["document"]
    names = ("name", "model", "version", "weight", "is_shadow")
    return {
        "document_digest": digest_of(document),
        "is_retired": document.get("is_retired", False),
        "variants": [{name: variant[name] for name in names} for variant in document["variants"]],
    }


@ledger(releases, key=("project_id", "deployment", "number"), told_by=(Released, Retired), also=_told)
def keep_releases(account: Account, event: Event) -> None:
    """Who answers, with which share of the traffic."""
    facts: dict[str, Any]
    if event.type == event_type(Retired):
        told: Released | Retired = event.read(Retired)
        facts = {"is_retired": True}
    else:
        told = released = event.read(Released)
        facts = {"is_retired": False, "rollout_id": released.rollout_id, "variants": to_builtins(released.variants)}
    if told.document_digest:
        facts["document_digest"] = told.document_digest
    account.put((event.project, told.deployment, told.number), event, position=told.position, **facts)
