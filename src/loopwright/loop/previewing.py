"""A look at the rows of a version: who may read its files may ask for it; personal columns are masked for everybody."""

from loopwright import data
from loopwright.data import DatasetVersion, Preview, PreviewPart, RowsRead
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.verbs import Count, Role, operation
from loopwright.loop.engine.operations import OperationContext
from loopwright.store.tx import Tx


@operation("data.preview", role=Role.VIEWER)
def preview(
    context: OperationContext,
    *,
    dataset: str,
    version: int | None = None,
    part: PreviewPart = "rows",
    columns: list[str] | None = None,
    columns_offset: Count = 0,
    offset: Count = 0,
    limit: Count = 20,
) -> Preview:
    """Return a few rows of a version, of whatever state, in stored order.

    Values of columns that the dataset declares personal, now or when the rows came, are masked for everybody, as in the
    samples of checks and comparisons. Whoever asks for more than the first rows is named in the audit trail.

    Args:
        context: Reads rows and blobs.
        dataset: Which.
        version: None for the newest that may be used.
        part: ``rows`` of the version, or its ``failing`` ones: those that failed a check which held it back.
        columns: At most 100 of its columns; None for the first ones, and always of its failing rows.
        columns_offset: Columns before them, where none are named.
        offset: Rows before them.
        limit: How many, at most 100.

    Raises:
        NotFound: There is no such version, or it keeps no failing rows.
        InvalidInput: A column is unknown, or too much is asked for.
    """
    spec = context.read(lambda tx: data.get(tx, dataset=dataset)).spec
    found = context.read(lambda tx: _find(tx, dataset, version, part))
    masked = data.masked_columns(spec, found)
    if part == "failing":
        if columns is not None:
            raise InvalidInput(
                "failing rows are shown with their first columns",
                field="columns",
                value=", ".join(columns[:5]),
                rule="of the rows alone",
                next_step="leave columns out",
            )
        shown = data.preview.preview_failing(found, context.blobs, offset=offset, limit=limit, masked=masked)
    else:
        shown = data.preview.preview_rows(
            found,
            context.blobs,
            columns=columns,
            columns_offset=columns_offset,
            offset=offset,
            limit=limit,
            masked=masked,
        )
    if offset + limit > data.preview.FIRST_ROWS:
        ref = context.read(lambda tx: tx.ref("dataset", dataset, found.version))
        context.note_read(RowsRead(part), ref)
    return shown


def _find(tx: Tx, dataset: str, version: int | None, part: PreviewPart) -> DatasetVersion:
    """Return a version, with its fragments only where they are needed: after a year of appends there are many."""
    if part == "failing" and version is not None:
        return data.get_head(tx, dataset=dataset, version=version)[0]
    return data.get_version(tx, dataset=dataset, version=version)
