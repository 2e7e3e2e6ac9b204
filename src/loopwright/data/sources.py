"""Sources: raw rows as a lazy frame, from files below the folders an operator listed or from uploaded blobs.

Whoever declares a dataset names the path, and the worker that opens it can read more than they may. So a path counts
only where it leads in the end, links resolved, and no error repeats what stands in a file.
"""

import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import polars as pl

from loopwright.data.types import SourceSpec
from loopwright.kernel.errors import InvalidInput
from loopwright.store.blobs import BlobStore
from loopwright.store.types import BlobRef
from loopwright.wire.csv_files import check_text, forget_empty_types, read_csv
from loopwright.wire.reading import reader_errors

_INDEX_OF_PANDAS = re.compile(r"__index_level_\d+__")
_WILD = re.compile(r"[*?\[]")
_OF_THE_SYSTEM = (Path("/proc"), Path("/sys"))

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


class SourceRoots(msgspec.Struct, frozen=True):
    """Where sources may lie.

    Args:
        allowed: Folders whose files may be read, as the operator lists them.
        closed: Files and folders inside them that never are, as ``config.closed_places`` names them.
    """

    allowed: Sequence[Path]
    closed: Sequence[Path] = ()

    def hold(self, path: Path) -> bool:
        """Say whether a path leads to where it may, links resolved."""
        return not self.strayed([path])

    def strayed(self, paths: Sequence[Path]) -> list[Path]:
        """Return those of the paths that lead to where they may not; hidden names below a root never count."""
        marks = _Marks()
        roots = [root.resolve() for root in self.allowed]
        closed = [place.resolve() for place in (*self.closed, *_OF_THE_SYSTEM)]
        # A root inside a closed folder was listed on purpose, as the demo lists its project.
        barred = {
            root: [one for one in closed if marks.lie_in(one, root) or not marks.lie_in(root, one)] for root in roots
        }

        def is_held(real: Path, root: Path) -> bool:
            if not real.is_relative_to(root) or any(part.startswith(".") for part in real.relative_to(root).parts):
                return False
            return not any(marks.lie_in(real, one) for one in barred[root])

        return [path for path in paths if not any(is_held(path.resolve(), root) for root in roots)]


class _Marks:
    """Tells files by what they are on the disk: another case, a second name or a second mount is no other place."""

    def __init__(self) -> None:
        self._mark = functools.cache(_mark)
        self._trail = functools.cache(lambda path: {self._mark(one) for one in (path, *path.parents)})

    def lie_in(self, path: Path, place: Path) -> bool:
        """Say whether a path, links resolved, is a place or lies in it."""
        mark = self._mark(place)
        return path.is_relative_to(place) or (mark is not None and mark in self._trail(path))


def _mark(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def open_source(source: SourceSpec, roots: SourceRoots) -> pl.LazyFrame:
    """Return the rows of a file source.

    Raises:
        InvalidInput: Nothing is there, it lies where it may not, or it cannot be read.
    """
    paths = find_files(source, roots)
    return _open_csv(paths, source) if source.kind == "csv" else _open_parquet(paths, source.location)


def open_blobs(refs: Sequence[BlobRef], blobs: BlobStore) -> pl.LazyFrame:
    """Return the rows of uploaded Parquet blobs, one after the other."""
    return _open_parquet([blobs.path(ref.digest) for ref in refs], f"{len(refs)} uploaded blobs")


def find_files(source: SourceSpec, roots: SourceRoots) -> list[Path]:
    """Return the files of a source, links resolved, in order of their names.

    Raises:
        InvalidInput: There are none, or one lies where it may not; what is there outside is not told.
    """
    place = Path(source.location)
    parts = place.parts
    fixed = next((number for number, part in enumerate(parts) if _WILD.search(part)), len(parts))
    if place.exists():  # a name may hold what looks like a wildcard
        fixed = len(parts)
    start = Path(*parts[:fixed])
    if ".." in parts or not roots.hold(start):
        raise _outside(source.location, roots)
    found = sorted(_files(start, parts[fixed:], source.kind))
    if strayed := roots.strayed(found):
        raise _outside(str(strayed[0]), roots)
    if not found:
        raise InvalidInput(
            "no file is there",
            field="source.location",
            value=source.location,
            rule=f"a file, a folder with *.{source.kind}, or a glob, readable by the worker",
            next_step="correct the path, or send the rows with the import",
        )
    return [path.resolve() for path in found]


def _files(start: Path, pattern: Sequence[str], kind: str) -> Iterator[Path]:
    """Yield the regular files of a file, a folder or a glob; hidden ones below it are left out."""
    if not pattern and not start.is_dir():
        candidates = iter([start])
    else:
        candidates = start.glob("/".join(pattern) or f"**/*.{kind}")
    for path in candidates:
        is_hidden = any(part.startswith(".") for part in path.relative_to(start).parts)
        if path.is_file() and not is_hidden:
            yield path


def _outside(location: str, roots: SourceRoots) -> InvalidInput:
    return InvalidInput(
        "this path leads to where sources may not lie",
        field="source.location",
        value=location,
        rule=f"below {' or '.join(map(str, roots.allowed))}, links followed; not hidden, no .., none of the platform's",
        next_step="move the files there, or have the operator list their folder in LOOPWRIGHT_SOURCE_ROOTS",
    )


def _open_parquet(paths: list[Path], place: str) -> pl.LazyFrame:
    try:
        rows = pl.scan_parquet(paths, glob=False)
        names = rows.collect_schema().names()
    except reader_errors() as error:
        raise unreadable(place, error) from None
    return rows.drop([name for name in names if _INDEX_OF_PANDAS.fullmatch(name)])


def _open_csv(paths: list[Path], source: SourceSpec) -> pl.LazyFrame:
    try:
        return forget_empty_types(read_csv(paths)).lazy()
    except reader_errors() as error:
        for path in paths:
            check_text(path)
        raise unreadable(_culprit(paths) or source.location, error) from None


def _culprit(paths: list[Path]) -> str:
    """Return the first of several files that cannot be read alone; empty where they do not fit each other."""
    for path in paths:
        try:
            read_csv([path])
        except reader_errors():
            return str(path)
    return ""


def unreadable(place: str, error: BaseException) -> InvalidInput:
    """Return the error for rows that a reader refused. Its own words may quote the file, so they are not repeated."""
    kind = "OSError" if isinstance(error, OSError) else type(error).__name__
    return InvalidInput(
        f"these rows cannot be read ({_WHY.get(kind, kind)})",
        field="source",
        value=place,
        rule="Parquet, or CSV with a header line, of one shape",
        next_step="open the file with Polars yourself; it tells the line",
    )
