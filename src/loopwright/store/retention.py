"""How long rows of streams are kept, as somebody declared it, and what was removed because of that."""

from typing import Literal

from loopwright.kernel.clock import DAY_US, format_moment, parse_duration
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.verbs import Role, query, verb
from loopwright.store import sql
from loopwright.store.events import RetentionSet
from loopwright.store.tx import Tx
from loopwright.store.types import Removal, Retention

KEPT_HINT = "retention.list says how long rows are kept; windows and the audit trail tell of what was"
Kind = Literal["predictions", "labels", "pushes"]


@verb("retention.set", changes=Retention, role=Role.ADMIN)
def set_retention(tx: Tx, *, kind: Kind, keep: str, stream: str = "", reason: str = "") -> Retention:
    """Declare how long rows of a stream are kept, by event time; nothing is removed by saying so.

    Args:
        tx: The open transaction.
        kind: Which rows.
        keep: Such as ``90d``, one day at least; ``forever`` for an end of removing.
        stream: Deployment or dataset; empty for every stream of the kind that has no declaration of its own.
        reason: Why.

    Raises:
        InvalidInput: The time is no duration, or shorter than a day.
    """
    keep_us = None if keep == "forever" else parse_duration(keep, "keep")
    if keep_us is not None and keep_us < DAY_US:
        raise InvalidInput("rows are kept for a day at least", field="keep", value=keep, rule="1d or more, or forever")
    declared = Retention(kind, stream, keep_us)
    sql.save_retention(tx, declared)
    about = tx.ref("project", tx.project)
    if stream:
        about = tx.ref("dataset" if kind == "pushes" else "deployment", stream)
    tx.emit(RetentionSet(kind, stream, keep_us), about, reason=reason)
    return declared


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
