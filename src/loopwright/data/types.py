"""Structs of data: dataset declarations, versions, schemas, checks, diffs."""

from typing import Annotated, Any, Literal

import msgspec

from loopwright.kernel.code import CodeRef
from loopwright.kernel.digests import Digest
from loopwright.store.types import BlobRef
from loopwright.store.work import Work, job_kind

Operation = Literal["append", "replace", "upsert", "complete", "delete"]
"""What an import does with its rows.

``append`` adds them and ``replace`` makes them the whole content; ``upsert`` adds those of new keys and puts the others
in the place of those of the same key; ``complete`` fills in columns of rows that are there; ``delete`` takes the rows
of these keys away.
"""

PreviewPart = Literal["rows", "failing"]

PUSHED_AT = "_pushed_at"
"""Column of rows that were pushed which says when; no dataset has it."""

RowSum = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
"""A sum of row hashes: two lanes of 64 bits in hexadecimal."""


class Dialect(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a CSV file is written.

    ``encoding`` is that of Python's codecs; empty for UTF-8, or UTF-16 where a byte order mark says so. ``thousands``
    stands between groups of three digits. ``missing`` are the words that stand for no value in every column; None for
    the usual ones (``NA``, ``null``, ``-`` and such) in columns that are no texts without them. ``columns`` names them
    where the file has no header line. ``skip`` lines come before the header, lines that begin with ``comment`` are
    left out. ``dates`` and ``moments`` are how days and moments are written beside ISO 8601, in the letters of
    ``strptime``. ``short_lines`` says what a line with too few fields is: an error, or one whose last values are
    missing.
    """

    separator: str = ","
    quote: str = '"'
    encoding: str = ""
    decimal: str = "."
    thousands: str = ""
    missing: list[str] | None = None
    columns: list[str] = []
    skip: int = 0
    comment: str = ""
    dates: str = ""
    moments: str = ""
    short_lines: Literal["refuse", "fill"] = "refuse"


class SourceSpec(msgspec.Struct, frozen=True):
    """Where rows come from: a file, folder or glob by path, or ``push``/``frame``/``topic`` where they are sent.

    ``kind`` is a plugin of kind ``sources`` that reads files, else one of these. ``location`` of a topic is the name
    that the operator gave its broker, a slash and its name there, and ``arrived`` the column that says when the broker
    took the row. That of ``sql`` is the operator's name of a database, ``query`` what is asked;
    ``watermark`` is the column by whose largest value, less ``overlap_us``, an import knows what is new. ``zone``
    is the time zone of moments that the source writes without one, such as ``America/New_York``. ``dialect`` is how
    text is written; ``types`` are dtypes of columns, such as ``{"zip": "String"}``, which are else told by all values
    of all files. ``sheet`` names that of a workbook; empty for its first.
    """

    kind: str
    location: str = ""
    zone: str | None = None
    dialect: Dialect = Dialect()
    types: dict[str, str] = {}
    sheet: str = ""
    arrived: str = ""
    query: str = ""
    watermark: str = ""
    overlap_us: int = 0

    @property
    def is_sent(self) -> bool:
        """Whether programs send the rows, so that there is no place to read them from."""
        return self.kind in ("push", "frame", "topic")

    @property
    def has_files(self) -> bool:
        """Whether its rows stand in files, which ``location`` names."""
        return not self.is_sent and self.kind != "sql"


class CheckSpec(msgspec.Struct, frozen=True):
    """One declared data-quality assertion: a plugin of kind ``checks``, its column and its arguments.

    ``severity`` is ``block`` (the version is quarantined) or ``warn``. ``most_share`` is the tolerated share of failing
    rows, 0..1. ``where`` is a rule such as ``country = 'de'``: rows of which it is not true are left out.
    """

    kind: str
    column: str | None = None
    args: dict[str, Any] = {}
    severity: Literal["block", "warn"] = "block"
    most_share: float = 0.0
    where: str = ""


class KnownAt(msgspec.Struct, frozen=True):
    """When a value became known: the moment in ``column``, plus ``after_us`` microseconds."""

    column: str
    after_us: int = 0


class DatasetSpec(msgspec.Struct, frozen=True):
    """Declaration of a dataset.

    ``time`` names the event-time column. ``known_at`` says when a column's value became known: ``{"is_late": ...}``;
    the key ``"*"`` holds for every column without an entry of its own; without any, values are known at event time.
    ``transform`` is a user function from a Polars LazyFrame to a LazyFrame, run on ingest. ``takes_labels`` lets labels
    of the deployments that are trained on it complete its rows, ``takes_pushes`` makes what is pushed its versions.
    ``every_us`` is how often its source is read again, microseconds; None where somebody asks for it.
    """

    name: str
    source: SourceSpec
    key: list[str]
    time: str | None = None
    known_at: dict[str, KnownAt] = {}
    transform: CodeRef | None = None
    checks: list[CheckSpec] = []
    personal: list[str] = []
    takes_labels: bool = False
    takes_pushes: bool = False
    every_us: int | None = None


class ColumnSchema(msgspec.Struct, frozen=True):
    """Name and Polars dtype of a column, as text such as ``Int64`` or ``Datetime(us, UTC)``."""

    name: str
    dtype: str
    nullable: bool = True


class CheckResult(msgspec.Struct, frozen=True):
    """What one check found: how many rows failed of how many, and the keys of the first of them.

    ``value`` is what a check measured that looks at one number about all rows.
    """

    check: CheckSpec
    passed: bool
    evaluated_rows: int
    failed_rows: int
    samples: list[dict[str, Any]] = []
    message: str = ""
    value: float | None = None


class Suggestion(msgspec.Struct, frozen=True):
    """A check, or (``personal``) a column that should be declared personal; ``code`` is how a project file says it."""

    code: str
    why: str
    check: CheckSpec | None = None
    personal: str = ""


FragmentPlace = tuple[int, int]
"""What names a fragment of a dataset: the version that added it, and its place among those of that version."""


class Fragment(msgspec.Struct, frozen=True):
    """One immutable Parquet blob of a version. Times are event times, microseconds UTC; None without a time column.

    ``kind`` is ``rows``; ``cells``, values that came later for rows of other fragments; or ``removed``, such rows that
    are no more. ``targets`` are those other fragments. ``place`` is None until a version holds it.
    """

    digest: Digest
    size_bytes: int
    rows: int
    event_at_min: int | None = None
    event_at_max: int | None = None
    kind: Literal["rows", "cells", "removed"] = "rows"
    targets: list[FragmentPlace] = []
    place: FragmentPlace | None = None


VERSION_STATES = {
    "pending": frozenset({"ready", "quarantined", "failed"}),
    "ready": frozenset[str](),
    "quarantined": frozenset({"ready"}),
    "failed": frozenset[str](),
}


class DatasetVersion(msgspec.Struct, frozen=True):
    """Immutable content-addressed state of a dataset: the fragments of ``parent`` and new ones, or (replace) new ones.

    Of fragments that follow each other the later ones correct the earlier: see ``Fragment.kind``.

    ``digest`` covers schema and content, not their order of arrival in fragments. ``raw`` are the columns as they were
    read, before the transform; the next append reads its files so. ``spec`` is the declaration it was
    imported under, ``row_sum`` the order-free sum of row hashes behind the digest, ``failing_digest`` a Parquet blob of
    the rows that failed a blocking check. ``restored_from`` is the version whose content it has, None where an import
    made it; ``restored_as`` the role of whoever restored it, empty where that is not on record. Lists of versions leave
    ``fragments`` empty.
    """

    dataset: str
    version: int
    state: str
    operation: Operation
    parent: int | None
    digest: Digest
    schema: list[ColumnSchema]
    fragments: list[Fragment]
    rows: int
    size_bytes: int
    profile_digest: Digest | None
    checks: list[CheckResult]
    event_at: int
    recorded_at: int
    reason: str = ""
    spec: DatasetSpec | None = None
    row_sum: str = ""
    failing_digest: Digest | None = None
    raw: list[ColumnSchema] = []
    restored_from: int | None = None
    restored_as: str = ""


class VersionOrigin(msgspec.Struct, frozen=True):
    """How a version came to be: whose doing it was, and what it did to the rows of the one it was built on.

    ``by`` asked for the import or restored; ``released_by`` let it out of quarantine. ``added``, ``changed`` and
    ``removed`` count rows by key; None where only a comparison tells, as of rows that replaced all others.
    """

    version: int
    by: str | None = None
    released_by: str | None = None
    released_reason: str = ""
    added: int | None = None
    changed: int | None = None
    removed: int | None = None


class Tag(msgspec.Struct, frozen=True):
    """A name of one version of a dataset, which may be moved; ``set_at`` is event time, microseconds UTC."""

    dataset: str
    tag: str
    version: int
    set_at: int


class Dataset(msgspec.Struct, frozen=True):
    """A declared dataset.

    ``newest`` is the number of its newest ready version; ``latest`` and ``latest_state`` are of the last of any state.
    """

    name: str
    spec: DatasetSpec
    created_at: int
    changed_at: int
    newest: int | None = None
    latest: int | None = None
    latest_state: str | None = None


class SpecChange(msgspec.Struct, frozen=True):
    """One field of a declaration that is not what it was."""

    field: str
    before: Any
    after: Any


class Declared(msgspec.Struct, frozen=True):
    """What a declaration did: nothing, if it is not new and has no changes."""

    dataset: Dataset
    is_new: bool
    changes: list[SpecChange]


@job_kind("data.import")
class ImportRequest(Work, frozen=True):
    """An import to be done: the declaration when it was asked for, and what to do with the rows.

    ``blobs`` are raw Parquet that was sent; None reads the declared source. ``known_at`` names a column of the rows
    that says when their values became known. ``corrects`` lets ``complete`` change values that are there.
    """

    spec: DatasetSpec
    operation: Operation
    blobs: list[BlobRef] | None = None
    reason: str = ""
    known_at: str | None = None
    corrects: bool = False


@job_kind("data.diff", needs_person=False)
class DiffRequest(Work, frozen=True):
    """A comparison to be made: two versions of a dataset by number."""

    dataset: str
    before: int
    after: int


class ImportedRows(msgspec.Struct, frozen=True):
    """What an import job made, ready to become a version on top of ``parent``, the newest ready one it looked at.

    ``fragments`` are the new ones alone; ``rows`` and ``row_sum`` are what they add, below zero where rows go.
    ``changed_rows`` were there and are not what they were. ``profile`` is of the whole version.
    """

    dataset: str
    operation: Operation
    parent: int | None
    spec: DatasetSpec
    schema: list[ColumnSchema]
    fragments: list[Fragment]
    rows: int
    row_sum: RowSum
    profile: BlobRef
    checks: list[CheckResult]
    failing: BlobRef | None = None
    dropped_rows: int = 0
    reason: str = ""
    raw: list[ColumnSchema] = []
    changed_rows: int = 0


class ImportResult(msgspec.Struct, frozen=True):
    """How an import ended.

    ``state`` is ``ready``, ``quarantined``, ``unchanged`` (the newest version has this content already), ``failed``, or
    ``stale``: another import came first, build again on ``version``. ``rows`` were added (below zero: taken away),
    ``changed_rows`` got other values, ``dropped_rows`` were exact repeats.
    """

    state: Literal["ready", "quarantined", "unchanged", "failed", "stale"]
    version: int | None
    rows: int = 0
    dropped_rows: int = 0
    message: str = ""
    changed_rows: int = 0


class ColumnChange(msgspec.Struct, frozen=True):
    """One difference of two schemas or profiles."""

    column: str
    what: str
    before: Any
    after: Any


class Diff(msgspec.Struct, frozen=True):
    """What changed between two versions: row counts by key, schema and statistics, and samples of each.

    ``changed_columns`` says in how many of the changed rows each column differs, those in none left out; None where
    the comparison was made before that was counted.
    """

    dataset: str
    before: int
    after: int
    added_rows: int
    removed_rows: int
    changed_rows: int
    schema: list[ColumnChange]
    statistics: list[ColumnChange]
    samples: dict[str, list[dict[str, Any]]] = {}
    changed_columns: dict[str, int] | None = None


class Preview(msgspec.Struct, frozen=True):
    """A few rows of a version, in stored order.

    ``part`` is ``rows``, or ``failing``: those that failed a check which held the version back, with why in a column
    of their own. There are ``total`` rows of it, and these begin after ``offset``. Each of ``values`` is a row in the
    order of ``columns``; the values of ``masked`` columns show that there is one, not which.
    """

    dataset: str
    version: int
    part: PreviewPart
    offset: int
    total: int
    columns: list[ColumnSchema]
    masked: list[str]
    values: list[list[Any]]
