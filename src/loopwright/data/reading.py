"""Reading what was declared or sent, apart from the worker: what ends a reader ends the import that it was for.

A file of a kilobyte may crash its reader, fill the memory or never end, and the worker does the jobs of every project.
So a child process opens files, tells types and writes the rows as Parquet; the worker goes on from there.
"""

import resource
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import polars as pl

from loopwright.data import sources
from loopwright.data.dtypes import dtype_text, parse_dtype
from loopwright.data.types import ColumnSchema, ImportRequest, SourceSpec
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import InvalidInput, LoopwrightError, TooLarge, Unavailable
from loopwright.store.unwritable import full_disk, tells_of_full_disk
from loopwright.store.work import JobContext
from loopwright.wire.reading import reader_errors
from loopwright.wire.sizes import check_rows_fit

_PACKED: Any = {"compression": "zstd", "compression_level": 1}
_FULL = "os error 27"
"""What the reader says where a file would be larger than a process may write."""


def read_apart(
    context: JobContext,
    request: ImportRequest,
    known: Mapping[str, pl.DataType],
    out: Path,
    fetched: Sequence[Path] | None = None,
) -> list[ColumnSchema]:
    """Have the rows of an import written to ``out``, as Parquet; return their columns as they were read.

    Args:
        context: Of the job.
        request: What is imported.
        known: The dtypes that columns had when they were read before.
        out: A file that is not there yet.
        fetched: Parquet with the rows of the source, where the job has asked it itself.
    """
    spec, is_sent = request.spec, request.blobs is not None
    sent = fetched if fetched is not None else [context.blobs.path(ref.digest) for ref in request.blobs or []]
    what = f"{len(sent)} uploaded blobs" if is_sent else spec.source.location
    inputs = {
        "source": None if is_sent or fetched is not None else to_builtins(spec.source),
        "place": "the rows that were sent" if is_sent else spec.source.location,
        "known": {name: dtype_text(dtype) for name, dtype in known.items()},
        "hidden": list(spec.personal),
        "allowed": [str(folder.absolute()) for folder in context.source_roots],
        "closed": [str(place.absolute()) for place in context.closed],
    }
    files = {f"{number}": path for number, path in enumerate(sent)}
    return msgspec.convert(
        context.read("loopwright.data.reading:read", inputs, files, out, what=what), list[ColumnSchema]
    )


def read_again(context: JobContext, given: Path, out: Path, *, what: str) -> None:
    """Have the rows of a Parquet file that somebody else wrote written to ``out`` by a reader of ours, as they are.

    Args:
        context: Of the job.
        given: The file.
        out: A file that is not there yet.
        what: What it is, for errors.
    """
    context.read("loopwright.data.reading:write_again", {"place": what}, {"0": given}, out, what=what)


def read_frame(context: JobContext, given: Path, *, what: str) -> pl.DataFrame:
    """Return the rows of a Parquet file that user code wrote or somebody sent, read by a child first.

    Args:
        context: Of the job.
        given: The file.
        what: What it is, for errors.
    """
    with TemporaryDirectory() as folder:
        out = Path(folder) / "rows.parquet"
        read_again(context, given, out, what=what)
        return pl.read_parquet(out, glob=False)


def write_again(out: Path, scratch: Path, files: Mapping[str, Path], *, place: str) -> None:
    """Write the rows of Parquet to ``out``, as they are.

    Raises:
        InvalidInput: It cannot be read.
    """
    del scratch
    with _telling(place, out):
        rows = pl.scan_parquet(list(files.values()), glob=False)
        check_rows_fit(rows)
        rows.sink_parquet(out, **_PACKED)


def read(
    out: Path,
    scratch: Path,
    files: Mapping[str, Path],
    *,
    source: dict[str, Any] | None,
    place: str,
    known: Mapping[str, str],
    hidden: Sequence[str],
    allowed: Sequence[str],
    closed: Sequence[str],
) -> list[dict[str, Any]]:
    """Write the rows of a source, or of Parquet that was sent, to ``out``; return the columns as they were read.

    Args:
        out: Where to write them.
        scratch: An empty folder.
        files: What was sent, in order.
        source: The declaration; None for Parquet that was sent.
        place: What is read, for errors.
        known: Dtypes of columns when they were read before.
        hidden: Columns whose values stand in no error.
        allowed: Folders below which sources may lie.
        closed: What is closed in them all the same.

    Raises:
        InvalidInput: The files cannot be read; says why without a word of what stands in them.
        TooLarge: The rows do not fit.
        Unavailable: The files changed as they were read.
    """
    spec = SourceSpec("parquet") if source is None else msgspec.convert(source, SourceSpec)
    dtypes = {name: parse_dtype(dtype) for name, dtype in known.items()}
    asked = sources.Asked(spec, scratch, dtypes, hidden)
    with _telling(place, out):
        if source is None:
            return _write(sources.open_sent(list(files.values())), dtypes, out)
        roots = sources.SourceRoots([Path(folder) for folder in allowed], [Path(one) for one in closed])
        with sources.find_files(spec, roots) as found:
            before = sources.signatures(found)
            columns = _write(sources.open_files(found, asked), dtypes, out)
            if sources.signatures(found) != before:
                step = "import again"
                raise Unavailable("the files changed while they were read", field="source", next_step=step)
            return columns


@contextmanager
def _telling(place: str, out: Path) -> Iterator[None]:
    """Make errors of what a reader says of files, without its words: they may quote the file."""
    try:
        yield
    except LoopwrightError:
        raise
    except reader_errors() as error:
        if tells_of_full_disk(error):
            raise full_disk(out.parent) from None
        if _FULL in str(error) or getattr(error, "errno", 0) == 27:
            raise _too_large(place) from None
        raise sources.unreadable(place, error) from None
    except Exception as error:  # noqa: BLE001 - whatever a library raises
        raise sources.unreadable(place, error) from None


def _write(rows: pl.LazyFrame, known: Mapping[str, pl.DataType], out: Path) -> list[dict[str, Any]]:
    rows = _as_before(rows, known)
    check_rows_fit(rows)
    columns = _columns(rows, known)
    rows.sink_parquet(out, **_PACKED)
    return columns


def _as_before(rows: pl.LazyFrame, known: Mapping[str, pl.DataType]) -> pl.LazyFrame:
    """Return rows whose columns without a value have the dtype of before: what a transform does to them still works."""
    empty = [name for name, dtype in rows.collect_schema().items() if dtype == pl.Null()]
    return rows.cast({name: known[name] for name in empty if name in known})


def _columns(rows: pl.LazyFrame, known: Mapping[str, pl.DataType]) -> list[dict[str, Any]]:
    """Return columns as they were read; what was there before alone is as it was before."""
    columns = []
    for name, dtype in {**known, **rows.collect_schema()}.items():
        with suppress(InvalidInput):  # what no dataset can hold the transform has to replace
            columns.append(dict(to_builtins(ColumnSchema(name, dtype_text(dtype)))))
    return columns


def _too_large(place: str) -> TooLarge:
    return TooLarge(
        "these rows take more room on the disk than they may in memory",
        field="source",
        value=place,
        rule=f"at most {resource.getrlimit(resource.RLIMIT_FSIZE)[0] / 1e9:.1f} GB on this machine",
        next_step="import them in several parts",
    )
