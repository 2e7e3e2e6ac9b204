"""What events say of model versions, aliases and gate reports."""

from collections.abc import Mapping
from typing import Any

from loopwright.governance import Account, ledger
from loopwright.kernel.documents import digest_of
from loopwright.kernel.events import Event, event_type
from loopwright.registry.events import AliasRemoved, AliasSet, GatesEvaluated, GatesForced, VersionRegistered
from loopwright.registry.tables import aliases, gate_reports, model_versions


@ledger(aliases, key=("project_id", "model", "alias"), told_by=(AliasSet, AliasRemoved))
def keep_aliases(account: Account, event: Event) -> None:
    """Which version a name means."""
    if event.type == event_type(AliasSet):
        put = event.read(AliasSet)
        account.put((event.project, put.model, put.alias), event, version=put.version)
    else:
        removed = event.read(AliasRemoved)
        account.drop((event.project, removed.model, removed.alias))


def _files_digest(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"files_digest": digest_of(row["files"])}


@ledger(model_versions, key=("project_id", "model", "version"), told_by=(VersionRegistered,), also=_files_digest)
def keep_versions(account: Account, event: Event) -> None:
    """What a version is made of, and who says that it was trained."""
    told = event.read(VersionRegistered)
    facts: dict[str, Any] = {"digest": told.digest, "source": told.source, "refit_of": told.refit_of}
    if told.files_digest:
        facts["files_digest"] = told.files_digest
    account.put((event.project, told.model, told.version), event, **facts)


def _is_forced(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"is_forced": bool(row["forced_by"])}


@ledger(gate_reports, key=("project_id", "report_id"), told_by=(GatesEvaluated, GatesForced), also=_is_forced)
def keep_reports(account: Account, event: Event) -> None:
    """Which version passed its gates."""
    told = event.read(GatesForced if event.type == event_type(GatesForced) else GatesEvaluated)
    facts = {"model": told.model, "version": told.version, "passed": told.passed, "is_forced": told.is_forced}
    account.put((event.project, told.report_id), event, **facts)
