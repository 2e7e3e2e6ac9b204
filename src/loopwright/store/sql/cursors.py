"""Statements of stream cursors: how far somebody read who takes each row of a stream once."""

from typing import TYPE_CHECKING

from sqlalchemy import Connection, bindparam, delete, select

from loopwright.store.rows import read_row, row_of
from loopwright.store.sql.rows import upsert
from loopwright.store.statements import Statement
from loopwright.store.tables import stream_cursors
from loopwright.store.types import StreamCursor

if TYPE_CHECKING:
    from loopwright.store.tx import Tx

_find = Statement(
    select(stream_cursors).where(
        stream_cursors.c.project_id == bindparam("of_project"),
        stream_cursors.c.kind == bindparam("of_kind"),
        stream_cursors.c.stream == bindparam("of_stream"),
    )
)


def find_cursor(connection: Connection, project: str, kind: str, stream: str) -> StreamCursor | None:
    """Return how far a stream was read; None where nobody takes its rows."""
    row = _find.first(connection, of_project=project, of_kind=kind, of_stream=stream)
    return None if row is None else read_row(row, StreamCursor)


def delete_cursor(tx: "Tx", kind: str, stream: str) -> None:
    """Forget how far a stream was read: nobody takes its rows any more."""
    of = stream_cursors.c.kind == kind, stream_cursors.c.stream == stream
    tx.execute(delete(stream_cursors).where(stream_cursors.c.project_id == tx.project, *of))


def save_cursor(tx: "Tx", cursor: StreamCursor) -> None:
    """Keep how far a stream was read."""
    row = row_of(tx, stream_cursors, cursor)
    upsert(tx.connection, stream_cursors, [row], key=("project_id", "kind", "stream"), do_update=True)
