"""Status: what serves, what waits and what needs a person, in one answer."""

import msgspec

from loopwright import data, monitoring, serving
from loopwright.governance import approvals, projects
from loopwright.kernel.verbs import query
from loopwright.store import sql as store_sql
from loopwright.store.tx import Tx


class DeploymentLine(msgspec.Struct, frozen=True):
    """One deployment in a sentence; ``predictions`` counts sealed rows."""

    name: str
    serving: str
    state: str
    predictions: int


class Status(msgspec.Struct, frozen=True):
    """Where a project stands. ``clock_at`` is microseconds UTC."""

    project: str
    clock: str
    clock_at: int
    deployments: list[DeploymentLine]
    needs_attention: list[str]


@query("loop.status")
def status(tx: Tx) -> Status:
    """Return what serves, what waits and what needs a person."""
    project = projects.get(tx, name=tx.project)
    return Status(
        project=tx.project,
        clock=project.clock,
        clock_at=tx.now_us,
        deployments=[_line(tx, one.spec.name) for one in serving.list_deployments(tx)],
        needs_attention=_needs_attention(tx),
    )


def _line(tx: Tx, name: str) -> DeploymentLine:
    found = serving.status(tx, deployment=name)
    served = [one for one in (found.release.variants if found.release else []) if not one.is_shadow]
    rollout = found.rollout
    return DeploymentLine(
        name=name,
        serving=" · ".join(f"v{one.version} {one.weight:.0%}" for one in served) or "nothing",
        state="steady" if rollout is None else f"rollout of v{rollout.version}: {rollout.state}",
        predictions=sum(
            chunk.rows for chunk in store_sql.find_chunks(tx.connection, tx.project, "predictions", stream=name)
        ),
    )


def _needs_attention(tx: Tx) -> list[str]:
    lines = [
        f"{one.question} (loopwright approve {one.approval_id})"
        for one in approvals.list_approvals(tx, state="waiting")
    ]
    lines += [
        f"{incident.severity}: {incident.title}"
        for incident in monitoring.incidents(tx)
        if incident.state != "resolved" and incident.needs_person
    ]
    for dataset in data.list_datasets(tx):
        newest = data.list_versions(tx, dataset=dataset.spec.name, limit=1)
        if newest and newest[0].state == "quarantined":
            lines.append(f"dataset {dataset.spec.name} version {newest[0].version} is quarantined: {newest[0].reason}")
    return lines
