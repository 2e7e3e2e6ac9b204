"""Sources: raw rows as a lazy frame, from files below the folders an operator listed or from uploaded blobs.

Whoever declares a dataset names the path, and the worker that opens it can read more than they may. So a path counts
only where it leads in the end, links resolved, and no error repeats what stands in a file but a value that its type
refuses.
"""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from loopwright.data.sources.base import Asked, FileKind, SourceFile, kind_of, unreadable
from loopwright.data.sources.places import SourceRoots, find_files
from loopwright.data.types import SourceSpec
from loopwright.wire.reading import reader_errors

__all__ = [
    "Asked",
    "FileKind",
    "SourceFile",
    "SourceRoots",
    "find_files",
    "kind_of",
    "open_files",
    "open_sent",
    "signatures",
    "unreadable",
]


def open_files(files: Sequence[SourceFile], asked: Asked) -> pl.LazyFrame:
    """Return the rows of files, wherever they are.

    Raises:
        InvalidInput: They cannot be read.
    """
    kind = kind_of(asked.spec)
    try:
        return kind.open(files, asked)
    except reader_errors() as error:
        raise unreadable(_culprit(kind, files, asked) or asked.spec.location, error) from None


def signatures(files: Sequence[SourceFile]) -> list[tuple[int, int, int]]:
    """Return what tells whether files are still the same: which they are on the disk, their size, when they changed.

    Raises:
        InvalidInput: One is gone.
    """
    try:
        states = [file.path.stat() for file in files]
    except OSError as error:
        raise unreadable(str(error.filename), error) from None
    return [(state.st_ino, state.st_size, state.st_mtime_ns) for state in states]


def open_sent(paths: Sequence[Path]) -> pl.LazyFrame:
    """Return the rows of Parquet that was sent, file after file."""
    files = [SourceFile(path, path) for path in paths]
    try:
        return kind_of(SourceSpec("parquet")).open(files, Asked(SourceSpec("parquet"), Path()))
    except reader_errors() as error:
        raise unreadable(f"{len(paths)} uploaded blobs", error) from None


def _culprit(kind: FileKind, files: Sequence[SourceFile], asked: Asked) -> str:
    """Return the first of several files that cannot be read alone; empty where they do not fit each other."""
    for number, file in enumerate(files):
        alone = asked.scratch / f"alone-{number}"
        alone.mkdir()
        try:
            kind.open([file], asked._replace(scratch=alone)).collect()
        except reader_errors():
            return str(file.shown)
    return ""
