"""Commands about a project: init, apply, start, retry, cancel."""

import contextlib
import importlib.util
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from loopwright.cli.asking import read_arguments
from loopwright.cli.connection import remote, remote_with
from loopwright.cli.serving import wait_for_job
from loopwright.cli.show import Progress, json_option, print_json, project_option, say
from loopwright.cli.templates import write_template
from loopwright.client import Applied, Project, Remote, RemoteExecution, apply_project
from loopwright.kernel.errors import InvalidInput, StepFailed

_MARKS = {"new": "+", "changed": "~", "unaffected": " ", "undeclared": "?"}


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=".")
@click.option("--template", type=click.Choice(["flights", "tabular", "external"]), default="tabular", show_default=True)
@json_option
def init(folder: Path, template: str, as_json: bool) -> None:
    """Start a project in FOLDER: a declaration file to edit and apply."""
    written = write_template(folder, template)
    if as_json:
        print_json([str(path) for path in written])
        return
    for path in written:
        say(f"wrote {path}")
    say(f"next: loopwright up (in another terminal), then loopwright apply {shlex.quote(str(written[0]))}")


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--plan", "only_plan", is_flag=True, help="Show the plan and stop.")
@json_option
def apply(file: Path, yes: bool, only_plan: bool, as_json: bool) -> None:
    """Show the plan of the project in FILE, then make it so."""
    if as_json and not (yes or only_plan):
        rule = "--plan to see it, or --yes to make it so"
        raise InvalidInput("under --json nobody is asked about the plan", field="--json", rule=rule)
    project = load_project(file)

    def confirm(plan: Any) -> bool:
        if not as_json:
            _print_plan(plan)
        if only_plan or not any(change.change in ("new", "changed") for change in plan.changes):
            return not only_plan
        return yes or _is_wanted()

    applied = apply_project(project, confirm)
    if as_json:
        print_json(applied)
    else:
        say(_tell_applied(applied))
    if applied.is_applied:
        _follow_imports(project.name)


def _tell_applied(applied: Applied) -> str:
    """Return what an apply did, in a line."""
    if not applied.is_applied:
        return "nothing was changed"
    is_new = any(change.change in ("new", "changed") for change in applied.plan.changes)
    return "applied" if is_new else "nothing to change: this is applied already"


def _is_wanted() -> bool:
    """Ask whether the plan is to be made so.

    Raises:
        InvalidInput: Nobody is there to answer.
    """
    try:
        return click.confirm("make it so?", default=True)
    except click.Abort:
        if sys.stdin.isatty():  # somebody said no, by Ctrl C
            raise
        raise InvalidInput("nobody answered", field="--yes", next_step="loopwright apply --yes FILE") from None


def _follow_imports(name: str) -> None:
    """Wait for the first imports that an apply started, so that the next command finds their rows.

    Raises:
        LoopwrightError: An import failed; its own error.
    """
    found, progress = remote(name), Progress()
    for job in found.call("jobs.list", states=["queued", "running"], kind="data.import"):
        progress.show(f"importing {job.ref}")
        wait_for_job(found, job.job_id)
    progress.done()


def _print_plan(plan: Any) -> None:
    say(f"plan for project {plan.project}:")
    for change in plan.changes:
        if change.change != "unaffected":
            say(f"  {_MARKS[change.change]} {change.ref.split('/', 1)[1]} ({change.change})")
            for detail in change.details:
                say(f"      {detail}")
            for told in change.needs_approver:
                say(f"      takes an approver, or an approval: {told}")
    quiet = sum(change.change == "unaffected" for change in plan.changes)
    if quiet:
        say(f"    {quiet} unaffected")


@click.command()
@click.argument("pipeline")
@click.option("--param", "params", multiple=True, help="name=value; the value is read as JSON where it can be.")
@click.option("--reason", default="", help="Why, for the audit trail.")
@click.option("--detach", is_flag=True, help="Do not wait for the end.")
@project_option
@json_option
def start(
    pipeline: str, params: tuple[str, ...], reason: str, detach: bool, project: str | None, as_json: bool
) -> None:
    """Run PIPELINE now and follow its steps."""
    found = remote(project)
    execution = found.call(
        "pipelines.start", pipeline=pipeline, params=read_arguments(params, "--param"), reason=reason
    )
    _follow(found, execution, detach=detach, as_json=as_json)


@click.command()
@click.argument("name", metavar="ID")
@click.option("--reason", default="", help="Why, for the audit trail.")
@click.option("--detach", is_flag=True, help="Do not wait for the end.")
@project_option
@json_option
def retry(name: str, reason: str, detach: bool, project: str | None, as_json: bool) -> None:
    """Run a failed execution on from the step that failed, finished steps keep their outputs; or do a failed job again.

    It runs the code it was started with: what is mended in the code wants `loopwright apply` and `loopwright start`.
    ID is what `loopwright status` names.
    """
    is_job = _is_job(name)
    query, field = ("jobs.get", "job_id") if is_job else ("pipelines.get", "execution_id")
    remote, _ = remote_with(project, query, **{field: name})
    if not is_job:
        execution = remote.call("pipelines.retry", execution_id=name, reason=reason)
        _follow(remote, execution, detach=detach, as_json=as_json)
        return
    job = remote.call("jobs.retry", job_id=name, reason=reason)
    if not detach:
        job = wait_for_job(remote, name)
    print_json(job) if as_json else say(f"{name} {job.state}")


@click.command()
@click.argument("name", metavar="ID")
@click.option("--reason", default="", help="Why, for the audit trail.")
@project_option
@json_option
def cancel(name: str, reason: str, project: str | None, as_json: bool) -> None:
    """End an execution or a job: what waits is skipped, what runs is stopped."""
    if _is_job(name):
        remote, _ = remote_with(project, "jobs.get", job_id=name)
        job = remote.call("jobs.cancel", job_id=name, reason=reason)
        ends = "" if job.state == "cancelled" else ", ends as soon as its worker hears of it"
        print_json(job) if as_json else say(f"{name} {job.state}{ends}")
        return
    remote, _ = remote_with(project, "pipelines.get", execution_id=name)
    execution = remote.call("pipelines.cancel", execution_id=name, reason=reason)
    print_json(execution) if as_json else say(f"{execution.execution_id} {execution.state}")


def _is_job(name: str) -> bool:
    """Say whether an id is one of a job: ids of executions are alike, those of jobs often say what they do."""
    return not name.startswith("exe_")


def _follow(found: Remote, execution: Any, *, detach: bool, as_json: bool) -> None:
    """Wait for the end of an execution, unless it is detached, and tell how it ended.

    Raises:
        StepFailed: It failed; names step, file, line and function.
    """
    if not detach:
        try:
            execution = follow_execution(found, execution.execution_id)
        except KeyboardInterrupt:
            name = execution.execution_id
            say(err=True)
            say(f"{name} goes on at the server; to end it: loopwright cancel {name}", err=True)
            raise
    if as_json:
        print_json(execution)
    else:
        _tell_end(execution)
    if execution.state == "failed":
        error = RemoteExecution(found, execution).error()
        if not as_json:
            for frame in error.details.get("traceback", []):
                say(f"  {frame}", err=True)
        raise error


def _tell_end(execution: Any) -> None:
    say(f"{execution.execution_id} {execution.state}")
    outputs = [step.output for step in execution.steps if step.state == "done" and isinstance(step.output, dict)]
    made = [f"{one['model']} version {one['version']}" for one in outputs if {"model", "version"} <= set(one)]
    if made:
        say(f"registered: {', '.join(made)}; where they go: loopwright status")
    skipped = [step for step in execution.steps if step.state == "skipped" and step.output]
    if skipped:
        say(f"left out: {', '.join(step.step for step in skipped)} ({skipped[0].output['why']})")


def follow_execution(found: Remote, execution_id: str, tell_ended: Callable[[Any], None] = lambda _: None) -> Any:
    """Show how far an execution is; return it once it has ended. ``tell_ended`` hears of it at each look."""
    progress = Progress()

    def tell(execution: RemoteExecution) -> None:
        progress.done()
        tell_ended(execution.record)
        done = sum(step.state in ("done", "skipped") for step in execution.steps)
        now = [step.step for step in execution.steps if step.state == "running"]
        progress.show(f"{execution.record.pipeline}: {done} steps done, now {', '.join(now) or 'waiting'}")

    execution = found.execution(execution_id)
    with contextlib.suppress(StepFailed):  # its record tells how it ended
        execution.wait(tell=tell)
    progress.done()
    return execution.record


def load_project(file: Path) -> Any:
    """Import a project file and return the one project that it declares.

    Raises:
        InvalidInput: The file does not run, or declares no project or several; names line and error.
    """
    folder = str(file.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise InvalidInput(f"{file.name} is no Python file", field="file", rule="a .py file that declares one project")
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise InvalidInput(
            f"{file.name} cannot be read: {error.msg}",
            field=f"{file.name}:{error.lineno}",
            value=(error.text or "").strip(),
        ) from None
    except InvalidInput as error:
        error.field = f"{file.name}:{_line_in(error, file)} {error.field or ''}".strip()
        raise
    except Exception as error:  # noqa: BLE001 - whatever the user's file raises
        line = _line_in(error, file)
        raise InvalidInput(
            f"{file.name} failed: {type(error).__name__}: {error}", field=f"{file.name}:{line}"
        ) from None
    projects = [made for made in vars(module).values() if isinstance(made, Project)]
    if len(projects) != 1:
        raise InvalidInput(
            f"{file.name} declares {len(projects)} projects", field="file", rule='exactly one: p = lw.Project("name")'
        )
    return projects[0]


def _line_in(error: BaseException, file: Path) -> int | str:
    trace, line = error.__traceback__, "?"
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename).resolve() == file.resolve():
            line = str(trace.tb_lineno)
        trace = trace.tb_next
    return line
