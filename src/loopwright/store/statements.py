"""Statements that are built once: Core writes the SQL for each database, the driver runs it.

SQLAlchemy needs longer to build, look up and wrap a small statement than SQLite needs to run it. What every call asks
is therefore compiled when it is first asked, and from then on goes to the driver as text, with the same types on the
way in and out. What is asked seldom, or differs from call to call, is run by ``Connection.execute`` as ever.
"""

from collections import namedtuple
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection, exc
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.expression import ClauseElement

Values = Mapping[str, Any]
_Process = Callable[[Any], Any]


class Statement:
    """A statement with named parameters, which takes their values by keyword or as one row after another.

    Args:
        core: What is asked, with ``bindparam`` for what differs from call to call. An insert takes whole rows.
        columns: The columns that the rows of an insert give.
    """

    def __init__(self, core: ClauseElement, columns: Iterable[str] | None = None) -> None:
        self._core = core
        self._columns = None if columns is None else list(columns)
        self._compiled: dict[str, _Compiled] = {}

    def all(self, connection: Connection, /, **values: Any) -> list[Any]:
        """Return every row, as named tuples."""
        compiled, cursor = self._execute(connection, values)
        return compiled.rows(cursor, _fetch(connection, compiled.text, cursor.fetchall))

    def first(self, connection: Connection, /, **values: Any) -> Any:
        """Return the first row, as a named tuple; None where there is none."""
        compiled, cursor = self._execute(connection, values)
        row = _fetch(connection, compiled.text, cursor.fetchone)
        return None if row is None else compiled.rows(cursor, (row,))[0]

    def scalar(self, connection: Connection, /, **values: Any) -> Any:
        """Return the first value of the first row; None where there is none."""
        row = self.first(connection, **values)
        return None if row is None else row[0]

    def run(self, connection: Connection, /, **values: Any) -> int:
        """Change rows; return how many changed."""
        return int(self._execute(connection, values)[1].rowcount)

    def run_each(self, connection: Connection, rows: Sequence[Values]) -> int:
        """Change rows once for each set of values; return how many changed."""
        if len(rows) == 1:
            return int(self._execute(connection, rows[0])[1].rowcount)
        compiled = self._compile(connection.dialect)
        return int(_ask(connection, compiled.text, [compiled.bind(row) for row in rows], is_many=True).rowcount)

    def _execute(self, connection: Connection, values: Values) -> tuple["_Compiled", Any]:
        compiled = self._compile(connection.dialect)
        return compiled, _ask(connection, compiled.text, compiled.bind(values), is_many=False)

    def _compile(self, dialect: Dialect) -> "_Compiled":
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._compiled[dialect.name] = _Compiled(self._core, self._columns, dialect)
        return compiled


class _Compiled:
    """A statement in the words of one database: its text, how values go in and how they come out."""

    def __init__(self, core: ClauseElement, columns: list[str] | None, dialect: Dialect) -> None:
        compiled: Any = core.compile(dialect=dialect, column_keys=columns, for_executemany=True)
        self.text = str(compiled)
        self._fixed = {name: value for name, value in compiled.params.items() if value is not None}
        self._names: list[str] = list(compiled.positiontup or compiled.params)
        processors = [compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect) for name in self._names]
        self._processors = list(zip(self._names, processors, strict=True))
        self._is_positional = bool(dialect.positional)
        # Most values go as they are: then one call in C takes them out of the mapping.
        is_plain = self._is_positional and len(self._names) > 1 and not any(processors) and not self._fixed
        self._take: Callable[[Values], Any] | None = itemgetter(*self._names) if is_plain else None
        self._dialect = dialect
        self._results: list[Any] = list(compiled._result_columns)
        self._row = _row_of([entry[0] for entry in self._results])
        self._out: list[tuple[int, _Process]] | None = None

    def bind(self, values: Values) -> Any:
        """Return the values as the driver takes them."""
        if self._take is not None:
            return self._take(values)
        given = {**self._fixed, **values} if self._fixed else values
        bound = [given[name] if process is None else process(given[name]) for name, process in self._processors]
        return bound if self._is_positional else dict(zip(self._names, bound, strict=True))

    def rows(self, cursor: Any, found: Iterable[tuple[Any, ...]]) -> list[Any]:
        """Return what the driver found, with names and our types."""
        make = self._row._make
        if self._out is None:
            self._out = list(self._processors_of(cursor.description))
        if not self._out:
            return [make(row) for row in found]
        rows = []
        for row in found:
            values = list(row)
            for place, process in self._out:
                values[place] = process(values[place])
            rows.append(make(values))
        return rows

    def _processors_of(self, description: Any) -> Iterator[tuple[int, _Process]]:
        """Yield place and function of each column whose values do not come as our types from the driver."""
        for index, entry in enumerate(self._results):
            process = entry[3].dialect_impl(self._dialect).result_processor(self._dialect, description[index][1])
            if process is not None:
                yield index, process


def _row_of(names: list[str]) -> Any:
    """Return the kind of named tuples that a statement answers with; they look like SQLAlchemy's rows."""
    make_class: Any = namedtuple
    named = make_class("Row", names, rename=True)
    return type("Row", (named,), {"__slots__": (), "_mapping": property(named._asdict)})


def run_text(connection: Connection, text: str) -> None:
    """Run a text without parameters by the driver, such as the begin of a transaction."""
    _ask(connection, text, (), is_many=False)


def _ask(connection: Connection, text: str, values: Any, *, is_many: bool) -> Any:
    """Run a text by the driver; its errors are those that SQLAlchemy makes of them."""
    dialect: Any = connection.dialect
    if dialect.name != "sqlite" and not connection.in_transaction():
        connection.begin()  # what the driver begins by itself must end where SQLAlchemy's own would
    driver: Any = connection.connection.dbapi_connection
    try:
        if not is_many:
            return driver.execute(text, values)
        cursor = driver.cursor()
        cursor.executemany(text, values)
        return cursor
    except dialect.dbapi.Error as error:
        raise _as_core(connection, text, values, error) from error


def _fetch(connection: Connection, text: str, fetch: Callable[[], Any]) -> Any:
    """Take rows from the driver: SQLite works while they are taken, so that much of what can go wrong does so here."""
    dialect: Any = connection.dialect
    try:
        return fetch()
    except dialect.dbapi.Error as error:
        raise _as_core(connection, text, (), error) from error


def _as_core(connection: Connection, text: str, values: Any, error: Any) -> Exception:
    """Return the error that SQLAlchemy makes of one of the driver."""
    dialect: Any = connection.dialect
    is_lost = dialect.is_disconnect(error, connection.connection.dbapi_connection, None)
    if is_lost:
        connection.invalidate(error)
    told: Exception = exc.DBAPIError.instance(
        text, values, error, dialect.dbapi.Error, connection_invalidated=is_lost, dialect=dialect
    )
    return told
