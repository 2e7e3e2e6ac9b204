"""Registry, serving, monitoring, loop."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Apply this revision."""
    _change_alerts()
    _change_applied_specs()
    _change_deployments()
    _change_gate_reports()
    _change_gateways()
    _change_incidents()
    _change_model_aliases()
    _change_model_versions()
    _change_models()
    _change_monitors()
    _change_reactions()
    _change_releases()
    _change_retrains()
    _change_rollout_looks()
    _change_rollouts()
    _change_windows()


def _change_alerts() -> None:
    op.create_table(
        "alerts",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("alert_id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("event_at", sa.BigInteger(), nullable=False),
        sa.Column("incident_id", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "alert_id", name=op.f("pk_alerts")),
    )
    op.create_index("ix_alerts_incident", "alerts", ["project_id", "incident_id"], unique=False)
    op.create_index("ix_alerts_key", "alerts", ["project_id", "key"], unique=False)


def _change_applied_specs() -> None:
    op.create_table(
        "applied_specs",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("applied_by", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "number", name=op.f("pk_applied_specs")),
    )


def _change_deployments() -> None:
    op.create_table(
        "deployments",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("event_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "name", name=op.f("pk_deployments")),
    )
    op.create_index("ix_deployments_model", "deployments", ["project_id", "model"], unique=False)


def _change_gate_reports() -> None:
    op.create_table(
        "gate_reports",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("report_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("results", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("event_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("forced_by", sa.Text(), nullable=False),
        sa.Column("forced_reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "report_id", name=op.f("pk_gate_reports")),
    )
    op.create_index(
        "ix_gate_reports_version", "gate_reports", ["project_id", "model", "version", "report_id"], unique=False
    )


def _change_gateways() -> None:
    op.create_table(
        "gateways",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("gateway", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("acknowledged", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "gateway", name=op.f("pk_gateways")),
    )


def _change_incidents() -> None:
    op.create_table(
        "incidents",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("incident_id", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("needs_person", sa.Boolean(), nullable=False),
        sa.Column("alerts", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("resolved_at", sa.BigInteger(), nullable=True),
        sa.Column("resolution", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "incident_id", name=op.f("pk_incidents")),
    )
    op.create_index("ix_incidents_state", "incidents", ["project_id", "state", "opened_at"], unique=False)
    op.create_index("ix_incidents_subject", "incidents", ["project_id", "subject", "kind"], unique=False)


def _change_model_aliases() -> None:
    op.create_table(
        "model_aliases",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "model", "alias", name=op.f("pk_model_aliases")),
    )


def _change_model_versions() -> None:
    op.create_table(
        "model_versions",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("token", sa.Text(), nullable=True),
        sa.Column("flavour", sa.Text(), nullable=False),
        sa.Column("files", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.Column("metrics", sa.Text(), nullable=False),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("plan_digest", sa.Text(), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("training_set", sa.Text(), nullable=False),
        sa.Column("code_digest", sa.Text(), nullable=False),
        sa.Column("refit_of", sa.Integer(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("event_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("monitoring_profile", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "model", "version", name=op.f("pk_model_versions")),
    )
    op.create_index("uq_model_versions_token", "model_versions", ["project_id", "model", "token"], unique=True)


def _change_models() -> None:
    op.create_table(
        "models",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("versions", sa.Integer(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "model", name=op.f("pk_models")),
    )


def _change_monitors() -> None:
    op.create_table(
        "monitors",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("is_external", sa.Boolean(), nullable=False),
        sa.Column("has_policy", sa.Boolean(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("reference_at", sa.BigInteger(), nullable=False),
        sa.Column("model_version", sa.BigInteger(), nullable=True),
        sa.Column("metrics", sa.Text(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("event_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "deployment", name=op.f("pk_monitors")),
    )


def _change_reactions() -> None:
    op.create_table(
        "reactions",
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("rule", "position", name=op.f("pk_reactions")),
    )


def _change_releases() -> None:
    op.create_table(
        "releases",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("champion", sa.BigInteger(), nullable=False),
        sa.Column("is_rollback", sa.BigInteger(), nullable=False),
        sa.Column("rollout_id", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "deployment", "number", name=op.f("pk_releases")),
        sa.UniqueConstraint("position", name=op.f("uq_releases_position")),
    )


def _change_retrains() -> None:
    op.create_table(
        "retrains",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("retrain_id", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("execution_id", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("event_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("project_id", "retrain_id", name=op.f("pk_retrains")),
    )
    op.create_index("ix_retrains_deployment", "retrains", ["project_id", "deployment", "event_at"], unique=False)


def _change_rollout_looks() -> None:
    op.create_table(
        "rollout_looks",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("rollout_id", sa.Text(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("look", sa.BigInteger(), nullable=False),
        sa.Column("verdicts", sa.Text(), nullable=False),
        sa.Column("event_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "rollout_id", "step", "look", name=op.f("pk_rollout_looks")),
    )


def _change_rollouts() -> None:
    op.create_table(
        "rollouts",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("rollout_id", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("champion", sa.BigInteger(), nullable=True),
        sa.Column("steps", sa.Text(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("started_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("step_started_at", sa.BigInteger(), nullable=False),
        sa.Column("event_at", sa.BigInteger(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("verdicts", sa.Text(), nullable=False),
        sa.Column("forced_reason", sa.Text(), nullable=False),
        sa.Column("release", sa.BigInteger(), nullable=False),
        sa.Column("looks", sa.BigInteger(), nullable=False),
        sa.Column("paused_at", sa.BigInteger(), nullable=True),
        sa.Column("paused_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "rollout_id", name=op.f("pk_rollouts")),
    )
    op.create_index("ix_rollouts_deployment", "rollouts", ["project_id", "deployment", "rollout_id"], unique=False)


def _change_windows() -> None:
    op.create_table(
        "windows",
        sa.Column("project_id", sa.Text(), nullable=False),
        sa.Column("deployment", sa.Text(), nullable=False),
        sa.Column("start_at", sa.BigInteger(), nullable=False),
        sa.Column("end_at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "deployment", "start_at", name=op.f("pk_windows")),
    )
