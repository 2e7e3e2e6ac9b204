"""What events say of applied project files, which hold the policies that retrain and promote, and of deletions."""

from collections.abc import Mapping
from typing import Any

from loopwright.governance import Account, ledger, unmaking
from loopwright.kernel.documents import digest_of
from loopwright.kernel.events import Event
from loopwright.kernel.refs import parse_ref
from loopwright.loop.events import Deleted, ProjectApplied
from loopwright.loop.tables import applied_specs


def _spec_digest(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"spec_digest": digest_of(row["spec"])}


@ledger(applied_specs, key=("project_id", "number"), told_by=(ProjectApplied,), also=_spec_digest)
def keep_specs(account: Account, event: Event) -> None:
    """What a project file said, and who applied it."""
    told = event.read(ProjectApplied)
    facts = {"spec_digest": told.spec_digest} if told.spec_digest else {}
    account.put((event.project, parse_ref(event.ref).version), event, applied_by=event.actor, **facts)


@unmaking(told_by=Deleted)
def forget_versions(accounts: Mapping[str, Account], event: Event) -> None:
    """Deleted model versions are gone at once; their gate reports go bit by bit."""
    ref = parse_ref(event.ref)
    if ref.kind != "model":
        return

    def is_meant(project: str, model: str, version: int) -> bool:
        return (project, model) == (event.project, ref.name) and ref.version in (None, version)

    accounts["model_versions"].drop_where(lambda key, _: is_meant(*key))
    reports = accounts["gate_reports"]
    reports.let_go_where(lambda key, values: is_meant(key[0], values["model"], values["version"]))
