"""What events say of applied project files, which hold the policies that retrain and promote."""

from collections.abc import Mapping
from typing import Any

from loopwright.governance import Account, ledger
from loopwright.kernel.documents import digest_of
from loopwright.kernel.events import Event
from loopwright.kernel.refs import parse_ref
from loopwright.loop.events import ProjectApplied
from loopwright.loop.tables import applied_specs


def _spec_digest(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"spec_digest": digest_of(row["spec"])}


@ledger(applied_specs, key=("project_id", "number"), told_by=(ProjectApplied,), also=_spec_digest)
def keep_specs(account: Account, event: Event) -> None:
    """What a project file said, and who applied it."""
    told = event.read(ProjectApplied)
    facts = {"spec_digest": told.spec_digest} if told.spec_digest else {}
    account.put((event.project, parse_ref(event.ref).version), event, applied_by=event.actor, **facts)
