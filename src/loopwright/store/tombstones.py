"""What is said of a thing that was deleted, to whoever asks for it by its name or number, or has rows of it still."""

from loopwright.kernel.clock import SECOND_US, format_moment
from loopwright.kernel.errors import NotFound
from loopwright.kernel.ids import least_id
from loopwright.store import forgetting, sql
from loopwright.store.tx import Tx
from loopwright.store.types import StoredChunk, Tombstone


def tell_tombstone(left: Tombstone) -> str:
    """Return a sentence: what was deleted, when, by whom and why."""
    what = left.kind.replace("_", " ")
    number = "" if left.version is None else f" version {left.version}"
    at = format_moment(left.deleted_at - left.deleted_at % SECOND_US)
    return f"{what} {left.name}{number} was deleted at {at} by {left.deleted_by}: {left.reason}"


def missing(tx: Tx, kind: str, name: str, version: int | None, otherwise: NotFound) -> NotFound:
    """Return the error of a thing that is not there: that it was deleted, or else the given one.

    Args:
        tx: Says in which project.
        kind: Of its ref.
        name: Its name.
        version: Its number, for a thing that has some; one of a deleted whole was deleted with it.
        otherwise: What is said of a thing that never was.
    """
    left = sql.find_tombstone(tx, tx.ref(kind, name, version))
    if left is None and version is not None:
        left = sql.find_tombstone(tx, tx.ref(kind, name))
    if left is None:
        return otherwise
    return NotFound(
        tell_tombstone(left),
        field=otherwise.field or kind,
        value=left.ref,
        next_step=f"loopwright call deletion.list kind={kind} lists what was deleted",
        details={"deleted": True},
    )


def refuse_rows_of_deleted_dataset(tx: Tx, stored: StoredChunk) -> None:
    """Let pushed rows pass whose dataset is there, and was when they came: their ids say when that was.

    Raises:
        NotFound: The dataset was deleted, before or after it was pushed to. Where it was declared anew and some of the
            rows came later, ``details.first_kept`` is the least id of those: they may be sent alone.
    """
    left = sql.find_tombstone(tx, tx.ref("dataset", stored.stream))
    if left is None:
        return
    first_kept = least_id("push", left.deleted_at + 1000)
    is_there = bool(forgetting.find_matching(tx, "datasets", {"name": stored.stream}, limit=1))
    if is_there and stored.id_first >= first_kept:
        return
    rest = {"first_kept": first_kept} if is_there and stored.id_last >= first_kept else {}
    raise gone(tell_tombstone(left), field="stream", value=stored.stream, **rest)


def gone(message: str, *, field: str, value: str, **details: str) -> NotFound:
    """Return the error of rows whose place was deleted: whoever holds them lets go of them.

    Args:
        message: What was deleted, and when.
        field: Which field of the call names it.
        value: Its name.
        details: Further facts.
    """
    step = "let go of these rows: they were to go with it"
    return NotFound(message, field=field, value=value, next_step=step, details={"deleted": True, **details})
