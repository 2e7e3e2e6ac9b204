"""Verbs of datasets: declare, get, list."""

from typing import Any

from loopwright.data import sql
from loopwright.data.declarations import check_spec
from loopwright.data.events import DatasetDeclared
from loopwright.data.strictness import loosened
from loopwright.data.types import Dataset, DatasetSpec, Declared, SourceSpec, SpecChange
from loopwright.governance import Approval, Loosening, loosening
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import Conflict, NotFound
from loopwright.kernel.verbs import query, verb
from loopwright.store.tombstones import missing
from loopwright.store.tx import Tx


@verb("data.declare", changes=Dataset)
def declare(tx: Tx, *, spec: DatasetSpec) -> Declared:
    """Declare a dataset, or change its declaration; says what changed. The same declaration again changes nothing.

    Raises:
        InvalidInput: A name, column list, check or source breaks a rule.
        Conflict: Key or time would change although versions exist.
        NotFound: The code of its transform is not this project's.
        PermissionDenied: It would loosen a rule, and the caller is no approver and has no approval of this very change.
    """
    check_spec(spec)
    if spec.transform is not None:
        tx.require_blobs(spec.transform.digest)
    sql.lock_dataset(tx, spec.name)
    known = sql.find_dataset(tx, spec.name)
    if known is None:
        sql.put_dataset(tx, spec, tx.wall_us, tx.wall_us)
        tx.emit(DatasetDeclared(is_new=True, changes=[]), tx.ref("dataset", spec.name))
        return Declared(get(tx, dataset=spec.name), True, [])
    changes = _changes(known.spec, spec)
    if not changes:
        return Declared(known, False, [])
    if known.latest is not None:
        _keep_identity(known, changes)
    loosening.require_allowed(tx, _loosening(tx, known, spec))
    sql.put_dataset(tx, spec, known.created_at, tx.wall_us)
    tx.emit(DatasetDeclared(is_new=False, changes=changes), tx.ref("dataset", spec.name))
    return Declared(get(tx, dataset=spec.name), False, changes)


@verb("data.ask_to_loosen", changes=Approval)
def ask_to_loosen(tx: Tx, *, spec: DatasetSpec, reason: str) -> Approval:
    """Ask an approver to let a declaration pass that loosens rules; once approved, ``data.declare`` takes it.

    Raises:
        InvalidInput: It loosens nothing, or says no reason.
    """
    check_spec(spec)
    sql.lock_dataset(tx, spec.name)
    return loosening.ask(tx, find_loosening(tx, spec), reason)


def find_loosening(tx: Tx, spec: DatasetSpec) -> Loosening:
    """Return what a declaration would loosen of what is declared now."""
    return _loosening(tx, sql.find_dataset(tx, spec.name), spec)


def _loosening(tx: Tx, before: Dataset | None, spec: DatasetSpec) -> Loosening:
    known, declared_at = (None, None) if before is None else (before.spec, before.changed_at)
    return Loosening(
        tx.ref("dataset", spec.name),
        f"dataset {spec.name}",
        [] if known is None else loosened(known, spec),
        loosening.change_digest(known, declared_at, spec),
        "data.ask_to_loosen",
    )


@query("data.get", parts=("gateway",))
def get(tx: Tx, *, dataset: str) -> Dataset:
    """Return one dataset with its declaration and its newest version's number."""
    declared = sql.find_dataset(tx, dataset)
    if declared is None:
        unknown = NotFound(
            f"no dataset is named {dataset}",
            field="dataset",
            value=dataset,
            next_step="declare it in the project file, then loopwright apply FILE",
        )
        raise missing(tx, "dataset", dataset, None, unknown)
    return declared


@query("data.list")
def list_datasets(tx: Tx) -> list[Dataset]:
    """Return the datasets of the project by name."""
    return sql.list_datasets(tx)


@query("data.personal_columns", internal=True, parts=("gateway",), above_projects=True)
def personal_columns(tx: Tx) -> dict[str, list[str]]:
    """Return the personal columns of every project's datasets, by ``project/dataset``; gateways do not log them."""
    declared = sql.every_spec(tx)
    return {f"{project}/{name}": spec.personal for (project, name), spec in declared.items() if spec.personal}


@query("data.topics", internal=True, parts=("gateway",), above_projects=True)
def topics(tx: Tx) -> dict[str, SourceSpec]:
    """Return the sources of every project's datasets that are topics, by ``project/dataset``; gateways read them."""
    declared = sql.every_spec(tx)
    sources = {f"{project}/{name}": spec.source for (project, name), spec in declared.items()}
    return {key: source for key, source in sources.items() if source.kind == "topic"}


def _changes(before: DatasetSpec, after: DatasetSpec) -> list[SpecChange]:
    old, new = _fields(before), _fields(after)
    return [SpecChange(name, old[name], new[name]) for name in new if old[name] != new[name]]


def _fields(spec: DatasetSpec) -> dict[str, Any]:
    fields: dict[str, Any] = to_builtins(spec)
    return fields


def _keep_identity(known: Dataset, changes: list[SpecChange]) -> None:
    for change in changes:
        if change.field in ("key", "time"):
            raise Conflict(
                f"the {change.field} of dataset {known.name} cannot change: {known.latest} versions rest on it",
                field=change.field,
                value=change.after,
                rule=f"stays {change.before}",
                next_step="declare the new shape under another name",
            )
