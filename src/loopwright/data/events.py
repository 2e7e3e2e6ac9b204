"""Events of data: declarations, imports, versions and their quarantine, diffs."""

from typing import Any

from loopwright.data.types import CheckSpec, Operation, PreviewPart, SpecChange
from loopwright.kernel.events import Facts, event


@event("data.declared")
class DatasetDeclared(Facts, frozen=True):
    """A dataset was declared, or its declaration changed."""

    is_new: bool
    changes: list[SpecChange]


@event("data.import_started")
class ImportStarted(Facts, frozen=True):
    """Rows are on their way into a dataset."""

    job_id: str
    operation: Operation


@event("data.import_unchanged")
class ImportUnchanged(Facts, frozen=True):
    """An import brought the content that is there already."""

    job_id: str


@event("data.import_failed")
class ImportFailed(Facts, frozen=True):
    """An import made no version; told once for each different error of a job."""

    job_id: str
    error: dict[str, Any]


@event("data.version_ready")
class VersionReady(Facts, frozen=True, omit_defaults=True):
    """A version may be used: its checks passed, or a person released it from quarantine (``is_released``).

    ``warnings`` are the messages of failed checks that hold nothing back. ``job_id`` names the import, if one did it,
    ``restored_from`` the version whose content it is, where none did.
    """

    dataset: str
    version: int
    operation: Operation
    parent: int | None
    digest: str
    rows: int
    warnings: list[str]
    rows_added: int
    job_id: str = ""
    is_released: bool = False
    rows_changed: int = 0
    restored_from: int | None = None


@event("data.version_quarantined")
class VersionQuarantined(Facts, frozen=True):
    """A version failed blocking checks and is held back until somebody releases it."""

    dataset: str
    version: int
    job_id: str
    checks: list[CheckSpec]


@event("data.diff_started")
class DiffStarted(Facts, frozen=True):
    """Two versions are being compared."""

    job_id: str
    before: int
    after: int


@event("data.rows_read")
class RowsRead(Facts, frozen=True):
    """Somebody read rows of a version beyond its first ones; told once an hour for each token and version."""

    part: PreviewPart


@event("data.tag_set")
class TagSet(Facts, frozen=True):
    """A tag names another version than ``before``."""

    dataset: str
    tag: str
    version: int
    before: int | None


@event("data.tag_removed")
class TagRemoved(Facts, frozen=True):
    """A tag names no version any more."""

    dataset: str
    tag: str
    before: int
