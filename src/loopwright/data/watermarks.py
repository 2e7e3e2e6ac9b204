"""Having a database asked for the rows of an import: which one, for what, and since which watermark."""

from datetime import UTC, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from loopwright.data import read, versions
from loopwright.data.source_specs import address_of
from loopwright.data.sources import sql as databases
from loopwright.data.types import DatasetVersion, ImportRequest, SourceSpec
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import InvalidInput
from loopwright.store.work import JobContext


def ask_database(context: JobContext, request: ImportRequest, folder: Path) -> list[Path] | None:
    """Return Parquet with the rows that a database has for an import; None where rows come otherwise.

    Args:
        context: Of the job.
        request: What is imported.
        folder: Where files may be written.

    Raises:
        InvalidInput: The operator named no such database for this project, or it refuses the query.
        ReaderEnded: Its answer took too much time or memory.
        Unavailable: It does not answer.
    """
    spec = request.spec.source
    if spec.kind != "sql" or request.blobs is not None:
        return None
    url = address_of(context.addresses, context.project, spec.location)
    if url is None:
        step = f"name it to the workers: LOOPWRIGHT_SOURCES={context.project}/{spec.location}=postgresql://…"
        raise InvalidInput(
            f"no database {spec.location} is known here", field="source.database", value=spec.location, next_step=step
        )
    into, files = folder / "asked", {}
    into.mkdir()
    since = None if request.operation == "replace" else _since(context, request, spec)
    if since is not None:
        files["since"] = folder / "since.parquet"
        pl.DataFrame({"since": [since]}).write_parquet(files["since"])
    url, file = databases.place_of(url)
    inputs = {"url": url, "source": to_builtins(spec), "folder": str(into.absolute())}
    what = f"database {spec.location}"
    context.ask("loopwright.data.sources.sql:ask", inputs, files, into, file=file, what=what)
    return sorted(into.glob("*.parquet"))


def _since(context: JobContext, request: ImportRequest, spec: SourceSpec) -> Any:
    """Return the largest watermark that is there, less the overlap, as the database has it; None for the first time."""
    if not spec.watermark:
        return None
    version = context.call(versions.newest_version, dataset=request.spec.name)
    if version is None:
        return None
    if spec.watermark not in [column.name for column in version.schema]:
        rule = "a column of the query that is one of the dataset too"
        raise InvalidInput("nobody can tell what is new", field="source.watermark", value=spec.watermark, rule=rule)
    scan = read.scan(version, context.blobs, [spec.watermark])
    largest = scan.select(pl.col(spec.watermark).max()).collect(engine="streaming").item()
    if largest is None or isinstance(largest, str):
        return largest
    if not hasattr(largest, "tzinfo"):
        return largest if hasattr(largest, "isoformat") else largest - spec.overlap_us
    return _as_stored(largest - timedelta(microseconds=spec.overlap_us), version, spec)


def _as_stored(moment: Any, version: DatasetVersion, spec: SourceSpec) -> Any:
    """Return a moment as the database tells it: without a zone where it has none."""
    dtype = next((column.dtype for column in version.raw if column.name == spec.watermark), "")
    if dtype == "String":
        step = "choose a number, or a moment that the database knows as one"
        raise InvalidInput(
            "the database has these moments as texts", field="source.watermark", value=spec.watermark, next_step=step
        )
    if ", " in dtype or not dtype:
        return moment
    return moment.astimezone(ZoneInfo(spec.zone) if spec.zone else UTC).replace(tzinfo=None)
