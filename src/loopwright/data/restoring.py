"""Restoring: the content of an older version is the newest again.

An editor takes back what editors did. What an approver let pass, or moved off, comes back by an approver: else a
restore would be the way around every decision about rows.
"""

import msgspec

from loopwright.data import datasets, sql
from loopwright.data.commits import next_number
from loopwright.data.quarantine import blocking, check_usable
from loopwright.data.strictness import describe_check, loosened
from loopwright.data.types import CheckResult, DatasetVersion, Fragment
from loopwright.data.versions import emit_ready, get_version, last_version
from loopwright.governance import lineage, require_role
from loopwright.kernel.bounds import first_few
from loopwright.kernel.errors import Conflict, InvalidInput
from loopwright.kernel.verbs import Role, verb
from loopwright.store.tx import Tx


@verb("data.restore", changes=DatasetVersion)
def restore(tx: Tx, *, dataset: str, version: int, reason: str) -> DatasetVersion:
    """Make the content of an older version that of a new one, at once; the versions in between stay as they are.

    No row is read or written: the new version names the files of the old one. Imports that are under way build on it.

    Raises:
        InvalidInput: No reason is given.
        Quarantined: That version may not be used.
        PermissionDenied: The caller is no approver, and its rows were held to looser checks than are declared now, or
            failed one, or have other columns than the newest, or an approver moved off them.
        Conflict: The newest version has this content already.
    """
    if not reason.strip():
        raise InvalidInput("a return to older rows needs a reason", field="reason", rule="at least one word")
    sql.lock_dataset(tx, dataset)
    old = get_version(tx, dataset=dataset, version=version)
    check_usable(old)
    newest = last_version(tx, dataset, "ready") or old
    if newest.digest == old.digest:
        raise Conflict(
            f"dataset {dataset} has the content of version {version} already, as version {newest.version}",
            field="version",
            value=version,
            rule="a version with another content",
        )
    checked = sql.list_checks(tx, dataset, version)
    if decided := _decided(tx, old, newest, [result for _, checks in checked for result in checks]):
        require_role(tx, Role.APPROVER, f"bring back rows that {decided[0]}")
    number, declared = next_number(tx, dataset), datasets.get(tx, dataset=dataset).spec
    # What a person released stays on record with the rows, though the versions that brought them are ancestors no more.
    released = [result for came, checks in checked if came != version for result in blocking(checks)]
    restored = msgspec.structs.replace(
        old,
        version=number,
        operation="replace",
        parent=newest.version,
        fragments=_as_own(old.fragments, number),
        checks=[*old.checks, *released],
        event_at=tx.now_us,
        recorded_at=tx.wall_us,
        reason=f"version {version} again: {reason}",
        spec=msgspec.structs.replace(old.spec or declared, personal=declared.personal),
        restored_from=version,
        restored_as="" if tx.role is None else tx.role.value,
    )
    sql.insert_version(tx, restored, number)
    ref = tx.ref("dataset", dataset, number)
    lineage.link(tx, ref, "version_of", tx.ref("dataset", dataset))
    lineage.link(tx, ref, "restored_from", tx.ref("dataset", dataset, version))
    emit_ready(tx, restored, restored.reason, rows_added=restored.rows)
    return restored


def _decided(tx: Tx, old: DatasetVersion, newest: DatasetVersion, checks: list[CheckResult]) -> list[str]:
    """Return why rows are an approver's to bring back, to follow "rows that"."""
    declared, whys = datasets.get(tx, dataset=old.dataset).spec, []
    specs = sql.list_specs(tx, old.dataset, old.version)
    if weaker := dict.fromkeys(rule.told for spec in specs for rule in loosened(declared, spec)):
        whys.append(f"were not held to today's rules ({first_few(weaker)})")
    if failed := dict.fromkeys(describe_check(result.check) for result in blocking(checks)):
        whys.append(f"failed a check: {first_few(failed)}")
    if other := _other_columns(old, newest):
        whys.append(f"have other columns than version {newest.version} ({first_few(other)})")
    if (left_by := _left_by(tx, old)) is not None:
        whys.append(f"an approver moved off: version {left_by} left them")
    return whys


def _other_columns(old: DatasetVersion, newest: DatasetVersion) -> list[str]:
    was, is_now = ({column.name: column.dtype for column in one.schema} for one in (old, newest))
    lost = [f"without {name}" for name in is_now if name not in was]
    more = [f"with {name}" for name in was if name not in is_now]
    # A column that never had a value has no dtype yet, so any is its own.
    alike = [name for name in was if name in is_now and "Null" not in (was[name], is_now[name])]
    return lost + more + [f"{name} is {was[name]}" for name in alike if was[name] != is_now[name]]


def _left_by(tx: Tx, old: DatasetVersion) -> int | None:
    """Return the restore by which an approver moved off this content; None if none did, or one came back to it since.

    Content is told by its digest, for editors may have given it further numbers.
    """
    for made in sql.list_restored(tx, old.dataset):
        if made.restored_as == Role.EDITOR.value or made.restored_from is None:
            continue
        if made.digest == old.digest:
            return None
        if sql.has_content(tx, old.dataset, old.digest, (made.restored_from + 1, made.version - 1)):
            return made.version
    return None


def _as_own(fragments: list[Fragment], version: int) -> list[Fragment]:
    """Return fragments as those that a version added itself; what corrects others names their new places."""
    places = {fragment.place: (version, ordinal) for ordinal, fragment in enumerate(fragments)}
    return [
        msgspec.structs.replace(
            fragment, place=places[fragment.place], targets=[places[target] for target in fragment.targets]
        )
        for fragment in fragments
    ]
