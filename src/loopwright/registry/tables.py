"""Tables of the registry: models, versions, aliases, gate reports."""

from sqlalchemy import Boolean, Column, Index, Table, Text

from loopwright.store.columns import METADATA, Json, Moment, Number, project_key

models = Table(
    "models",
    METADATA,
    project_key(),
    Column("model", Text, primary_key=True),
    Column("versions", Number, nullable=False),
    Column("recorded_at", Moment, nullable=False),
)

model_versions = Table(
    "model_versions",
    METADATA,
    project_key(),
    Column("model", Text, primary_key=True),
    Column("version", Number, primary_key=True),
    Column("token", Text),
    Column("flavour", Text, nullable=False),
    Column("files", Json, nullable=False),
    Column("digest", Text, nullable=False),
    Column("signature", Json, nullable=False),
    Column("metrics", Json, nullable=False),
    Column("service", Text, nullable=False),
    Column("plan_digest", Text, nullable=False),
    Column("run", Text, nullable=False),
    Column("training_set", Text, nullable=False),
    Column("code_digest", Text, nullable=False),
    Column("refit_of", Number),
    Column("source", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("event_at", Moment, nullable=False),
    Column("recorded_at", Moment, nullable=False),
    Column("monitoring_profile", Text, nullable=False),
    Index("uq_model_versions_token", "project_id", "model", "token", unique=True),
)

aliases = Table(
    "model_aliases",
    METADATA,
    project_key(),
    Column("model", Text, primary_key=True),
    Column("alias", Text, primary_key=True),
    Column("version", Number, nullable=False),
)

gate_reports = Table(
    "gate_reports",
    METADATA,
    project_key(),
    Column("report_id", Text, primary_key=True),
    Column("model", Text, nullable=False),
    Column("version", Number, nullable=False),
    Column("passed", Boolean, nullable=False),
    Column("results", Json, nullable=False),
    Column("evidence", Json, nullable=False),
    Column("event_at", Moment, nullable=False),
    Column("recorded_at", Moment, nullable=False),
    Column("forced_by", Text, nullable=False),
    Column("forced_reason", Text, nullable=False),
    Index("ix_gate_reports_version", "project_id", "model", "version", "report_id"),
)
