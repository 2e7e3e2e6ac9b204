"""What a closing table is about, as a project's declarations say it."""

from loopwright.kernel.errors import NotFound
from loopwright.loop.types import ProjectSpec, Scope

_USUAL_METRIC = {"binary": "roc_auc", "regression": "rmse", "forecast": "rmse", "multiclass": "accuracy"}


def find_scope(spec: ProjectSpec, deployment: str, start_at: int, end_at: int, zone: str = "UTC") -> Scope:
    """Return what a project says of a deployment: its task, monitored metric and followed aliases.

    Raises:
        NotFound: It declares no such deployment.
    """
    declared = next((each for each in spec.deployments if each.name == deployment), None)
    if declared is None:
        known = ", ".join(each.name for each in spec.deployments) or "none"
        message = f"no deployment is named {deployment}"
        raise NotFound(message, field="deployment", value=deployment, rule=f"declared: {known}")
    monitor = spec.monitors.get(deployment)
    metric = (monitor.performance if monitor else "") or _USUAL_METRIC.get(declared.task, "")
    blind = {
        train.alias: (train.name, train.schedule_us)
        for train in spec.trains
        if train.model == declared.model and train.alias in declared.follow and train.schedule_us
    }
    follow = list(declared.follow)
    return Scope(deployment, start_at, end_at, declared.task, metric, follow, blind, zone, short=metric)
