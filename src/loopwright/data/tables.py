"""Tables of data."""

from sqlalchemy import Column, Index, Table, Text

from loopwright.store.columns import METADATA, Json, Moment, project_key

datasets = Table(
    "datasets",
    METADATA,
    project_key(),
    Column("name", Text, primary_key=True),
    Column("spec", Json, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("changed_at", Moment, nullable=False),
)

dataset_versions = Table(
    "dataset_versions",
    METADATA,
    project_key(),
    Column("dataset", Text, primary_key=True),
    Column("version", Moment, primary_key=True, autoincrement=False),
    Column("state", Text, nullable=False),
    Column("operation", Text, nullable=False),
    Column("parent", Moment),
    # The replace (or first version) that the chain of changes stands on.
    Column("base", Moment, nullable=False),
    Column("digest", Text, nullable=False),
    Column("row_sum", Text, nullable=False),
    Column("schema", Json, nullable=False),
    Column("rows", Moment, nullable=False),
    Column("size_bytes", Moment, nullable=False),
    Column("profile_digest", Text),
    Column("checks", Json, nullable=False),
    Column("failing_digest", Text),
    Column("raw", Json, nullable=False, server_default="[]"),
    Column("spec", Json, nullable=False),
    Column("event_at", Moment, nullable=False),
    Column("recorded_at", Moment, nullable=False),
    Column("reason", Text, nullable=False),
    Column("restored_from", Moment),
    Column("restored_as", Text, nullable=False, server_default=""),
    Index("ix_dataset_versions_state", "project_id", "dataset", "state", "version"),
)

dataset_fragments = Table(
    "dataset_fragments",
    METADATA,
    project_key(),
    Column("dataset", Text, primary_key=True),
    # The version that added it.
    Column("version", Moment, primary_key=True, autoincrement=False),
    Column("ordinal", Moment, primary_key=True, autoincrement=False),
    Column("digest", Text, nullable=False),
    Column("size_bytes", Moment, nullable=False),
    Column("rows", Moment, nullable=False),
    Column("event_at_min", Moment),
    Column("event_at_max", Moment),
    Column("kind", Text, nullable=False, server_default="rows"),
    Column("targets", Json, nullable=False, server_default="[]"),
)

dataset_imports = Table(
    "dataset_imports",
    METADATA,
    project_key(),
    Column("job_id", Text, primary_key=True),
    Column("dataset", Text, nullable=False),
    Column("result", Json, nullable=False),
    Column("recorded_at", Moment, nullable=False),
)

dataset_tags = Table(
    "dataset_tags",
    METADATA,
    project_key(),
    Column("dataset", Text, primary_key=True),
    Column("tag", Text, primary_key=True),
    Column("version", Moment, nullable=False),
    Column("set_at", Moment, nullable=False),
)
