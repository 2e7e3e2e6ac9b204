"""How long rows are kept, as the project file says it: compared with what holds, and made so."""

from collections.abc import Sequence

from loopwright.governance import require_role
from loopwright.kernel.bounds import first_repeated
from loopwright.kernel.clock import format_duration
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.verbs import Role
from loopwright.loop.housekeeping.streams import require_stream
from loopwright.loop.types import PlannedChange, ProjectSpec
from loopwright.store import retention
from loopwright.store import sql as store_sql
from loopwright.store.keeping import check_declared
from loopwright.store.tx import Tx
from loopwright.store.types import Retention


def check(declared: Sequence[Retention]) -> None:
    """Let declarations pass that are each known, and once.

    Raises:
        InvalidInput: One is not.
    """
    for each in declared:
        check_declared(each, f"retentions.{_name(each)}")
    if repeated := first_repeated(_name(each) for each in declared):
        raise InvalidInput("this is declared twice", field="retentions", value=repeated)


def check_streams(tx: Tx, spec: ProjectSpec) -> None:
    """Let declarations pass whose stream is there, or is declared with them.

    An experiment may be named before its first run makes it: no declaration does.

    Raises:
        NotFound: There is no such deployment or dataset; suggests the nearest.
    """
    datasets, deployments = [each.name for each in spec.datasets], [each.name for each in spec.deployments]
    for each in spec.retentions:
        if each.stream and each.kind != "points":
            declared = datasets if each.kind == "pushes" else deployments
            require_stream(tx, each.kind, each.stream, f"retentions.{_name(each)}", declared)


def compare(tx: Tx, before: Sequence[Retention], after: Sequence[Retention]) -> list[PlannedChange]:
    """Return what applying declarations would change: against what holds, whoever said it, by file or by verb."""
    holds = _holding(tx)
    changes = []
    for each in after:
        ref = tx.ref("retention", _name(each))
        if _name(each) not in holds:
            changes.append(PlannedChange(ref, "new", [f"keeps {each.kind} {_tell(each)}, removes what is older"]))
        elif holds[_name(each)] == each:
            changes.append(PlannedChange(ref, "unaffected"))
        else:
            said = f"keep: {_tell(holds[_name(each)])} -> {_tell(each)}"
            changes.append(PlannedChange(ref, "changed", [said]))
    names = {_name(each) for each in after}
    for each in before:
        if _name(each) not in names and holds.get(_name(each)) == each and each.keep_us is not None:
            stream = f" stream={each.stream}" if each.stream else ""
            said = f"stays as it is (loopwright call retention.set kind={each.kind}{stream} keep=forever ends it)"
            changes.append(PlannedChange(tx.ref("retention", _name(each)), "undeclared", [said]))
    return changes


def make_so(tx: Tx, declared: Sequence[Retention]) -> None:
    """Keep declarations that differ from what holds.

    Raises:
        PermissionDenied: There is one, and the actor is no admin: rows that are removed do not come back.
    """
    holds = _holding(tx)
    fresh = [each for each in declared if holds.get(_name(each)) != each]
    if fresh:
        require_role(tx, Role.ADMIN, "change how long rows are kept")
    for each in fresh:
        retention.save(tx, each, "the project file says so")


def _holding(tx: Tx) -> dict[str, Retention]:
    return {_name(each): each for each in store_sql.list_retentions(tx)}


def _name(declared: Retention) -> str:
    return declared.kind if not declared.stream else f"{declared.kind}.{declared.stream}"


def _tell(declared: Retention) -> str:
    return "for ever" if declared.keep_us is None else format_duration(declared.keep_us)
