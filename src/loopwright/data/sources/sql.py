"""Rows of a database: one query in a transaction that only reads, its rows written down some at a time.

How large a row is and how long the first is waited for say those who write the query, and no driver can be told to
stop: so a child process of the worker asks, which may be ended.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
from sqlalchemy import URL, Connection, Executable, TextClause, column, create_engine, exc, make_url, select, text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.pool import NullPool
from sqlalchemy.sql.compiler import SQLCompiler

from loopwright.data.types import SourceSpec
from loopwright.kernel.errors import InvalidInput, TooLarge, Unavailable

FIRST_ROWS, ROWS_AT_ONCE, BYTES_AT_ONCE = 500, 50_000, 32 << 20
"""Rows that are asked for first, rows that are held at once at most, and about how many bytes they may take."""
MOST_BYTES = 16 << 30
"""What all rows of an import may take; they have to fit into memory in the end."""
_CONNECT_S = 10
_EXACT = 2**53
"""Larger whole numbers would be rounded among decimals."""
_HELD = (
    *(pl.Boolean, pl.String, pl.Null, pl.Decimal, pl.Date, pl.Time, pl.Datetime, pl.Float64, pl.Float32),
    *(pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Int128, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64),
)
"""Dtypes that columns of datasets have."""
_READING: dict[str, dict[str, Any]] = {
    "postgresql": {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
    "mysql": {"isolation_level": "REPEATABLE READ"},
    "mariadb": {"isolation_level": "REPEATABLE READ"},
}
_FIRST: dict[str, str] = {
    "sqlite": "PRAGMA query_only=ON",
    "mysql": "SET SESSION TRANSACTION READ ONLY",
    "mariadb": "SET SESSION TRANSACTION READ ONLY",
}
"""What is said first, so that nothing is written."""


def place_of(url: str) -> tuple[str, Path | None]:
    """Return an address that is right in every folder, and the database where it is a file of this machine.

    Raises:
        InvalidInput: It is no address.
    """
    parsed = _parsed(url)
    if parsed.host or not parsed.database or not Path(parsed.database).is_file():
        return url, None
    file = Path(parsed.database).resolve()
    return parsed.set(database=str(file)).render_as_string(hide_password=False), file


def ask(out: Path, scratch: Path, files: Mapping[str, Path], *, url: str, source: dict[str, Any], folder: str) -> None:
    """Write what ``fetch`` returns, in a child process of a worker; ``files`` may hold one value as ``since``."""
    del out, scratch
    since = pl.read_parquet(files["since"], glob=False).item() if "since" in files else None
    fetch(url, msgspec.convert(source, SourceSpec), since, Path(folder))


def fetch(url: str, spec: SourceSpec, since: Any, folder: Path) -> list[Path]:
    """Return Parquet files with the rows of a query, written into an empty folder; at least one, which may be empty.

    Args:
        url: Of the database.
        spec: The declaration.
        since: Only rows whose watermark is not below; None for all.
        folder: Where to write.

    Raises:
        InvalidInput: The database refuses the query, or knows a value that no dataset can hold.
        Unavailable: It cannot be reached, or went away.
    """
    with _telling(spec), _reading(url) as connection, closing(connection.execute(_asked(spec, since))) as result:
        names = list(result.keys())
        _refuse_twice(names)
        files: list[Path] = []
        most, size_bytes = min(FIRST_ROWS, ROWS_AT_ONCE), 0
        while (rows := result.fetchmany(most)) or not files:
            frame = _frame(names, rows)
            files.append(folder / f"{len(files):06}.parquet")
            frame.write_parquet(files[-1], compression="zstd", compression_level=1)
            taken = int(frame.estimated_size())
            if (size_bytes := size_bytes + taken) > MOST_BYTES:
                raise _too_much(spec)
            most = max(1, min(ROWS_AT_ONCE, 4 * most, BYTES_AT_ONCE * max(1, len(rows)) // max(1, taken)))
    _agree(files)
    return files


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except (exc.ArgumentError, ValueError):
        rule = "scheme://user:password@host:port/name; what is no letter of a password is written as %40 and such"
        raise InvalidInput("this is no address of a database", field="LOOPWRIGHT_SOURCES", rule=rule) from None


@contextmanager
def _reading(url: str) -> Iterator[Connection]:
    parsed = _parsed(url)
    kind = parsed.get_backend_name()
    arguments: dict[str, Any] = {"connect_timeout": _CONNECT_S} if kind in ("postgresql", "mysql", "mariadb") else {}
    if kind == "postgresql" and parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    engine = create_engine(parsed, poolclass=NullPool, connect_args=arguments)
    options = {"stream_results": True, "max_row_buffer": 1_000, **_READING.get(kind, {})}
    try:
        with engine.connect().execution_options(**options) as connection:
            if first := _FIRST.get(kind):
                connection.exec_driver_sql(first)
            yield connection
    finally:
        engine.dispose()


@contextmanager
def _telling(spec: SourceSpec) -> Iterator[None]:
    """Make errors of what a database says: of its words, which may quote rows, the first line."""
    try:
        yield
    except (exc.OperationalError, exc.InterfaceError) as error:
        if error.statement is not None and not error.connection_invalidated:
            raise _refused(spec, error) from None
        step = "see that it is up, and that the worker reaches it"
        raise Unavailable(
            f"database {spec.location} does not answer, or went away: {_words(error)}", field="source", next_step=step
        ) from None
    except exc.NoSuchModuleError as error:
        step = "install its SQLAlchemy driver where the worker runs"
        raise InvalidInput(str(error), field="source.database", value=spec.location, next_step=step) from None
    except (exc.SQLAlchemyError, ImportError) as error:
        raise _refused(spec, error) from None


def _refused(spec: SourceSpec, error: BaseException) -> InvalidInput:
    return InvalidInput(
        f"database {spec.location} refuses this query: {_words(error)}",
        field="source.query",
        value=spec.query[:200],
        next_step="ask it yourself: its client tells more",
    )


def _too_much(spec: SourceSpec) -> TooLarge:
    return TooLarge(
        f"database {spec.location} has more rows for this query than one import takes",
        field="source.query",
        value=spec.query[:200],
        rule=f"{MOST_BYTES >> 30} GB",
        next_step="ask for fewer columns, or for fewer rows by a watermark",
    )


def _words(error: BaseException) -> str:
    said = str(getattr(error, "orig", None) or error).strip().splitlines()
    return (said[0] if said else type(error).__name__)[:300]


def _asked(spec: SourceSpec, since: Any) -> Executable:
    if since is None:
        return _Verbatim(spec.query)
    asked = select(text("*")).select_from(_Verbatim(f"({spec.query}\n) AS asked"))
    return asked.where(column(spec.watermark) >= since)


class _Verbatim(TextClause):
    """Words that reach the database as they are: a colon is no parameter in them, and a backslash escapes none."""

    inherit_cache = False

    def __init__(self, words: str) -> None:
        super().__init__("")
        self.text = words


@compiles(_Verbatim)
def _write(words: _Verbatim, compiler: SQLCompiler, **_: Any) -> str:
    compiler.isplaintext = not compiler.stack  # what it returns is for the database to name
    return words.text.replace("%", "%%") if compiler.preparer._double_percents else words.text


def _refuse_twice(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            step = f"name one of them otherwise: {name} AS ..."
            raise InvalidInput(
                f"the query returns {name} twice",
                field="source.query",
                value=name,
                rule="each column once",
                next_step=step,
            )


def _frame(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> pl.DataFrame:
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    return pl.DataFrame([_series(name, values) for name, values in zip(names, columns, strict=True)])


def _series(name: str, values: Sequence[Any]) -> pl.Series:
    kinds = {type(value) for value in values} - {type(None)}
    if kinds <= {uuid.UUID}:
        return pl.Series(
            name, [None if value is None else str(value) for value in values], pl.String if kinds else pl.Null
        )
    if kinds == {Decimal, int}:
        values = [value if value is None else Decimal(value) for value in values]
    elif kinds in ({float, int}, {float, Decimal}):
        if any(isinstance(value, int) and abs(value) > _EXACT for value in values):
            raise _unknown(name, kinds)
        return pl.Series(name, [None if value is None else float(value) for value in values], pl.Float64)
    try:
        column = pl.Series(name, values, strict=True)
    except BaseException as error:
        if isinstance(error, (KeyboardInterrupt, SystemExit, MemoryError)):
            raise
        raise _unknown(name, kinds) from None
    if column.dtype.is_nested() or not isinstance(column.dtype, _HELD):
        raise _unknown(name, kinds)
    return column


def _unknown(name: str, kinds: set[type]) -> InvalidInput:
    return InvalidInput(
        f"column {name} holds what no dataset does",
        field="source.query",
        value=", ".join(sorted(kind.__name__ for kind in kinds)),
        rule="numbers, texts, truths, days or moments, of one kind",
        next_step=f"have the database make one of it: CAST({name} AS ...)",
    )


def _agree(files: Sequence[Path]) -> None:
    """Write numbers with as many decimals in all files, where a database tells them with each number."""
    schemas = [pl.read_parquet_schema(file) for file in files]
    widest: dict[str, int] = {}
    for schema in schemas:
        for name, dtype in schema.items():
            if isinstance(dtype, pl.Decimal):
                widest[name] = max(widest.get(name, 0), dtype.scale)
    for file, schema in zip(files, schemas, strict=True):
        moved = {name: pl.Decimal(38, scale) for name, scale in widest.items() if schema[name] != pl.Decimal(38, scale)}
        if moved:
            pl.read_parquet(file).cast({n: d for n, d in moved.items() if schema[n] != pl.Null}).write_parquet(file)
