"""Which columns name blobs. What one of them names is kept; everything else may go.

Every column of text or documents stands in one of the two lists, or the tests fail. A column that is in neither, such
as one of a plugin, is read as if it named blobs: to forget one keeps too much and loses nothing.
"""

import re
from collections.abc import Iterator
from itertools import chain

from sqlalchemy import Connection, Table, Text, select, type_coerce

from loopwright.store.columns import METADATA, Json

PINS: dict[str, str] = {
    "applied_specs.spec": "code of applied projects",
    "backtests.spec": "code of backtests",
    "chunks.digest": "chunks of streams",
    "chunks.profile_digest": "chunks of streams",
    "dataset_fragments.digest": "dataset versions",
    "dataset_imports.result": "dataset versions",
    "dataset_versions.checks": "dataset versions",
    "dataset_versions.failing_digest": "dataset versions",
    "dataset_versions.profile_digest": "dataset versions",
    "dataset_versions.spec": "dataset versions",
    "datasets.spec": "dataset versions",
    "deployments.spec": "deployments and releases",
    "executions.error": "executions",
    "executions.params": "executions",
    "feature_definitions.spec": "features and training sets",
    "feature_plans.plan": "features and training sets",
    "gate_reports.evidence": "models",
    "jobs.args": "jobs and timers",
    "jobs.error": "jobs and timers",
    "jobs.result": "jobs and timers",
    "key_runs.digest": "which predictions were made for which row",
    "label_feeds.waiting": "labels that wait for their rows",
    "lineage.child": "lineage",
    "lineage.parent": "lineage",
    "model_versions.code_digest": "models",
    "model_versions.files": "models",
    "model_versions.monitoring_profile": "models",
    "monitors.policy": "monitors and windows",
    "monitors.reference": "monitors and windows",
    "monitors.spec": "monitors and windows",
    "pipeline_definitions.spec": "executions",
    "releases.document": "deployments and releases",
    "rollouts.steps": "deployments and releases",
    "run_artifacts.digest": "runs",
    "runs.environment": "runs",
    "runs.inputs": "runs",
    "runs.source": "runs",
    "step_cache.log_digest": "executions",
    "step_cache.output": "executions",
    "step_runs.error": "executions",
    "step_runs.log_digest": "executions",
    "step_runs.output": "executions",
    "stream_cursors.waiting": "pushed rows and labels that wait",
    "timers.args": "jobs and timers",
    "training_sets.digest": "features and training sets",
    "training_sets.spec": "features and training sets",
    "windows.document": "monitors and windows",
}
"""``table.column`` that names blobs, as a digest or inside a document, and what it keeps, in words for a person."""

NO_PINS: dict[str, str] = {
    "events": "the audit trail tells of what was, and outlives it",
    "blobs": "says which project may read a blob, not what it is for",
    "condemned_blobs": "what is about to go",
    "alerts": "tells figures",
    "approvals": "digests of declarations, which no blob holds",
    "cursors": "positions",
    "gateways": "who is alive",
    "idempotency_keys": "an answer that is told again claims nothing that its call did not claim",
    "incidents": "words",
    "leases": "who does what",
    "low_disks": "words",
    "materializations": "refs and keys",
    "merged_chunks": "what was merged: its rows are in the chunk that it became",
    "metric_points": "figures",
    "model_aliases": "names",
    "models": "names",
    "pipelines": "digests of definitions, which no blob holds",
    "projects": "names",
    "reactions": "outcomes in words",
    "retrains": "refs and words",
    "retentions": "names",
    "removals": "what was removed",
    "rollout_looks": "figures of verdicts",
    "run_metrics": "figures",
    "run_params": "what a person notes is no claim on a blob",
    "run_tags": "what a person notes is no claim on a blob",
    "channel_targets": "addresses, and digests of them, which no blob holds",
    "sessions": "digests of secrets",
    "tokens": "digests of secrets",
    "tombstones": "what was deleted keeps nothing",
    "backtests.*": "names, figures and words",
    "chunks.*": "ids and names",
    "dataset_versions.*": "digests of rows and of schemas, which no blob holds, and words",
    "dataset_fragments.*": "names",
    "dataset_imports.*": "names",
    "dataset_tags.*": "names",
    "datasets.*": "names",
    "deployments.*": "names",
    "executions.*": "names, and digests of definitions, which no blob holds",
    "feature_definitions.*": "names, and digests of definitions",
    "feature_plans.*": "names, and digests of plans",
    "gate_reports.*": "verdicts and words",
    "jobs.*": "names",
    "key_runs.*": "names",
    "label_feeds.*": "names",
    "lineage.*": "names",
    "model_versions.*": "names, words, and the digest over the files' digests",
    "monitors.*": "names, and which metrics are watched",
    "pipeline_definitions.*": "digests of definitions, which no blob holds",
    "applied_specs.*": "names, and digests of specs, which no blob holds",
    "releases.*": "names",
    "rollouts.*": "names, words and verdicts",
    "run_artifacts.*": "names",
    "runs.*": "names",
    "step_cache.*": "names, and keys over the digests of inputs",
    "step_runs.*": "names, and keys over the digests of inputs",
    "stream_cursors.*": "names",
    "timers.*": "names",
    "training_sets.*": "names",
    "windows.*": "names",
}
"""Tables, or the columns of a table that are not in the other list (``table.*``), that keep no blob, and why."""

_DIGEST = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_ROWS_AT_ONCE = 5_000
_OTHER = "other rows"


def undeclared() -> list[str]:
    """Return every ``table.column`` of text or documents that stands in neither list."""
    return [
        f"{table.name}.{column}"
        for table in METADATA.sorted_tables
        if table.name not in NO_PINS and f"{table.name}.*" not in NO_PINS
        for column in _texts(table)
        if f"{table.name}.{column}" not in PINS
    ]


def columns_to_scan(table: Table) -> dict[str, str]:
    """Return the columns of a table whose blobs are kept, and the words for what they keep."""
    if table.name in NO_PINS:
        return {}
    named = {column: PINS.get(f"{table.name}.{column}") for column in _texts(table)}
    if f"{table.name}.*" in NO_PINS:
        return {column: words for column, words in named.items() if words is not None}
    return {column: words or _OTHER for column, words in named.items()}


def named_blobs(connection: Connection) -> dict[bytes, str]:
    """Return every digest (32 bytes) that a row of the snapshot names, and what for; 100 bytes of memory each."""
    named: dict[bytes, str] = {}
    for table in METADATA.sorted_tables:
        if columns := columns_to_scan(table):
            words = list(columns.values())
            for values in _values(connection, table, list(columns)):
                named |= {digest: why for digest, why in _digests(values, words) if digest not in named}
    return named


def _digests(values: tuple[str | None, ...], words: list[str]) -> Iterator[tuple[bytes, str]]:
    for why, value in zip(words, values, strict=True):
        yield from ((bytes.fromhex(digest), why) for digest in _DIGEST.findall(value or ""))


def _values(connection: Connection, table: Table, columns: list[str]) -> Iterator[tuple[str | None, ...]]:
    # As text: a document need not be taken apart to look for digests in it.
    statement = select(*(type_coerce(table.c[name], Text) for name in columns))
    rows = connection.execute(statement.execution_options(yield_per=_ROWS_AT_ONCE))
    return chain.from_iterable([tuple(row) for row in part] for part in rows.partitions())


def _texts(table: Table) -> list[str]:
    return [str(column.name) for column in table.columns if isinstance(column.type, Text | Json)]
