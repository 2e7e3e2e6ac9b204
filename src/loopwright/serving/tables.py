"""Tables of serving."""

from sqlalchemy import Column, Index, Table, Text

from loopwright.store.columns import METADATA, Json, Moment, project_key

deployments = Table(
    "deployments",
    METADATA,
    project_key(),
    Column("name", Text, primary_key=True),
    Column("model", Text, nullable=False),
    Column("spec", Json, nullable=False),
    Column("event_at", Moment, nullable=False),
    Column("recorded_at", Moment, nullable=False),
    Index("ix_deployments_model", "project_id", "model"),
)

releases = Table(
    "releases",
    METADATA,
    project_key(),
    Column("deployment", Text, primary_key=True),
    Column("number", Moment, primary_key=True),
    Column("position", Moment, nullable=False, unique=True),
    Column("champion", Moment, nullable=False),
    Column("is_rollback", Moment, nullable=False),
    Column("rollout_id", Text, nullable=False),
    Column("document", Json, nullable=False),
    Column("recorded_at", Moment, nullable=False),
)

rollouts = Table(
    "rollouts",
    METADATA,
    project_key(),
    Column("rollout_id", Text, primary_key=True),
    Column("deployment", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("version", Moment, nullable=False),
    Column("champion", Moment),
    Column("steps", Json, nullable=False),
    Column("step", Moment, nullable=False),
    Column("state", Text, nullable=False),
    Column("started_by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("step_started_at", Moment, nullable=False),
    Column("event_at", Moment, nullable=False),
    Column("recorded_at", Moment, nullable=False),
    Column("finished_at", Moment),
    Column("verdicts", Json, nullable=False),
    Column("forced_reason", Text, nullable=False),
    Column("release", Moment, nullable=False),
    Column("looks", Moment, nullable=False),
    Column("paused_at", Moment),
    Column("paused_us", Moment, nullable=False),
    Index("ix_rollouts_deployment", "project_id", "deployment", "rollout_id"),
)

looks = Table(
    "rollout_looks",
    METADATA,
    project_key(),
    Column("rollout_id", Text, primary_key=True),
    Column("step", Moment, primary_key=True),
    Column("look", Moment, primary_key=True),
    Column("verdicts", Json, nullable=False),
    Column("event_at", Moment, nullable=False),
)

gateways = Table(
    "gateways",
    METADATA,
    project_key(),
    Column("gateway", Text, primary_key=True),
    Column("address", Text, nullable=False),
    Column("acknowledged", Moment, nullable=False),
    Column("lease_until", Moment, nullable=False),
    Column("failures", Json),
    Column("troubles", Json),
)
