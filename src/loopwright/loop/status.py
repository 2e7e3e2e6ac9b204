"""Status: what serves, what waits and what needs a person, in one answer."""

import msgspec

from loopwright import registry, serving
from loopwright.governance import projects
from loopwright.kernel.verbs import query
from loopwright.loop.attention import find_needs
from loopwright.loop.needs import Need
from loopwright.store import sql as store_sql
from loopwright.store.tx import Tx

_MOST_UNJUDGED = 20
"""How many versions that no gate judges, such as yardsticks, may have followed the last one that was judged."""


class DeploymentLine(msgspec.Struct, frozen=True):
    """One deployment in a sentence.

    ``predictions`` counts sealed rows, shadows' too; those of files are ``scored``.
    ``progress`` says where a rollout that is under way stands: its step, when it is judged again, the last verdicts.
    ``refused`` says what the gates held against the model's newest training, empty where they let it pass.
    """

    name: str
    serving: str
    state: str
    predictions: int
    progress: str = ""
    refused: str = ""
    scored: int = 0


class Status(msgspec.Struct, frozen=True):
    """Where a project stands.

    ``clock_at`` is microseconds UTC. ``needs`` is what needs a person, see ``loop.attention``; ``needs_attention`` has
    a line for each.
    """

    project: str
    clock: str
    clock_at: int
    deployments: list[DeploymentLine]
    needs_attention: list[str]
    needs: list[Need]


@query("loop.status")
def status(tx: Tx) -> Status:
    """Return what serves, what waits and what needs a person."""
    project = projects.get(tx, name=tx.project)
    needs = find_needs(tx)
    return Status(
        project=tx.project,
        clock=project.clock,
        clock_at=tx.now_us,
        deployments=[_line(tx, deployment.spec.name) for deployment in serving.list_deployments(tx)],
        needs_attention=[need.line for need in needs],
        needs=needs,
    )


def _line(tx: Tx, name: str) -> DeploymentLine:
    deployment_status = serving.status(tx, deployment=name)
    served = [
        variant
        for variant in (deployment_status.release.variants if deployment_status.release else [])
        if not variant.is_shadow
    ]
    rollout = deployment_status.rollout
    logged = store_sql.count_rows(tx.connection, tx.project, "predictions", name)
    scored = store_sql.count_rows(tx.connection, tx.project, "predictions", name, serving.SCORERS)
    return DeploymentLine(
        name=name,
        serving=" · ".join(f"v{variant.version} {variant.weight:.0%}" for variant in served) or "nothing",
        state="retired"
        if deployment_status.retired is not None
        else "steady"
        if rollout is None
        else f"rollout of v{rollout.version}: {rollout.state}",
        predictions=logged - scored,
        progress="" if rollout is None else _progress(tx, rollout),
        refused=_refused(tx, deployment_status.deployment.spec.model),
        scored=scored,
    )


def _progress(tx: Tx, rollout: serving.Rollout) -> str:
    return serving.describe_progress(rollout, tx.now_us) if rollout.state in ("running", "paused") else ""


def _refused(tx: Tx, model: str) -> str:
    """Return which version the gates refused, and why, if that was the last one they judged."""
    for version in registry.list_versions(tx, model=model, limit=_MOST_UNJUDGED):
        if version.refit_of is not None:
            return ""
        for report in registry.gate_reports(tx, model=model, version=version.version, limit=1):
            failed = [result.message for result in report.results if result.verdict != "passed"]
            is_let_in = report.passed or report.forced_by or not report.results
            return "" if is_let_in else f"version {version.version}: {'; '.join(failed)}"
    return ""
