"""Sources: raw rows as a lazy frame, from files by path or from uploaded blobs."""

import re
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from loopwright.data.types import SourceSpec
from loopwright.kernel.errors import InvalidInput
from loopwright.store.blobs import BlobStore
from loopwright.store.types import BlobRef

_INDEX_OF_PANDAS = re.compile(r"__index_level_\d+__")


def open_source(source: SourceSpec) -> pl.LazyFrame:
    """Return the rows of a file source.

    Raises:
        InvalidInput: Nothing is there, or it cannot be read.
    """
    paths = find_files(source)
    return _open_csv(paths, source) if source.kind == "csv" else _open_parquet(paths, source.location)


def open_blobs(refs: Sequence[BlobRef], blobs: BlobStore) -> pl.LazyFrame:
    """Return the rows of uploaded Parquet blobs, one after the other."""
    return _open_parquet([blobs.path(ref.digest) for ref in refs], f"{len(refs)} uploaded blobs")


def find_files(source: SourceSpec) -> list[Path]:
    """Return the files of a source in order of their names.

    Raises:
        InvalidInput: There are none.
    """
    place = Path(source.location)
    if place.is_dir():
        found = sorted(place.rglob(f"*.{source.kind}"))
    elif place.is_file():
        found = [place]
    else:
        fixed = Path(place.anchor or ".")
        is_glob = re.search(r"[*?\[]", source.location)
        found = sorted(fixed.glob(str(place.relative_to(place.anchor)))) if is_glob else []
    if not found:
        raise InvalidInput(
            "no file is there",
            field="source.location",
            value=source.location,
            rule=f"a file, a folder with *.{source.kind}, or a glob, readable by the worker",
            next_step="correct the path, or send the rows with the import",
        )
    return found


def _open_parquet(paths: list[Path], place: str) -> pl.LazyFrame:
    try:
        rows = pl.scan_parquet(paths, glob=False)
        names = rows.collect_schema().names()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(place, error) from None
    return rows.drop([name for name in names if _INDEX_OF_PANDAS.fullmatch(name)])


def _open_csv(paths: list[Path], source: SourceSpec) -> pl.LazyFrame:
    try:
        frames = [pl.read_csv(path, try_parse_dates=True, infer_schema_length=None) for path in paths]
        rows = pl.concat(frames, how="vertical_relaxed")
    except (pl.exceptions.PolarsError, OSError) as error:
        raise unreadable(source.location, error) from None
    # A column without any value tells nothing of its dtype, whatever the reader guessed.
    empty = [column.name for column in rows.get_columns() if column.null_count() == rows.height]
    return rows.with_columns(pl.col(empty).cast(pl.Null, strict=False)).lazy() if empty else rows.lazy()


def unreadable(place: str, error: Exception) -> InvalidInput:
    """Return the error for rows that a reader refused, in its own words."""
    return InvalidInput(
        f"these rows cannot be read: {str(error).split(chr(10))[0]}",
        field="source",
        value=place,
        rule="Parquet, or CSV with a header line, of one shape",
    )
