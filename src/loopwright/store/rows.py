"""Rows and structs: a struct's fields are columns of its table, beside the project, which leads every key.

One way in and one way out for every table of this kind, so that a field that joins a struct needs a column and nothing
else. Documents among the columns become the structs that the fields declare.
"""

from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from sqlalchemy import Row, Table

from loopwright.kernel.documents import convert

if TYPE_CHECKING:
    from loopwright.store.tx import Tx

S = TypeVar("S", bound=msgspec.Struct)


def row_of(tx: "Tx", table: Table, struct: msgspec.Struct, **columns: Any) -> dict[str, Any]:
    """Return the row of a struct in the transaction's project; fields without a column are left out.

    Args:
        tx: Says which project.
        table: Where the row goes.
        struct: What it holds.
        columns: Further columns, which are no fields.
    """
    values = {name: getattr(struct, name) for name in _columns_of(table, type(struct))}
    return {"project_id": tx.project, **values, **columns}


@cache
def _columns_of(table: Table, kind: type[msgspec.Struct]) -> tuple[str, ...]:
    return tuple(name for name in kind.__struct_fields__ if name in table.c)


def read_row(row: Row[Any], kind: type[S], **fields: Any) -> S:
    """Return the struct that a row holds; columns that are no fields are left out.

    Args:
        row: Of one table, or of a query with the struct's names.
        kind: The struct.
        fields: Fields that other tables hold.
    """
    # SQLAlchemy's quoted names are a subclass of str that msgspec does not take for one.
    values = {str(name): value for name, value in row._mapping.items()}
    return convert({**values, **fields}, kind, kind.__name__)
