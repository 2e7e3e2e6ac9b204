"""Rows of every table as pages of bytes that are the same on SQLite and PostgreSQL.

A page holds rows in the order of the primary key. Rows that were written once (events, chunks, versions) make the same
pages in the next backup, so that only what is new is stored again; and either database can be set up from either's.
"""

import zlib
from collections.abc import Iterator
from typing import Any

import msgspec
from sqlalchemy import Connection, MetaData, Table, func, insert, select, text
from sqlalchemy.types import Integer

from loopwright.kernel.errors import Corrupt

PAGE_ROWS = 5_000
REVISIONS = "alembic_version"
OF_ITS_PROCESSES = {REVISIONS, "leases", "gateways", "low_disks", "sessions"}
"""Tables that say how a database stands and who lives on it here and now: what is restored begins them anew.

Sessions among them: who signed out since would be signed in again.
"""
_LEVEL = 6


class TableDump(msgspec.Struct, frozen=True):
    """One table of a backup: its columns, how many rows, and the digests of the pages that hold them, in order."""

    name: str
    columns: list[str]
    rows: int
    pages: list[str]


def tables_of(connection: Connection) -> list[Table]:
    """Return the tables that a backup holds, as they are in the database, those that others refer to first.

    They are read from the database and not from the code: a backup may be of a schema that this version migrates.
    Documents are text then, and travel letter by letter.
    """
    metadata = MetaData()
    metadata.reflect(connection)
    return [table for table in metadata.sorted_tables if table.name not in OF_ITS_PROCESSES]


def pages_of(connection: Connection, table: Table) -> Iterator[tuple[int, bytes]]:
    """Yield (rows, bytes) of each page of a table, read bit by bit on the connection's snapshot."""
    statement = select(table).order_by(*table.primary_key.columns).execution_options(yield_per=PAGE_ROWS)
    for rows in connection.execute(statement).partitions():
        yield len(rows), encode_page([list(row) for row in rows])


def encode_page(rows: list[list[Any]]) -> bytes:
    """Return rows as compressed MessagePack."""
    return zlib.compress(msgspec.msgpack.encode(rows), _LEVEL)


def decode_page(body: bytes, columns: list[str]) -> list[dict[str, Any]]:
    """Return the rows of a page by column.

    Raises:
        Corrupt: The bytes are no page, or one of another table.
    """
    try:
        rows = msgspec.msgpack.decode(zlib.decompress(body), type=list[list[Any]])
        return [dict(zip(columns, row, strict=True)) for row in rows]
    except (zlib.error, msgspec.DecodeError, msgspec.ValidationError, ValueError) as error:
        raise Corrupt(
            "a page of this backup cannot be read", value=str(error), next_step="use another backup"
        ) from None


def insert_page(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """Insert the rows of a page into an empty table."""
    if rows:
        connection.execute(insert(table), rows)


def set_counters(connection: Connection, tables: list[Table]) -> None:
    """Let PostgreSQL's growing keys go on after the rows that were inserted with theirs; SQLite does by itself."""
    if connection.dialect.name != "postgresql":
        return
    for table in tables:
        keys = [column for column in table.primary_key.columns if isinstance(column.type, Integer)]
        for key in keys if len(table.primary_key.columns) == 1 else ():
            name = text("SELECT pg_get_serial_sequence(:table, :key)").bindparams(table=table.name, key=key.name)
            sequence = connection.execute(name).scalar()
            newest = connection.execute(select(func.max(key))).scalar()
            if sequence and newest:
                connection.execute(text("SELECT setval(:name, :newest)"), {"name": sequence, "newest": newest})
