"""The contract of a kind of files, and what is said of those that cannot be read."""

import glob
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import polars as pl

from loopwright.data.source_specs import SOURCES
from loopwright.data.types import SourceSpec
from loopwright.kernel.errors import InvalidInput, TooLarge
from loopwright.kernel.plugins import load_plugin
from loopwright.kernel.suggestions import near_column

WILD = re.compile(r"[*?\[]")
MOST_COLUMNS = 10_000
"""Of all files of a source together: each costs some milliseconds of every query."""
_EXACT = 2.0**53
_WHY = {
    "ComputeError": "a value or the file's form does not fit",
    "NoDataError": "it is empty",
    "SchemaError": "its files differ in columns or dtypes",
    "SchemaFieldNotFoundError": "its files differ in columns",
    "ShapeError": "its files differ in their number of columns",
    "DuplicateError": "a column comes twice",
    "OSError": "the file cannot be opened",
    "PanicException": "the file is damaged",
}
"""What each kind of error of the reader means."""


class Asked(NamedTuple):
    """What is asked of files: how they are declared, and the dtypes that columns had when they were read before.

    ``scratch`` is an empty folder for what has to be unpacked; it outlives the rows. Values of ``hidden`` columns stand
    in no error.
    """

    spec: SourceSpec
    scratch: Path
    known: Mapping[str, pl.DataType] = {}
    hidden: Collection[str] = ()


class SourceFile(NamedTuple):
    """A file to be read: what it is called, and where it is opened.

    Where roots are kept, ``path`` is that of an open file: no name that a reader could expand, and nothing that leads
    elsewhere once somebody turns a link.
    """

    shown: Path
    path: Path

    @property
    def name(self) -> str:
        """Its name, without folders."""
        return self.shown.name


class FileKind(Protocol):
    """A kind of files. Names of columns come from the files, and so does the order of rows."""

    endings: Sequence[str]
    """How names of such files end, such as ``.csv``; in a folder others are left out."""

    def open(self, files: Sequence[SourceFile], asked: Asked) -> pl.LazyFrame:
        """Return the rows of files, one after the other, read when they are asked for.

        A name is never a pattern: whatever opens ``path`` is told so (``glob=False``, ``literal``).

        Raises:
            InvalidInput: Names the file, the line and the column where text does not fit.
            polars.exceptions.PolarsError: Other files cannot be read.
            OSError: One cannot be opened.
        """
        ...


def place_of(location: str) -> Path:
    """Return the folder or file that a path or glob begins with."""
    place = Path(location)
    fixed = next((number for number, part in enumerate(place.parts) if WILD.search(part)), len(place.parts))
    return place if place.exists() else Path(*place.parts[:fixed])  # a name may hold what looks like a wildcard


def kind_of(spec: SourceSpec) -> FileKind:
    """Return the kind of files that a source reads.

    Raises:
        NotFound: None is installed under that name.
    """
    kind: FileKind = load_plugin(SOURCES, spec.kind)()
    return kind


def unreadable(place: str, error: BaseException) -> InvalidInput:
    """Return the error for rows that a reader refused. Its own words may quote the file, so they are not repeated."""
    kind = "OSError" if isinstance(error, OSError) else type(error).__name__
    return InvalidInput(
        f"these rows cannot be read ({_WHY.get(kind, kind)})",
        field="source",
        value=place,
        rule="files of one kind, whose columns agree",
        next_step="open the file with Polars yourself; it tells the line",
    )


def literal(path: Path) -> str:
    """Return a path for a reader that expands names and cannot be told not to, so that it stands for itself."""
    return glob.escape(str(path))


def refused(file: SourceFile, what: str, rule: str, next_step: str) -> InvalidInput:
    """Return the error for one file."""
    return InvalidInput(f"{file.name} {what}", field="source", value=str(file.shown), rule=rule, next_step=next_step)


def no_such_column(name: str, columns: list[str]) -> InvalidInput:
    """Return the error for a type that is declared for a column that the files do not have; others are not told."""
    return InvalidInput(
        f"the files have no column {name}",
        field=f"source.types.{name}",
        value=name,
        rule=f"one of their {len(columns)} columns",
        next_step=f"{near_column(name, columns)}correct types= of the source",
    )


def check_width(count: int) -> None:
    """Let files pass that have no more columns than can be told in minutes.

    Raises:
        TooLarge: They have more.
    """
    if count > MOST_COLUMNS:
        raise TooLarge(
            f"these files have {count} columns",
            field="source",
            value=count,
            rule=f"at most {MOST_COLUMNS} columns",
            next_step="leave columns out, or write what repeats as rows",
        )


def join_alike(frames: Sequence[pl.LazyFrame]) -> pl.LazyFrame:
    """Return the rows of frames below each other: columns by name, numbers widened, null where one has none such.

    Raises:
        InvalidInput: A column is of one kind in one frame, and of another in the next.
        TooLarge: There are more columns than ``MOST_COLUMNS``.
    """
    check_width(len({name for frame in frames for name in frame.collect_schema()}))
    if len(frames) == 1:
        return frames[0]
    found: dict[str, pl.DataType] = {}
    for frame in frames:
        for name, dtype in frame.collect_schema().items():
            before = found.setdefault(name, dtype)
            if pl.Null() in (before, dtype):
                found[name] = dtype if before == pl.Null() else before
            elif before.is_numeric() and dtype.is_numeric():
                found[name] = dtype if dtype.is_float() else before
            elif before != dtype:
                raise InvalidInput(
                    f"column {name} is {before} in one file and {dtype} in another",
                    field=name,
                    rule="a column is of one kind in all files; numbers may be wider in some",
                    next_step="write it alike in all files",
                )
    for frame in frames:
        _refuse_rounded(frame, [name for name, dtype in found.items() if dtype.is_float()])
    return pl.concat(frames, how="diagonal_relaxed")


def _refuse_rounded(frame: pl.LazyFrame, widened: Sequence[str]) -> None:
    """Refuse whole numbers that decimals would round: they are decimals in another file."""
    schema = frame.collect_schema()
    whole = [name for name in widened if name in schema and schema[name].is_integer()]
    if not whole:
        return
    largest = frame.select(pl.col(name).cast(pl.Float64).abs().max() for name in whole).collect().row(0, named=True)
    for name, value in largest.items():
        if value is not None and value >= _EXACT:
            raise InvalidInput(
                f"column {name} holds whole numbers that the decimals of another file would round",
                field=name,
                rule="numbers that are decimals in one file are below 2^53 in the others",
                next_step="write it alike in all files, such as as text",
            )
