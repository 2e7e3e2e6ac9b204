"""Declarations of sources: constructors as users write them, and the rules that each must meet."""

import codecs
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from loopwright.data.dtypes import parse_dtype
from loopwright.data.types import Dialect, SourceSpec
from loopwright.kernel.clock import parse_duration
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.plugins import add_built_in, plugin_names
from loopwright.kernel.refs import check_name

SOURCES = "sources"
"""Plugin kind of the readers of files: taken from here by whoever asks for one, so that the platform's are known."""
add_built_in(
    SOURCES,
    {
        "parquet": "loopwright.data.sources.parquet:ParquetFiles",
        "csv": "loopwright.data.sources.csv:CsvFiles",
        "jsonl": "loopwright.data.sources.jsonl:JsonLines",
        "arrow": "loopwright.data.sources.arrow:ArrowFiles",
        "excel": "loopwright.data.sources.excel:Workbooks",
    },
)


_DECLARABLE = re.compile(
    r"U?Int(8|16|32|64)|Float(32|64)|Boolean|String|Date|Time|Datetime\(us(, UTC)?\)|Decimal\(([12]?\d|3[0-8]), \d+\)"
)
EVERY_PROJECT = "*"
"""In the operator's list of sources: what follows is for all of them."""
_LONGEST_TOPIC = 200
_LONGEST_QUERY = 20_000
_MOST_SKIPPED = 10_000
"""Lines before a header."""
_PROBE = f'id,x\n{"1" * 100},"2 3"\r\n'
"""What each encoding of a table can hold."""


def parquet(path: str | Path, zone: str | None = None) -> SourceSpec:
    """Return a source of Parquet: a file, a folder (every ``*.parquet`` below it) or a glob.

    Folders named ``column=value`` tell a column, and files may lack columns that others have.

    Args:
        path: Where it is, from the folder of the project file.
        zone: Time zone of moments that are stored without one, such as ``UTC``.
    """
    return check_source(SourceSpec("parquet", str(path), zone))


def csv(
    path: str | Path,
    zone: str | None = None,
    *,
    separator: str = ",",
    quote: str = '"',
    encoding: str = "",
    decimal: str = ".",
    thousands: str = "",
    missing: Sequence[str] | None = None,
    columns: Sequence[str] = (),
    skip: int = 0,
    comment: str = "",
    dates: str = "",
    moments: str = "",
    short_lines: Literal["refuse", "fill"] = "refuse",
    types: Mapping[str, str] | None = None,
) -> SourceSpec:
    """Return a source of CSV: a file, a folder (every ``*.csv``, ``*.tsv``, ``*.csv.gz`` and such below it) or a glob.

    A column's type is that which all values of all files fit; codes that begin with noughts stay texts. An append reads
    its columns as they were read before.

    Args:
        path: Where it is.
        zone: Time zone of moments that are written without one, such as ``Europe/Berlin``.
        separator: Between fields.
        quote: Around fields that hold a separator; empty where it means nothing.
        encoding: Such as ``cp1252``; empty for UTF-8, or UTF-16 where a byte order mark says so.
        decimal: Before decimals, ``.`` or ``,``.
        thousands: Between groups of three digits.
        missing: Words for no value, in every column. Left out: the empty one, and ``NA``, ``null``, ``-`` and such in
            columns that are numbers, moments or truths without them.
        columns: Names of the columns, where the file has no header line.
        skip: How many lines come before the header.
        comment: What lines begin with that are left out.
        dates: How days are written beside ISO 8601, in the letters of ``strptime``, such as ``%d/%m/%Y``.
        moments: How moments are, such as ``%d.%m.%Y %H:%M``.
        short_lines: A line with too few fields is refused; ``fill`` takes what is not there as missing.
        types: Dtypes of columns, such as ``{"zip": "String", "day": "Date"}``.
    """
    dialect = Dialect(
        separator,
        quote,
        encoding,
        decimal,
        thousands,
        None if missing is None else list(missing),
        list(columns),
        skip,
        comment,
        dates,
        moments,
        short_lines,
    )
    return check_source(SourceSpec("csv", str(path), zone, dialect, dict(types or {})))


def jsonl(path: str | Path, zone: str | None = None, *, types: Mapping[str, str] | None = None) -> SourceSpec:
    """Return a source of JSON lines, one object a line: a file, a folder (every ``*.jsonl`` below it) or a glob."""
    return check_source(SourceSpec("jsonl", str(path), zone, types=dict(types or {})))


def arrow(path: str | Path, zone: str | None = None) -> SourceSpec:
    """Return a source of Arrow files (Feather version 2): a file, a folder (every ``*.arrow`` below it) or a glob."""
    return check_source(SourceSpec("arrow", str(path), zone))


def excel(
    path: str | Path, zone: str | None = None, *, sheet: str = "", types: Mapping[str, str] | None = None
) -> SourceSpec:
    """Return a source of workbooks (``.xlsx``, ``.xls``, ``.ods``): one sheet of each, the first if none is named.

    Needs the extra ``excel`` where the worker runs.
    """
    return check_source(SourceSpec("excel", str(path), zone, types=dict(types or {}), sheet=sheet))


def push(zone: str | None = None) -> SourceSpec:
    """Return a source whose rows other programs send."""
    return check_source(SourceSpec("push", "", zone))


def frame(zone: str | None = None) -> SourceSpec:
    """Return a source whose rows come from data frames in the caller's own process."""
    return check_source(SourceSpec("frame", "", zone))


def sql(
    query: str,
    database: str,
    zone: str | None = None,
    *,
    watermark: str = "",
    overlap: str | int = 0,
) -> SourceSpec:
    """Return a source that asks a database.

    With a ``watermark`` an import brings what changed since the last one: of rows that are there already it takes the
    place. Without one each import is all there is now.

    Args:
        query: One ``SELECT``; it runs in a transaction that only reads.
        database: The name under which the operator told workers of it (``LOOPWRIGHT_SOURCES``).
        zone: Time zone of moments that are stored without one.
        watermark: The column that grows with each change of a row: a moment or a number, of the query and the dataset.
        overlap: How much is asked for again, for rows that were committed late: ``10m``, or a number.
    """
    overlap_us = overlap if isinstance(overlap, int) else parse_duration(overlap, "overlap")
    return check_source(
        SourceSpec("sql", database, zone, query=query.strip().rstrip(";"), watermark=watermark, overlap_us=overlap_us)
    )


def topic(broker: str, name: str, zone: str | None = None, *, arrived: str = "") -> SourceSpec:
    """Return a source whose rows come from a topic of a broker: gateways read it and push them.

    Each message is a JSON object with the columns of one row. What comes becomes a version every hour.

    Args:
        broker: The name under which the operator told gateways of it (``LOOPWRIGHT_SOURCES``).
        name: The stream of a Redis, subject of a NATS JetStream or topic of a Kafka.
        zone: Time zone of moments that are written without one.
        arrived: A column that is filled in with the moment at which the broker took the message: say
            ``known_at={"delay": "arrived_at"}`` of what is known no sooner.
    """
    return check_source(SourceSpec("topic", f"{broker}/{name}", zone, arrived=arrived))


def address_of(addresses: Mapping[tuple[str, str], str], project: str, name: str) -> str | None:
    """Return the address of what the operator named for a project, or for every one; None where nobody did."""
    return addresses.get((project, name)) or addresses.get((EVERY_PROJECT, name))


def check_source(source: SourceSpec) -> SourceSpec:
    """Return a source if it can be used.

    Raises:
        InvalidInput: A file source without a place, or an unknown time zone.
    """
    if source.kind == "topic":
        _check_topic(source)
    elif source.kind == "sql":
        _check_query(source)
    elif not source.is_sent:
        _check_files(source)
    if source.zone is not None:
        try:
            ZoneInfo(source.zone)
        except (KeyError, ValueError, OSError):
            rule = "an IANA name such as UTC or America/New_York"
            raise InvalidInput(
                "no time zone has this name", field="source.zone", value=source.zone, rule=rule
            ) from None
    return source


def _check_topic(source: SourceSpec) -> None:
    broker, _, name = source.location.partition("/")
    check_name(broker, "source.broker")
    if not name or len(name) > _LONGEST_TOPIC or not name.isprintable() or " " in name:
        rule = f"1 to {_LONGEST_TOPIC} printable letters, no blank among them"
        raise InvalidInput("no topic can be named so", field="source.name", value=name[:_LONGEST_TOPIC], rule=rule)


def _check_query(source: SourceSpec) -> None:
    check_name(source.location, "source.database")
    if len(source.query) > _LONGEST_QUERY or _first_word(source.query) not in ("select", "with"):
        rule = f"one SELECT, or WITH ... SELECT, of at most {_LONGEST_QUERY:,} letters"
        raise InvalidInput("this asks for no rows", field="source.query", value=source.query[:200], rule=rule)
    if source.overlap_us < 0:
        raise InvalidInput("this is no overlap", field="source.overlap", value=source.overlap_us, rule="0 or more")


def _first_word(query: str) -> str:
    """Return the first word of a query behind its comments, in small letters."""
    rest = query.lstrip()
    while rest.startswith(("--", "/*")):
        end = "\n" if rest.startswith("--") else "*/"
        rest = rest.partition(end)[2].lstrip()
    return rest[:10].split("(")[0].split(None, 1)[0].lower() if rest else ""


def _check_files(source: SourceSpec) -> None:
    """Refuse a source of files whose declaration cannot be meant."""
    if source.kind not in plugin_names(SOURCES):
        rule = f"one of {', '.join([*plugin_names(SOURCES), 'push', 'frame', 'sql', 'topic'])}"
        raise InvalidInput("there is no such kind of source", field="source.kind", value=source.kind, rule=rule)
    if not source.location.strip():
        raise InvalidInput(
            f"a {source.kind} source needs a path", field="source.location", rule="a file, folder or glob"
        )
    for name, text in source.types.items():
        _check_dtype(text, f"source.types.{name}")
    _check_dialect(source.dialect)


def _check_dialect(dialect: Dialect) -> None:
    """Refuse a way to write text that nobody can read."""
    _check_marks(dialect)
    if dialect.encoding:
        _check_encoding(dialect.encoding)
    _check_form(dialect.dates, "dates", clock=False)
    _check_form(dialect.moments, "moments", clock=True)
    if len(set(dialect.columns)) < len(dialect.columns) or not all(dialect.columns):
        rule = "each column once, none empty"
        raise InvalidInput(
            "these cannot name columns", field="source.dialect.columns", value=dialect.columns, rule=rule
        )
    if not 0 <= dialect.skip <= _MOST_SKIPPED:
        rule = f"0 to {_MOST_SKIPPED} lines"
        raise InvalidInput("so many lines", field="source.dialect.skip", value=dialect.skip, rule=rule)


def _check_form(form: str, field: str, *, clock: bool) -> None:
    """Refuse a form of days or moments that nobody can read, or that leaves something of them out."""
    letters = re.findall(r"%(.?)", form)
    day = {"Y", "m", "d"} <= {{"b": "m", "B": "m", "e": "d"}.get(letter, letter) for letter in letters}
    times = [letter for letter in letters if letter in "HIMSTpfz"]
    is_clock = ("T" in times) or {"H", "M"} <= set(times) or {"I", "M", "p"} <= set(times)
    is_known = all(letter in "YmdbBeHIMSTpfz%" for letter in letters) and len(letters) == len(set(letters))
    is_known &= ("p" in times) == ("I" in times) and ("f" not in times or ".%f" in form)
    if form and not (day and is_known and (is_clock if clock else not times)):
        words = "%Y %m %d (%b, %B, %e)" + (", and %H:%M:%S, %I:%M %p, .%f, %z" if clock else "")
        raise InvalidInput(
            "this cannot be read",
            field=f"source.dialect.{field}",
            value=form,
            rule=f"in the letters of strptime, each once: {words}; such as %d/%m/%Y{' %H:%M' if clock else ''}",
        )


def _check_marks(dialect: Dialect) -> None:
    marks = {"separator": dialect.separator, "decimal": dialect.decimal, "quote": dialect.quote}
    for field, mark in {**marks, "thousands": dialect.thousands}.items():
        if len(mark.encode()) > 1 or (not mark and field in ("separator", "decimal")) or mark in ("\n", "\r"):
            rule = "one letter of ASCII that ends no line"
            raise InvalidInput("this mark cannot be", field=f"source.dialect.{field}", value=mark, rule=rule)
    used = [mark for mark in (dialect.separator, dialect.quote, dialect.thousands) if mark]
    if len(set(used)) < len(used) or dialect.decimal in (dialect.thousands, dialect.quote):
        rule = "separator, quote, decimal and thousands differ"
        raise InvalidInput("one mark means two things", field="source.dialect", value=" ".join(used), rule=rule)


def _check_dtype(text: str, field: str) -> None:
    try:
        parse_dtype(text)
    except InvalidInput as error:
        raise InvalidInput(error.message, field=field, value=text, rule=error.rule) from None
    if not _DECLARABLE.fullmatch(text):
        rule = (
            "numbers, Boolean, String, Date, Time, Datetime(us), Datetime(us, UTC), Decimal(p, s) of at most 38 digits"
        )
        raise InvalidInput("text is not read as this", field=field, value=text, rule=rule)


def _check_encoding(encoding: str) -> None:
    try:
        # Some are told apart by their name alone: "undefined" refuses every text, "idna" every long one.
        is_text = codecs.lookup(encoding)._is_text_encoding and _PROBE.encode(encoding).decode(encoding) == _PROBE
    except (LookupError, UnicodeError):
        is_text = False
    if not is_text:
        rule = "a name of Python's codecs, such as cp1252, latin-1 or utf-16"
        raise InvalidInput("no encoding has this name", field="source.dialect.encoding", value=encoding, rule=rule)
