"""What events say of monitors."""

from collections.abc import Mapping
from typing import Any

from loopwright.governance import Account, ledger
from loopwright.kernel.documents import digest_of
from loopwright.kernel.events import Event
from loopwright.monitoring.events import MonitorDeclared
from loopwright.monitoring.tables import monitors


def _digests(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"spec_digest": digest_of(row["spec"]), "policy_digest": digest_of(row["policy"])}


@ledger(monitors, key=("project_id", "deployment"), told_by=(MonitorDeclared,), also=_digests)
def keep_monitors(account: Account, event: Event) -> None:
    """What is watched, and what a policy answers by itself."""
    told = event.read(MonitorDeclared)
    facts = {"spec_digest": told.spec_digest, "policy_digest": told.policy_digest} if told.spec_digest else {}
    account.put((event.project, told.deployment), event, **facts)
