"""The end of a project: everything in it stops at once; where it is deleted its rows go, its events stay."""

from loopwright import pipelines, serving
from loopwright.governance import Project, projects
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.verbs import Role, query, verb
from loopwright.loop.types import Belongings, ForgetProject
from loopwright.store import forgetting, jobs
from loopwright.store.tx import Tx
from loopwright.store.work import kind_of

_MOST_AT_ONCE = 1000


@query("loop.belongings")
def belongings(tx: Tx) -> Belongings:
    """Return what would end with the project."""
    names = [deployment.spec.name for deployment in serving.list_deployments(tx)]
    return Belongings(
        serving=[name for name in names if serving.status(tx, deployment=name).release is not None],
        jobs=len(jobs.list_jobs(tx, states=["queued", "running"], limit=_MOST_AT_ONCE)),
        rows=forgetting.count_rows(tx),
    )


@verb("loop.close_project", changes=Project, role=Role.ADMIN, ends_project=True)
def close_project(tx: Tx, *, reason: str) -> Project:
    """End all that goes on in the project: endpoints are retired, executions and jobs cancelled, timers dropped.

    What happened stays to be read; nothing is changed any more. Closing it twice is once.
    """
    if not reason.strip():
        raise InvalidInput("the end of a project needs a reason", field="reason", rule="at least one word")
    for deployment in serving.list_deployments(tx):
        _end_deployment(tx, deployment.spec.name, reason)
    for execution in pipelines.list_executions(tx, states=["queued", "running"], limit=_MOST_AT_ONCE):
        pipelines.cancel(tx, execution_id=execution.execution_id, reason=reason)
    for open_job in jobs.list_jobs(tx, states=["queued", "running"], limit=_MOST_AT_ONCE):
        if open_job.kind != kind_of(ForgetProject).name:
            jobs.cancel(tx, job_id=open_job.job_id, reason=reason)
    tx.cancel_later("")
    return projects.close(tx, reason=reason)


def _end_deployment(tx: Tx, name: str, reason: str) -> None:
    status = serving.status(tx, deployment=name)
    if status.rollout is not None and status.rollout.is_live:
        serving.abort(tx, rollout_id=status.rollout.rollout_id, reason=reason)
    if status.release is not None:
        serving.retire(tx, deployment=name, reason=reason)


@verb("loop.delete_project", changes=Project, role=Role.ADMIN, ends_project=True)
def delete_project(tx: Tx, *, name: str, reason: str) -> Project:
    """Close the project and remove its rows, which cannot be undone; files that nothing names any more are freed later.

    Args:
        name: The project's name once more, so that nobody deletes the one they did not mean.
        reason: Why, in a sentence. It stays, with every other event of the project.
    """
    if name != tx.project:
        raise InvalidInput("this is not the project's name", field="name", value=name, rule=tx.project)
    close_project(tx, reason=reason)
    deleted = projects.delete(tx, reason=reason)
    tx.start_job(ForgetProject(), tx.ref("project", tx.project), job_id=f"forget-{tx.project}")
    return deleted
