"""A dataset that is changed again and again, without a database: what is built, read from real blobs."""

from typing import Any

import msgspec
import polars as pl

from loopwright.data import DatasetSpec, DatasetVersion
from loopwright.data.changes import build_change
from loopwright.data.columns import admit
from loopwright.data.commits import content_digest
from loopwright.data.imports import ImportRequest, build_version
from loopwright.data.row_sums import add_row_sums
from loopwright.store.blobs import BlobStore


class History:
    """The versions of a dataset, each on top of the one before."""

    def __init__(self, blobs: BlobStore, spec: DatasetSpec) -> None:
        self.blobs, self.spec = blobs, spec
        self.version: DatasetVersion | None = None
        self.unchanged = self.changed = 0

    def change(self, operation: Any, frame: pl.DataFrame, at_us: int = 0, **options: Any) -> "History":
        request = ImportRequest(self.spec, operation, **options)
        frame = admit(frame, self.spec, is_part=operation in ("complete", "delete"))
        before = self.version
        if operation in ("append", "replace") or before is None:
            built = build_version(frame, request, before, self.blobs, at_us)
        else:
            built = build_change(frame, request, before, self.blobs, at_us)
        below = before if operation != "replace" else None
        number = 1 if before is None else before.version + 1
        placed = [msgspec.structs.replace(part, place=(number, place)) for place, part in enumerate(built.fragments)]
        rows = built.rows + (below.rows if below else 0)
        row_sum = add_row_sums(below.row_sum if below else "", built.row_sum)
        self.unchanged, self.changed = built.dropped_rows, built.changed_rows
        self.version = DatasetVersion(
            dataset=self.spec.name,
            version=number,
            state="ready",
            operation=operation,
            parent=None if before is None else before.version,
            digest=content_digest(built.schema, rows, row_sum),
            schema=built.schema,
            fragments=[*(below.fragments if below else []), *placed],
            rows=rows,
            size_bytes=0,
            profile_digest=built.profile.digest,
            checks=built.checks,
            event_at=at_us,
            recorded_at=at_us,
            spec=self.spec,
            row_sum=row_sum,
        )
        return self

    @property
    def newest(self) -> DatasetVersion:
        assert self.version is not None
        return self.version
