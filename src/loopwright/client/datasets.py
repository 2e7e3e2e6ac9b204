"""A dataset of a running project: rows that are appended, changed, pushed and read."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec

from loopwright import data
from loopwright.client.frames import Table, to_parquet
from loopwright.client.waiting import RemoteJob
from loopwright.data import DatasetVersion, Operation, SourceSpec, Suggestion, parse_dtype
from loopwright.kernel.clock import parse_moment
from loopwright.kernel.errors import InvalidInput
from loopwright.store.blobs import BlobStore, open_blob_store
from loopwright.store.types import Tombstone
from loopwright.wire.endpoints import push_rows
from loopwright.wire.rows import Rows

if TYPE_CHECKING:
    import polars as pl

    from loopwright.client.remote import Remote

Moment = int | str | datetime


class RemoteDataset:
    """A dataset: versions of its rows, and rows that are pushed."""

    def __init__(self, remote: "Remote", name: str) -> None:
        self._remote = remote
        self.name = name

    def __repr__(self) -> str:
        return f"<dataset {self.name} of {self._remote!r}>"

    def push(self, rows: Rows) -> int:
        """Send rows as they become known; the online features see them at once.

        Returns:
            How many rows were taken.
        """
        return push_rows(self._remote.project, self.name, rows, self._remote.caller.gateway)

    def append(self, rows: Table, *, reason: str = "", replace: bool = False) -> RemoteJob:
        """Upload rows as a new version and return the job that checks and commits it: ``append(rows).wait()``.

        Args:
            rows: A frame; a file: Parquet, CSV as the dataset's source is written, JSON lines, Arrow, a workbook; or
                files that are written otherwise: ``lw.source.csv("may/*.csv", separator=";")``.
            reason: Why, for the audit trail.
            replace: True if these rows are all there is now.
        """
        return self.start_import(rows, "replace" if replace else "append", reason=reason)

    def upsert(self, rows: Table, *, known_at: str | None = None, reason: str = "") -> RemoteJob:
        """Put rows in the place of those of the same key, and add those of new keys.

        Args:
            rows: Whole rows, as ``append`` takes them.
            known_at: A column that says when values of rows that are there became known; None for now, where they do
                not tell. Rows of new keys are known as the dataset declares.
            reason: Why, for the audit trail.
        """
        return self.start_import(rows, "upsert", known_at=known_at, reason=reason)

    def complete(
        self, rows: Table, *, known_at: str | None = None, corrects: bool = False, reason: str = ""
    ) -> RemoteJob:
        """Fill in columns of rows that are there: labels that came late, say. The other columns are not touched.

        Args:
            rows: Keys, and the columns to fill as they are after the transform; what is missing in them stays missing.
            known_at: A column that says when the values became known; None for what the declaration says, if the
                rows tell that moment too, else for now.
            corrects: True if values that are there already may change.
            reason: Why, for the audit trail.
        """
        return self.start_import(rows, "complete", known_at=known_at, corrects=corrects, reason=reason)

    def delete_rows(self, keys: Table, *, reason: str) -> RemoteJob:
        """Take rows away by their keys; versions before keep them.

        Args:
            keys: A frame with the key columns; others are left out.
            reason: Why, for the audit trail.
        """
        return self.start_import(keys, "delete", reason=reason)

    def restore(self, version: int, *, reason: str) -> DatasetVersion:
        """Make the content of an older version the newest again, at once; what came in between stays readable.

        Args:
            version: Its number.
            reason: Why, for the audit trail.

        Raises:
            PermissionDenied: You are no approver, and its rows were held to looser checks than are declared now, failed
                one, have other columns than the newest, or an approver moved off them.
        """
        restored: DatasetVersion = self._remote.call("data.restore", dataset=self.name, version=version, reason=reason)
        return restored

    def suggest_checks(self, version: int | None = None) -> list[Suggestion]:
        """Return checks that the rows of a version would have passed and that are not declared yet.

        Args:
            version: Its number; None for the newest that may be used.

        Returns:
            Each with its ``code`` for the project file and why; columns that tell of persons are among them.
        """
        found: list[Suggestion] = self._remote.call("data.suggest_checks", dataset=self.name, version=version)
        return found

    def contract(self) -> str:
        """Return the dataset as it stands as a contract of the Open Data Contract Standard 3.1.0, in YAML.

        Raises:
            NotFound: There is no such dataset.
        """
        declared = self._remote.call("data.get", dataset=self.name)
        newest = None
        if declared.newest is not None:
            newest = self._remote.call("data.get_version", dataset=self.name, version=declared.newest)
        return data.contracts.write_yaml(data.contracts.to_contract(self._remote.project, declared, newest))

    def start_import(
        self,
        rows: Table | None = None,
        operation: Operation = "append",
        *,
        known_at: str | None = None,
        corrects: bool = False,
        reason: str = "",
    ) -> RemoteJob:
        """Bring rows; without any have the declared files read again: ``start_import().wait()`` adds what is new there.

        Args:
            rows: As ``append`` takes them; None for those of the declared source.
            operation: ``append``, ``replace`` (all there is now, as after another transform), ``upsert``, ``complete``
                or ``delete``.
            known_at: As for ``upsert`` and ``complete``.
            corrects: As for ``complete``.
            reason: Why, for the audit trail.
        """
        blobs = None
        if rows is not None:
            blobs = [self._remote.caller.put_blob(self._remote.project, self._encoded(rows, operation))]
        how = {"known_at": known_at, "corrects": corrects, "reason": reason}
        job = self._remote.call("data.start_import", dataset=self.name, operation=operation, blobs=blobs, **how)
        return RemoteJob(self._remote, job)

    def delete(self, version: int | None = None, *, reason: str) -> Tombstone:
        """Delete the dataset with all its versions, or one of them.

        Args:
            version: Its number; None for the whole dataset.
            reason: Why.
        """
        return self._remote.delete(f"dataset:{self.name}" + ("" if version is None else f"/{version}"), reason=reason)

    def read(
        self,
        *,
        version: int | str | None = None,
        columns: Sequence[str] | None = None,
        start_at: Moment | None = None,
        end_at: Moment | None = None,
        as_known_at: Moment | None = None,
    ) -> "pl.DataFrame":
        """Return the rows of a version; only the files that are needed travel.

        Args:
            version: Its number, or a tag that names it; None for the newest that may be used.
            columns: Only these; None for all.
            start_at: Only rows with event time at or after this.
            end_at: Only rows with event time before this.
            as_known_at: Rows as they were known at this moment: what became known later is missing.
        """
        with TemporaryDirectory() as folder:
            rows = self.scan(
                folder, version=version, columns=columns, start_at=start_at, end_at=end_at, as_known_at=as_known_at
            )
            return rows.collect()

    def scan(
        self,
        folder: str | Path,
        *,
        version: int | str | None = None,
        columns: Sequence[str] | None = None,
        start_at: Moment | None = None,
        end_at: Moment | None = None,
        as_known_at: Moment | None = None,
    ) -> "pl.LazyFrame":
        """Return the rows of a version as a Polars LazyFrame over files in a folder; those that are there stay.

        Args:
            folder: Where the files are kept, by digest: versions that share rows share files.
            version: Its number, or a tag that names it; None for the newest that may be used.
            columns: Only these; None for all.
            start_at: Only rows with event time at or after this.
            end_at: Only rows with event time before this.
            as_known_at: Rows as they were known at this moment: what became known later is missing.
        """
        if isinstance(version, str):
            found = self._remote.call("data.get_tagged", dataset=self.name, tag=version)
        else:
            found = self._remote.call("data.get_version", dataset=self.name, version=version)
        start_us = None if start_at is None else parse_moment(start_at, "start_at")
        end_us = None if end_at is None else parse_moment(end_at, "end_at")
        blobs = open_blob_store(str(folder))
        self._fetch(found, blobs, start_us, end_us)
        if as_known_at is None:
            return data.read.scan(found, blobs, columns, start_us, end_us)
        return data.read.as_known_at(found, blobs, parse_moment(as_known_at, "as_known_at"), columns, start_us, end_us)

    def _fetch(self, version: DatasetVersion, blobs: BlobStore, start_us: int | None, end_us: int | None) -> None:
        for fragment in version.fragments:
            if data.read.overlaps(fragment, start_us, end_us) and not blobs.has(fragment.digest):
                blobs.put(self._remote.caller.get_blob(self._remote.project, fragment.digest))

    def _encoded(self, rows: Table, operation: Operation) -> bytes:
        """Return rows as Parquet; those of a file are read as the dataset's own files are, and were before."""
        if not isinstance(rows, str | Path | SourceSpec):
            return to_parquet(rows)
        declared = self._remote.call("data.get", dataset=self.name)
        if isinstance(rows, SourceSpec) and rows.zone not in (None, zone := declared.spec.source.zone):
            rule = f"{zone}, as the dataset is declared" if zone else "none: declare it with the dataset's own source"
            raise InvalidInput("a dataset has one time zone", field="source.zone", value=rows.zone, rule=rule)
        if isinstance(rows, SourceSpec):
            rows = msgspec.structs.replace(rows, zone=declared.spec.source.zone)
        known = {}
        if declared.newest is not None and operation != "replace":
            newest = self._remote.call("data.get_version", dataset=self.name, version=declared.newest)
            stored = newest.raw if operation in ("append", "upsert") else newest.schema
            known = {column.name: parse_dtype(column.dtype) for column in stored}
        return to_parquet(rows, declared.spec.source, known)
