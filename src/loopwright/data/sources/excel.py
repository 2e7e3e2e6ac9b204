"""Workbooks of Excel and LibreOffice: one sheet of each. Needs the extra ``excel``."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from loopwright.data.sources.base import Asked, SourceFile, join_alike, refused
from loopwright.data.sources.declared import as_declared
from loopwright.kernel.errors import InvalidInput


class Workbooks:
    """Files with sheets; the first line of a sheet names its columns."""

    endings = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")

    def open(self, files: Sequence[SourceFile], asked: Asked) -> pl.LazyFrame:
        """Return the rows of one sheet of each file, one after the other; it is read whole: a million lines at most."""
        return as_declared(join_alike([_read(file, asked).lazy() for file in files]), asked)


def _read(file: SourceFile, asked: Asked) -> pl.DataFrame:
    try:
        import fastexcel
    except ImportError:
        raise InvalidInput(
            "reading workbooks needs a library that is not installed",
            field="source.kind",
            value="excel",
            next_step='install it where the worker runs: pip install "loopwright[excel]"',
        ) from None
    try:
        book: Any = fastexcel.read_excel(file.path)
    except Exception:  # noqa: BLE001 - whatever a library says of a damaged file
        raise refused(file, "is no workbook", "Excel or LibreOffice, not encrypted", "save it anew") from None
    sheet = asked.spec.sheet or book.sheet_names[0]
    if sheet not in book.sheet_names:
        names = ", ".join(book.sheet_names)
        raise refused(file, f"has no sheet {sheet}", f"one of {names}", "correct sheet= of the source")
    try:
        rows: pl.DataFrame = book.load_sheet(sheet, schema_sample_rows=None).to_polars()
    except Exception:  # noqa: BLE001 - whatever a library says of a damaged sheet
        raise refused(file, f"has a sheet {sheet} that cannot be read", "a whole workbook", "save it anew") from None
    empty = [column.name for column in rows.get_columns() if column.null_count() == rows.height]
    return rows.with_columns(pl.lit(None).alias(name) for name in empty)  # which have no type yet
