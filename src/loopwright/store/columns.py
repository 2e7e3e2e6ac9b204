"""Column types that behave alike on SQLite and PostgreSQL."""

from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, Integer, MetaData, Text
from sqlalchemy import Table as Table
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from loopwright.kernel.documents import to_json

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
"""Every room's tables; the migrations are checked against it."""


class Json(TypeDecorator[Any]):
    """A document as canonical JSON text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Encode on the way in."""
        return None if value is None else to_json(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Decode on the way out."""
        return None if value is None else msgspec.json.decode(value)


class AnyJson(Json):
    """A JSON value that may be null, where no value is something else."""

    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:
        """Encode on the way in."""
        return to_json(value).decode()


Number = BigInteger().with_variant(Integer, "sqlite")
"""A whole number of 64 bits."""

Serial = Number
"""A growing 64-bit key."""

SortedText = Text().with_variant(Text(collation="C"), "postgresql")
"""Text that is compared letter by letter whatever the server's locale, as SQLite and Python do."""

Moment = BigInteger
"""Microseconds since the epoch, UTC."""


def project_key() -> Column[str]:
    """Return the column that leads the key of every table: the project's name, which is never reused."""
    return Column("project_id", Text, primary_key=True, nullable=False)
