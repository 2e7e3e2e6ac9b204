"""Tables of monitoring."""

from sqlalchemy import Boolean, Column, Index, Table, Text

from loopwright.store.columns import METADATA, Json, Moment, project_key

monitors = Table(
    "monitors",
    METADATA,
    project_key(),
    Column("deployment", Text, primary_key=True),
    Column("spec", Json, nullable=False),
    Column("task", Text, nullable=False),
    Column("is_external", Boolean, nullable=False),
    Column("policy", Json),
    Column("reference", Text, nullable=False),
    Column("reference_at", Moment, nullable=False),
    Column("model_version", Moment),
    Column("metrics", Json, nullable=False),
    Column("next_at", Moment),
    Column("event_at", Moment, nullable=False),
    Column("recorded_at", Moment, nullable=False),
)

channel_targets = Table(
    "channel_targets",
    METADATA,
    project_key(),
    Column("channel", Text, primary_key=True),
    Column("target", Text, nullable=False),
)

windows = Table(
    "windows",
    METADATA,
    project_key(),
    Column("deployment", Text, primary_key=True),
    Column("start_at", Moment, primary_key=True),
    Column("end_at", Moment, nullable=False),
    Column("state", Text, nullable=False),
    Column("document", Json, nullable=False),
    Column("recorded_at", Moment, nullable=False),
)

incidents = Table(
    "incidents",
    METADATA,
    project_key(),
    Column("incident_id", Text, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("needs_person", Boolean, nullable=False),
    Column("alerts", Moment, nullable=False),
    Column("owner", Text, nullable=False),
    Column("opened_at", Moment, nullable=False),
    Column("last_at", Moment, nullable=False),
    Column("resolved_at", Moment),
    Column("resolution", Text, nullable=False),
    Index("ix_incidents_subject", "project_id", "subject", "kind"),
    Index("ix_incidents_state", "project_id", "state", "opened_at"),
)

alerts = Table(
    "alerts",
    METADATA,
    project_key(),
    Column("alert_id", Text, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("facts", Json, nullable=False),
    Column("event_at", Moment, nullable=False),
    Column("incident_id", Text, nullable=False),
    Column("key", Text, nullable=False),
    Index("ix_alerts_incident", "project_id", "incident_id"),
    Index("ix_alerts_key", "project_id", "key"),
)
