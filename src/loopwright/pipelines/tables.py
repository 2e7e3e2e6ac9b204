"""Tables of pipelines."""

from sqlalchemy import Boolean, Column, Index, Table, Text

from loopwright.store.columns import METADATA, Json, Moment, project_key

pipelines = Table(
    "pipelines",
    METADATA,
    project_key(),
    Column("name", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("changed_at", Moment, nullable=False),
)

pipeline_definitions = Table(
    "pipeline_definitions",
    METADATA,
    project_key(),
    Column("digest", Text, primary_key=True),
    Column("spec", Json, nullable=False),
    Column("recorded_at", Moment, nullable=False),
)

executions = Table(
    "executions",
    METADATA,
    project_key(),
    Column("execution_id", Text, primary_key=True),
    Column("pipeline", Text, nullable=False),
    Column("pipeline_digest", Text, nullable=False),
    Column("params", Json, nullable=False),
    Column("state", Text, nullable=False),
    Column("started_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("event_at", Moment, nullable=False),
    Column("recorded_at", Moment, nullable=False),
    Column("finished_at", Moment),
    Column("error", Json),
    Column("round", Moment, nullable=False),
    Column("attempt", Moment, nullable=False, server_default="0"),
    Index("ix_executions_newest", "project_id", "recorded_at", "execution_id"),
    Index("ix_executions_pipeline", "project_id", "pipeline", "recorded_at"),
)

step_runs = Table(
    "step_runs",
    METADATA,
    project_key(),
    Column("execution_id", Text, primary_key=True),
    Column("step", Text, primary_key=True),
    Column("place", Moment, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempt", Moment, nullable=False),
    Column("failures", Moment, nullable=False),
    Column("is_from_cache", Boolean, nullable=False),
    Column("cache_key", Text),
    Column("output", Json),
    Column("error", Json),
    Column("started_at", Moment),
    Column("finished_at", Moment),
    Column("log_digest", Text),
    Column("progress", Text),
    Column("due_at", Moment),
)

step_cache = Table(
    "step_cache",
    METADATA,
    project_key(),
    Column("cache_key", Text, primary_key=True),
    Column("execution_id", Text, nullable=False),
    Column("step", Text, nullable=False),
    Column("output", Json),
    Column("log_digest", Text),
    Column("recorded_at", Moment, nullable=False),
    # When a step was last spared by it, to the day.
    Column("used_at", Moment, nullable=False, server_default="0"),
    Index("ix_step_cache_used", "used_at"),
)
