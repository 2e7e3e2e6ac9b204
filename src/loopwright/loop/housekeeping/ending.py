"""The end of a project: everything in it stops at once; where it is deleted its rows go, its events stay."""

from dataclasses import replace

from loopwright import pipelines, serving
from loopwright.governance import Project, projects, tokens
from loopwright.kernel.clock import FixedClock
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.verbs import Role, query, verb
from loopwright.loop.backtest import sql as backtest_sql
from loopwright.loop.events import BacktestFinished
from loopwright.loop.types import Belongings, ForgetDeleted, ForgetProject
from loopwright.store import forgetting, jobs
from loopwright.store import sql as store_sql
from loopwright.store.tx import Tx
from loopwright.store.work import Work, kind_of

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


@verb("loop.close_project", changes=Project, role=Role.ADMIN, lasts="deleted")
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
    _cancel_jobs(tx, reason, but=(ForgetProject, ForgetDeleted))  # what was deleted in it goes all the same
    tx.cancel_later("")
    return projects.close(tx, reason=reason)


def _cancel_jobs(tx: Tx, reason: str, *, but: tuple[type[Work], ...]) -> None:
    kept = {kind_of(each).name for each in but}
    for open_job in jobs.list_jobs(tx, states=["queued", "running"], limit=_MOST_AT_ONCE):
        if open_job.kind not in kept:
            jobs.cancel(tx, job_id=open_job.job_id, reason=reason)


def _end_deployment(tx: Tx, name: str, reason: str) -> None:
    status = serving.status(tx, deployment=name)
    if status.rollout is not None and status.rollout.is_live:
        serving.abort(tx, rollout_id=status.rollout.rollout_id, reason=reason)
    if status.release is not None:
        serving.retire(tx, deployment=name, reason=reason)


@verb("loop.delete_project", changes=Project, role=Role.ADMIN, lasts="deleted")
def delete_project(tx: Tx, *, name: str, reason: str) -> Project:
    """Close the project and remove its rows, which cannot be undone; files that nothing names any more are freed later.

    Its backtests end and the projects that they made go too, those that were kept among them.

    Args:
        name: The project's name once more, so that nobody deletes the one they did not mean.
        reason: Why, in a sentence. It stays, with every other event of the project.
    """
    if name != tx.project:
        raise InvalidInput("this is not the project's name", field="name", value=name, rule=tx.project)
    close_project(tx, reason=reason)
    _cancel_jobs(tx, reason, but=(ForgetProject,))
    _end_backtests(tx, reason)
    deleted = projects.delete(tx, reason=reason)
    tx.start_job(ForgetProject(), tx.ref("project", tx.project), job_id=f"forget-{tx.project}")
    return deleted


def _end_backtests(tx: Tx, reason: str) -> None:
    """End backtests in the transaction that deletes their project: their rows go, and with them whoever would later."""
    why = f"{tx.project} is deleted: {reason}"
    for backtest in backtest_sql.unsettled_backtests(tx):
        if backtest.scratch is not None:
            end_scratch(tx, backtest.scratch, is_kept=False, reason=why)
        ended = {"state": "cancelled", "finished_at": tx.wall_us} if backtest.state == "running" else {}
        backtest_sql.update_backtest(tx, backtest.backtest_id, scratch=None, **ended)
        if ended:
            told = BacktestFinished(backtest.backtest_id, "cancelled", "")
            tx.emit(told, tx.ref("backtest", backtest.backtest_id), reason=why)
    for left in store_sql.list_tombstones(tx, kind="backtest", limit=_MOST_AT_ONCE):
        if kept := left.facts.get("scratch"):
            end_scratch(tx, str(kept), is_kept=False, reason=why)


def end_scratch(tx: Tx, name: str, *, is_kept: bool, reason: str) -> None:
    """Let nobody's job into a scratch project any more, and delete it unless it is kept.

    Args:
        tx: In the project whose history was played.
        name: The scratch project.
        is_kept: Whether it stays, to be looked into.
        reason: Why it ends.
    """
    project = projects.find(tx, name)
    inside = replace(tx, project=name, clock=FixedClock(project.clock_at))
    tokens.end_loans(inside, reason)
    if not is_kept and project.deleted_at is None:
        delete_project(inside, name=name, reason=reason)
