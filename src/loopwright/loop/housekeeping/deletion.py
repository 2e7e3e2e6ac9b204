"""Deleting things that are no longer wanted: refused while something living needs them, whole, and told.

In one transaction the rows that a thing is (and those of its parts) go and a tombstone takes their place, so that from
then on nobody sees it and everybody who follows its ref is told. What belonged to it goes at once where it is little,
else bit by bit by a job that works off the tombstones: a kill anywhere leaves the thing there or gone.
"""

from loopwright import data, monitoring
from loopwright.governance import require_role
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import Conflict, InvalidInput, NotFound, TooLarge
from loopwright.kernel.refs import Ref, parse_ref
from loopwright.kernel.verbs import Count, Role, query, verb
from loopwright.loop.attention import LASTING
from loopwright.loop.events import Deleted
from loopwright.loop.housekeeping import nouns
from loopwright.loop.housekeeping.dependents import find_holds
from loopwright.loop.housekeeping.nouns import NOUNS, Subject
from loopwright.loop.types import DeletionPlan, ForgetDeleted
from loopwright.store import jobs
from loopwright.store import sql as store_sql
from loopwright.store.forgetting import ROWS_AT_ONCE
from loopwright.store.tombstones import missing
from loopwright.store.tx import Tx
from loopwright.store.types import Tombstone

_THINGS_AT_ONCE = 500
_MOST_SHOWN = 20


@query("deletion.plan", role=Role.EDITOR)
def plan(tx: Tx, *, ref: str) -> DeletionPlan:
    """Return what would go with a thing, what needs it, and what was made of it; changes nothing.

    Raises:
        NotFound: It is not there.
        InvalidInput: Nothing of its kind can be deleted.
    """
    return _plan(tx, _find(tx, _read(tx, ref)))


@verb("deletion.delete", changes=Tombstone)
def delete(tx: Tx, *, ref: str, reason: str) -> Tombstone:
    """Delete a thing with its parts; deleting it again is once.

    Runs, experiments and executions are an editor's to delete, everything else an approver's. Events and lineage stay,
    and its name or number leads to a tombstone. Blobs that nothing names any more are freed as garbage.

    Args:
        tx: The open transaction.
        ref: Such as ``dataset:late``, ``model:late/3``, ``run:run_01…``, ``experiment:tuning``.
        reason: Why, in a sentence; everybody who follows the ref later reads it.

    Raises:
        Conflict: Something living needs it; ``details`` name all that does, each with how to let it go.
        PermissionDenied: The actor's role is too weak for this kind of thing.
        NotFound: It is not there, and never was.
    """
    if not reason.strip():
        raise InvalidInput("a deletion needs a reason", field="reason", rule="at least one word")
    target = _read(tx, ref)
    noun = NOUNS[nouns.noun_key(target)]
    require_role(tx, noun.role, f"delete a {noun.words}")
    subjects = nouns.find_subjects(tx, target)
    if not subjects and (left := store_sql.find_tombstone(tx, str(target))) is not None:
        return left
    subjects = subjects or _find(tx, target)
    planned = _plan(tx, subjects)
    if planned.holds:
        raise _needed(planned)
    tombstones = [_tombstone(tx, subject, reason) for subject in subjects]
    nouns.remove_subjects(tx, subjects)
    store_sql.put_tombstones(tx, tombstones)
    tx.emit(Deleted(planned.parts, planned.rows), planned.ref, reason=reason)
    _settle(tx, {str(subject.ref) for subject in subjects}, f"it was deleted: {reason}")
    if forget_rows(tx):
        tx.start_job(ForgetDeleted(), planned.ref)
    return tombstones[0]


def _settle(tx: Tx, refs: set[str], reason: str) -> None:
    """Answer what waits for a person about things that are gone: there is nothing left to mend."""
    for job in jobs.unanswered(tx, LASTING):
        if job.ref in refs:
            jobs.dismiss(tx, job_id=job.job_id, reason=reason)
    for incident in monitoring.live_incidents(tx):
        if incident.subject in refs:
            monitoring.resolve(tx, incident_id=incident.incident_id, reason=reason)


@query("deletion.list")
def list_tombstones(
    tx: Tx, *, kind: str | None = None, name: str | None = None, ref: str | None = None, limit: Count = 100
) -> list[Tombstone]:
    """Return what was deleted, newest first.

    Args:
        tx: The open transaction.
        kind: As in its ref, such as ``model``.
        name: Its name.
        ref: That thing alone.
        limit: At most 1,000.
    """
    if ref is not None:
        left = store_sql.find_tombstone(tx, str(parse_ref(ref, tx.project)))
        return [] if left is None else [left]
    return store_sql.list_tombstones(tx, kind=kind, name=name, limit=min(limit, 1000))


@verb("deletion.forget_rows", changes=Tombstone, internal=True, lasts="closed")
def forget_rows(tx: Tx) -> int:
    """Remove some rows that belonged to deleted things; return how many things have rows left, or may have."""
    left, done = ROWS_AT_ONCE, []
    waiting = store_sql.tombstones_with_rows(tx, _THINGS_AT_ONCE)
    for tombstone in waiting:
        named = Ref(tombstone.kind, tombstone.name, tombstone.version, tx.project)
        left -= nouns.remove_belongings(tx, named, tombstone.deleted_at, left)
        if left <= 0:
            break
        done.append(tombstone.ref)
    if done:
        store_sql.mark_forgotten(tx, done)
    return len(waiting) - len(done) + (len(waiting) == _THINGS_AT_ONCE)


def _read(tx: Tx, ref: str) -> Ref:
    target = nouns.read_target(parse_ref(ref, tx.project))
    if target.project != tx.project:
        raise InvalidInput("this belongs to another project", field="ref", value=ref, rule=f"of {tx.project}")
    return target


def _find(tx: Tx, target: Ref) -> list[Subject]:
    subjects = nouns.find_subjects(tx, target)
    if not subjects:
        words = NOUNS[nouns.noun_key(target)].words
        unknown = NotFound(f"there is no such {words}", field="ref", value=str(target))
        raise missing(tx, target.kind, target.name, target.version, unknown)
    if len(subjects) > nouns.MOST_PARTS:
        rule = f"at most {nouns.MOST_PARTS:,} at once"
        step = "delete some of its parts first"
        raise TooLarge("this has too many parts", field="ref", value=str(target), rule=rule, next_step=step)
    return subjects


def _plan(tx: Tx, subjects: list[Subject]) -> DeletionPlan:
    target, *parts = subjects
    holds, made_of_it = find_holds(tx, {str(subject.ref): subject.ref for subject in subjects})
    counts: dict[str, int] = {}
    for part in parts:
        counts[NOUNS[part.noun].words] = counts.get(NOUNS[part.noun].words, 0) + 1
    # Of much it is not counted what belongs to it: that would take longer than to remove it.
    rows = nouns.count_belongings(tx, subjects) if len(subjects) <= _THINGS_AT_ONCE else {}
    also_in = _also_in(tx, target.ref) if target.ref.kind == "dataset" else []
    return DeletionPlan(str(target.ref), counts, rows, holds, made_of_it[:_MOST_SHOWN], also_in)


def _also_in(tx: Tx, ref: Ref) -> list[str]:
    found = data.sharing(tx, dataset=ref.name, version=ref.version, limit=_MOST_SHOWN)
    return [tx.ref("dataset", name, number) for name, number in found]


def _needed(planned: DeletionPlan) -> Conflict:
    first = planned.holds[0]
    more = f", and {len(planned.holds) - 1} more" if len(planned.holds) > 1 else ""
    return Conflict(
        f"something needs this still: {first.why}{more}",
        field="ref",
        value=planned.ref,
        rule="what something living needs is not deleted",
        next_step=first.next_step,
        details={"holds": to_builtins(planned.holds)},
    )


def _tombstone(tx: Tx, subject: Subject, reason: str) -> Tombstone:
    ref = subject.ref
    facts = {name: subject.row[name] for name in NOUNS[subject.noun].facts}
    return Tombstone(str(ref), ref.kind, ref.name, ref.version, tx.wall_us, tx.actor, reason, facts)
