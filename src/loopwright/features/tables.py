"""Tables of features."""

from sqlalchemy import Column, Index, Table, Text

from loopwright.store.columns import METADATA, Json, Moment, project_key

definitions = Table(
    "feature_definitions",
    METADATA,
    project_key(),
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("spec", Json, nullable=False),
    Column("event_at", Moment, nullable=False),
    Column("recorded_at", Moment, nullable=False),
)

plans = Table(
    "feature_plans",
    METADATA,
    project_key(),
    Column("digest", Text, primary_key=True),
    Column("service", Text, nullable=False),
    Column("meaning", Text, nullable=False),
    Column("plan", Json, nullable=False),
    Column("recorded_at", Moment, nullable=False),
    Index("ix_feature_plans_meaning", "project_id", "meaning"),
)

training_sets = Table(
    "training_sets",
    METADATA,
    project_key(),
    Column("service", Text, primary_key=True),
    Column("version", Moment, primary_key=True, autoincrement=False),
    Column("spec", Json, nullable=False),
    Column("digest", Text, nullable=False),
    Column("size_bytes", Moment, nullable=False),
    Column("rows", Moment, nullable=False),
    Column("columns", Json, nullable=False),
    Column("label", Text, nullable=False),
    Column("plan_digest", Text, nullable=False),
    Column("event_at_min", Moment, nullable=False),
    Column("event_at_max", Moment, nullable=False),
    Column("recorded_at", Moment, nullable=False),
    Index("ix_training_sets_digest", "project_id", "service", "digest"),
)

materializations = Table(
    "materializations",
    METADATA,
    project_key(),
    Column("job_id", Text, primary_key=True),
    Column("view", Text, nullable=False),
    Column("view_key", Text, nullable=False),
    Column("dataset", Text, nullable=False),
    Column("dataset_version", Moment, nullable=False),
    Column("rows", Moment, nullable=False),
    Column("entities", Moment, nullable=False),
    Column("event_at", Moment, nullable=False),
    Column("recorded_at", Moment, nullable=False),
    Column("reason", Text, nullable=False),
    Index("ix_materializations_newest", "project_id", "recorded_at", "job_id"),
    Index("ix_materializations_view", "project_id", "view", "recorded_at"),
)
