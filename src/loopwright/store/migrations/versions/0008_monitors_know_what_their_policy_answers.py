"""Monitors know what their retrain policy answers, and by which limits, instead of whether there is one."""

import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_monitors = sa.table("monitors", sa.column("project_id"), sa.column("deployment"), sa.column("policy"))
_specs = sa.table("applied_specs", sa.column("project_id"), sa.column("number"), sa.column("spec"))


def upgrade() -> None:
    """Apply this revision."""
    op.add_column("monitors", sa.Column("policy", sa.Text(), nullable=True))
    connection = op.get_bind()
    for project, policy in _newest_policies(connection):
        is_of = sa.and_(_monitors.c.project_id == project, _monitors.c.deployment == policy["deployment"])
        connection.execute(sa.update(_monitors).where(is_of).values(policy=json.dumps(_answers(policy["when"]))))
    op.drop_column("monitors", "has_policy")


def _newest_policies(connection: sa.Connection) -> Iterator[tuple[str, dict[str, Any]]]:
    newest = sa.select(_specs.c.project_id, _specs.c.spec).order_by(_specs.c.project_id, _specs.c.number)
    specs = {row.project_id: row.spec for row in connection.execute(newest)}
    for project, spec in specs.items():
        for policy in json.loads(spec).get("retrains", []):
            yield project, policy


def _answers(triggers: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what a policy answers, as apply declares it from now on."""
    limits = [trigger["args"] for trigger in triggers if trigger["kind"] == "decay"]
    return {
        "drift": any(trigger["kind"] == "drift" for trigger in triggers),
        "decay": [{"by": one["by"], "least_labels": one.get("least_labels", 0)} for one in limits],
    }
