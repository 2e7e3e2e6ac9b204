"""Datasets: sources, immutable versions, schemas, profiles, checks, diffs."""

from loopwright.data.types import (
    VERSION_STATES,
    CheckResult,
    CheckSpec,
    ColumnChange,
    ColumnSchema,
    DatasetSpec,
    DatasetVersion,
    Diff,
    Fragment,
    KnownAt,
    SourceKind,
    SourceSpec,
)

__all__ = [
    "VERSION_STATES",
    "CheckResult",
    "CheckSpec",
    "ColumnChange",
    "ColumnSchema",
    "DatasetSpec",
    "DatasetVersion",
    "Diff",
    "Fragment",
    "KnownAt",
    "SourceKind",
    "SourceSpec",
]
