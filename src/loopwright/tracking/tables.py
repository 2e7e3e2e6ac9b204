"""Tables of tracking: runs, and narrow tables of what is searched by key."""

from sqlalchemy import Column, Double, Index, Table, Text, text

from loopwright.store.columns import METADATA, AnyJson, Json, Moment, Serial, project_key

runs = Table(
    "runs",
    METADATA,
    project_key(),
    Column("run_id", Text, primary_key=True),
    Column("experiment", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("inputs", Json, nullable=False),
    Column("environment", Json),
    Column("source", Json),
    Column("execution_id", Text),
    Column("event_at", Moment, nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("finished_at", Moment),
    # When retention removed the points of its metrics, all but the last of each.
    Column("points_removed_at", Moment),
    Index("ix_runs_experiment", "project_id", "experiment", "run_id"),
    Index(
        "ix_runs_with_points",
        "project_id",
        "experiment",
        "finished_at",
        sqlite_where=text("points_removed_at IS NULL"),
        postgresql_where=text("points_removed_at IS NULL"),
    ),
)

run_params = Table(
    "run_params",
    METADATA,
    project_key(),
    Column("run_id", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("document", AnyJson, nullable=False),
    Column("text", Text, nullable=False),
    Column("number", Double),
    Index("ix_run_params_number", "project_id", "key", "number"),
)

run_tags = Table(
    "run_tags",
    METADATA,
    project_key(),
    Column("run_id", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("text", Text, nullable=False),
)

run_metrics = Table(
    "run_metrics",
    METADATA,
    project_key(),
    Column("run_id", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("step", Moment, nullable=False),
    Column("at_us", Moment, nullable=False),
    # The last value; NULL is NaN, because SQLite stores it so and comparisons then agree on both databases.
    Column("number", Double),
    Index("ix_run_metrics_number", "project_id", "key", "number", "run_id"),
)

metric_points = Table(
    "metric_points",
    METADATA,
    Column("point_id", Serial, primary_key=True, autoincrement=True),
    Column("project_id", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("step", Moment, nullable=False),
    Column("at_us", Moment, nullable=False),
    Column("number", Double),
    Index("ix_metric_points_run", "project_id", "run_id", "key", "step"),
)

run_artifacts = Table(
    "run_artifacts",
    METADATA,
    project_key(),
    Column("run_id", Text, primary_key=True),
    Column("path", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("size_bytes", Moment, nullable=False),
)
