"""Tables of the loop: applied project specs, reactions that were taken, retrains and backtests that were started."""

from sqlalchemy import Boolean, Column, Index, Table, Text, false, text

from loopwright.store.columns import METADATA, Json, Moment, project_key

applied_specs = Table(
    "applied_specs",
    METADATA,
    project_key(),
    Column("number", Moment, primary_key=True),
    Column("digest", Text, nullable=False),
    Column("spec", Json, nullable=False),
    Column("applied_by", Text, nullable=False),
    Column("recorded_at", Moment, nullable=False),
)

reactions = Table(
    "reactions",
    METADATA,
    Column("rule", Text, primary_key=True),
    Column("position", Moment, primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("recorded_at", Moment, nullable=False),
    Column("failures", Moment, nullable=False, server_default="0"),
    Column("retry_at", Moment),
    Index(
        "ix_reactions_retry",
        "retry_at",
        sqlite_where=text("retry_at IS NOT NULL"),
        postgresql_where=text("retry_at IS NOT NULL"),
    ),
)

retrains = Table(
    "retrains",
    METADATA,
    project_key(),
    Column("retrain_id", Text, primary_key=True),
    Column("deployment", Text, nullable=False),
    Column("execution_id", Text, nullable=False),
    Column("cause", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("event_at", Moment, nullable=False),
    Column("finished_at", Moment),
    Column("version", Moment),
    Index("ix_retrains_deployment", "project_id", "deployment", "event_at"),
)

label_feeds = Table(
    "label_feeds",
    METADATA,
    project_key(),
    Column("deployment", Text, primary_key=True),
    Column("since", Moment, nullable=False),
    Column("waiting", Text, nullable=False),
    # How often the dataset's rows were replaced, and so all labels were to be looked at again.
    Column("replacements", Moment, nullable=False, server_default="0"),
    # When the log was looked into for their predictions.
    Column("looked_at", Moment, nullable=False, server_default="0"),
    # Whether there were more than one import takes.
    Column("has_more", Boolean, nullable=False, server_default=false()),
)

key_runs = Table(
    "key_runs",
    METADATA,
    project_key(),
    Column("deployment", Text, primary_key=True),
    Column("number", Moment, primary_key=True),
    Column("level", Moment, nullable=False),
    Column("rows", Moment, nullable=False),
    Column("event_last", Moment, nullable=False),
    Column("digest", Text, nullable=False),
    Column("size_bytes", Moment, nullable=False),
)

backtests = Table(
    "backtests",
    METADATA,
    project_key(),
    Column("backtest_id", Text, primary_key=True),
    Column("deployment", Text, nullable=False),
    Column("start_at", Moment, nullable=False),
    Column("end_at", Moment, nullable=False),
    Column("zone", Text, nullable=False),
    Column("keeps_project", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("versions", Json, nullable=False),
    Column("spec", Json, nullable=False),
    Column("job_id", Text, nullable=False),
    Column("started_by", Text, nullable=False),
    Column("recorded_at", Moment, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempt", Moment, nullable=False),
    Column("scratch", Text),
    Column("closing", Json),
    Column("error", Json),
    Column("finished_at", Moment),
    Index("ix_backtests_deployment", "project_id", "deployment", "backtest_id"),
)
