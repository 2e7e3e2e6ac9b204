"""How long rows of streams are kept, as somebody declared it, and what was removed because of that."""

from loopwright.kernel.clock import format_moment
from loopwright.kernel.verbs import query
from loopwright.store import sql
from loopwright.store.events import RetentionSet
from loopwright.store.keeping import Kind
from loopwright.store.tx import Tx
from loopwright.store.types import Removal, Retention

KEPT_HINT = "retention.list says how long rows are kept; windows and the audit trail tell of what was"
_STREAM_OF: dict[str, str] = {"pushes": "dataset", "points": "experiment"}


def save(tx: Tx, declared: Retention, reason: str) -> None:
    """Keep a declaration in place of the one before, and tell it."""
    sql.save_retention(tx, declared)
    kind, stream = declared.kind, declared.stream
    about = subject_of(tx, kind, stream) if stream else tx.ref("project", tx.project)
    tx.emit(RetentionSet(kind, stream, declared.keep_us), about, reason=reason)


def subject_of(tx: Tx, kind: str, stream: str) -> str:
    """Return the ref of what rows of a stream belong to."""
    return tx.ref(noun_of(kind), stream)


def noun_of(kind: str) -> str:
    """Return what rows of a kind belong to, as its refs begin."""
    return _STREAM_OF.get(kind, "deployment")


@query("retention.list")
def list_retentions(tx: Tx) -> list[Retention]:
    """Return what was declared, for each kind the whole project first."""
    return sql.list_retentions(tx)


@query("retention.removals")
def list_removals(tx: Tx, *, kind: Kind | None = None, stream: str | None = None) -> list[Removal]:
    """Return what was removed, newest first."""
    return sql.list_removals(tx, kind=kind, stream=stream)


def keep_of(declared: list[Retention], kind: str, stream: str) -> int | None:
    """Return how long rows of a stream are kept, microseconds; None for ever. Its own declaration counts first."""
    by_name = {(each.kind, each.stream): each.keep_us for each in declared}
    return by_name.get((kind, stream), by_name.get((kind, "")))


def tell_removal(removal: Removal) -> str:
    """Return a sentence about what was removed."""
    stretch = f"{format_moment(removal.start_at)} to {format_moment(removal.end_at)}"
    return (
        f"{removal.rows:,} {removal.kind} of {removal.stream}, {stretch}, "
        f"were removed by retention on {format_moment(removal.removed_at)}"
    )
