"""Batches: rows that go to a stream together, one list a column, and the address of the stream."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import msgspec

from loopwright.store.streams import Stream as Declared


class Layout(msgspec.Struct, frozen=True):
    """What a batch's columns are: names with dtypes (``i64 f64 str bool time``), and values that hold for every row."""

    columns: tuple[tuple[str, str], ...]
    constants: tuple[tuple[str, str, Any], ...] = ()

    @property
    def names(self) -> list[str]:
        """The names of all columns, those of values for every row among them."""
        return [name for name, *_ in (*self.columns, *self.constants)]

    @classmethod
    def of(
        cls, stream: Declared, constants: Mapping[str, Any] | None = None, further: Iterable[tuple[str, str]] = ()
    ) -> Self:
        """Return the layout of rows of a declared stream.

        Args:
            stream: What its rows have in common.
            constants: Values of some of its columns that hold for every row.
            further: Names and dtypes of the columns beside.
        """
        fixed = constants or {}
        return cls(
            (*(item for item in stream.dtypes() if item[0] not in fixed), *further),
            tuple((name, dtype, fixed[name]) for name, dtype in stream.dtypes(fixed)),
        )


class Batch(NamedTuple):
    """Rows that are spooled together: one list a column, all of one length."""

    layout: Layout
    rows: int
    columns: list[list[Any]]

    @classmethod
    def of(cls, layout: Layout, rows: int, named: Mapping[str, list[Any]], further: Sequence[list[Any]] = ()) -> Self:
        """Return rows whose stream's columns are given by name; those beside follow in the layout's order.

        Raises:
            KeyError: A column of the stream was not given.
        """
        columns = [named[name] for name, _ in layout.columns[: len(layout.columns) - len(further)]]
        return cls(layout, rows, [*columns, *further])


class StreamKey(NamedTuple):
    """Address of one stream."""

    project: str
    kind: str
    stream: str
