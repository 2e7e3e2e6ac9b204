"""Datasets: sources, immutable versions, schemas, profiles, checks, diffs.

What computes on frames (``diff``, ``fingerprints``, ``layers``, ``preview``, ``profiles``, ``quality``, ``read``,
``reading``, ``sources``, ``suggestions``) loads Polars, so it is imported only when somebody asks for it;
``contracts`` loads YAML.
"""

from typing import TYPE_CHECKING

from loopwright.data import commits, datasets, declarations, known, row_keys, source_specs, versions
from loopwright.data.checks import read_rule
from loopwright.data.commits import finish_import
from loopwright.data.datasets import declare, find_loosening, get, list_datasets
from loopwright.data.dtypes import parse_dtype
from loopwright.data.events import (
    DatasetDeclared,
    DiffStarted,
    ImportFailed,
    ImportStarted,
    ImportUnchanged,
    RowsRead,
    TagRemoved,
    TagSet,
    VersionQuarantined,
    VersionReady,
)
from loopwright.data.masking import is_masked, mask_checks, masked_columns
from loopwright.data.origins import list_origins
from loopwright.data.quarantine import check_usable, explain_quarantine
from loopwright.data.restoring import restore
from loopwright.data.rhythm import LateFeed, late_feeds
from loopwright.data.schedules import plan_import
from loopwright.data.source_specs import address_of
from loopwright.data.tags import get_tagged, list_tags, tag_version, untag
from loopwright.data.types import (
    PUSHED_AT,
    VERSION_STATES,
    CheckResult,
    CheckSpec,
    ColumnChange,
    ColumnSchema,
    Dataset,
    DatasetSpec,
    DatasetVersion,
    Declared,
    Dialect,
    Diff,
    DiffRequest,
    Fragment,
    ImportedRows,
    ImportRequest,
    ImportResult,
    KnownAt,
    Operation,
    Preview,
    PreviewPart,
    SourceSpec,
    SpecChange,
    Suggestion,
    Tag,
    VersionOrigin,
)
from loopwright.data.versions import (
    built_on,
    diff_result,
    get_head,
    get_version,
    list_versions,
    newest_version,
    release_quarantine,
    released_versions,
    require_version,
    sharing,
    start_diff,
    start_import,
    version_before,
)
from loopwright.kernel.doors import later

if TYPE_CHECKING:
    from loopwright.data import (
        contracts,
        diff,
        fingerprints,
        layers,
        preview,
        profiles,
        quality,
        read,
        reading,
        sources,
        suggestions,
    )

__getattr__ = later(
    __name__,
    {},
    (
        *("contracts", "diff", "fingerprints", "layers", "preview", "profiles", "quality", "read", "reading"),
        *("sources", "suggestions"),
    ),
)

__all__ = [
    "PUSHED_AT",
    "VERSION_STATES",
    "CheckResult",
    "CheckSpec",
    "ColumnChange",
    "ColumnSchema",
    "Dataset",
    "DatasetDeclared",
    "DatasetSpec",
    "DatasetVersion",
    "Declared",
    "Dialect",
    "Diff",
    "DiffRequest",
    "DiffStarted",
    "Fragment",
    "ImportFailed",
    "ImportRequest",
    "ImportResult",
    "ImportStarted",
    "ImportUnchanged",
    "ImportedRows",
    "KnownAt",
    "LateFeed",
    "Operation",
    "Preview",
    "PreviewPart",
    "RowsRead",
    "SourceSpec",
    "SpecChange",
    "Suggestion",
    "Tag",
    "TagRemoved",
    "TagSet",
    "VersionOrigin",
    "VersionQuarantined",
    "VersionReady",
    "address_of",
    "built_on",
    "check_usable",
    "commits",
    "contracts",
    "datasets",
    "declarations",
    "declare",
    "diff",
    "diff_result",
    "explain_quarantine",
    "find_loosening",
    "fingerprints",
    "finish_import",
    "get",
    "get_head",
    "get_tagged",
    "get_version",
    "is_masked",
    "known",
    "late_feeds",
    "layers",
    "list_datasets",
    "list_origins",
    "list_tags",
    "list_versions",
    "mask_checks",
    "masked_columns",
    "newest_version",
    "parse_dtype",
    "plan_import",
    "preview",
    "profiles",
    "quality",
    "read",
    "read_rule",
    "reading",
    "release_quarantine",
    "released_versions",
    "require_version",
    "restore",
    "row_keys",
    "sharing",
    "source_specs",
    "sources",
    "start_diff",
    "start_import",
    "suggestions",
    "tag_version",
    "untag",
    "version_before",
    "versions",
]
