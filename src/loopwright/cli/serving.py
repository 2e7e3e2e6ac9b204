"""Commands about serving: evaluate, deploy, approve, reject, rollback, predict, score, label, import-model."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from loopwright.cli.connection import remote
from loopwright.cli.show import json_option, print_json, print_table, project_option, say
from loopwright.client import Remote, read_table, to_parquet
from loopwright.kernel.clock import parse_moment
from loopwright.kernel.documents import convert
from loopwright.kernel.errors import InvalidInput, NotFound
from loopwright.kernel.plain import plain_line
from loopwright.registry import Task, importing


@click.command()
@click.argument("model")
@click.option("--version", type=int, help="Version of the model; default the newest.")
@click.option("--service", default="", help="Feature service whose labelled rows are measured; default its own.")
@click.option(
    "--from",
    "start",
    help="First moment of the rows, such as 2013-03-01, or: registered; default the first it has not seen.",
)
@click.option("--to", "end", help="Moment after the last of the rows; default now.")
@click.option("--reason", default="", help="Why, for the audit trail.")
@project_option
@json_option
def evaluate(
    model: str,
    version: int | None,
    service: str,
    start: str | None,
    end: str | None,
    reason: str,
    project: str | None,
    as_json: bool,
) -> None:
    """Measure a version of MODEL on rows it has not seen and run the gates its deployments declare.

    For versions that no training here has judged: imported, or made by a command. Those that pass can be deployed.
    """
    found = remote(project)
    span = {
        "start_at": None if start is None else _start_of(found, start, model, version),
        "end_at": None if end is None else parse_moment(end, "--to"),
    }
    job = found.call("loop.start_evaluation", model=model, version=version, service=service, **span, reason=reason)
    result = wait_for_job(found, job.job_id).result
    if as_json:
        print_json(result)
        return
    for one in result["results"]:
        say(f"{one['verdict']:<10}{one['gate']}: {one['message']}")
    anyway = "loopwright deploy NAME --version N --force REASON lets a version through"
    say("passed" if result["passed"] else f"not passed: {anyway}")


def _start_of(found: Remote, start: str, model: str, version: int | None) -> int:
    """Return the moment that ``--from`` names; by its word, the one at which the version was registered."""
    if start != "registered":
        return parse_moment(start, "--from")
    return int(found.call("registry.get_version", model=model, version=version).event_at)


@click.command()
@click.argument("deployment")
@click.option("--version", type=int, required=True, help="Version of the deployment's model.")
@click.option("--reason", default="", help="Why, for the audit trail.")
@click.option("--force", "force_reason", default="", help="Pass a version whose gates failed, with this reason.")
@project_option
@json_option
def deploy(deployment: str, version: int, reason: str, force_reason: str, project: str | None, as_json: bool) -> None:
    """Roll VERSION out in DEPLOYMENT, through its shadow and canary steps."""
    found = remote(project)
    rollout = found.call(
        "loop.deploy", deployment=deployment, version=version, reason=reason, force_reason=force_reason
    )
    if as_json:
        print_json(rollout)
    elif rollout.state == "waiting_approval":
        say(f"{rollout.rollout_id} waits for a person: loopwright approve")
        asked = f"{found.project}/rollout:{rollout.rollout_id}"
        for approval in found.call("approvals.list", state="waiting", subject=asked):
            say(approval.question)
    else:
        say(f"{rollout.rollout_id} {rollout.state}")


@click.command()
@click.argument("approval_id", required=False)
@click.option("--reason", default="", help="Why, for the audit trail.")
@project_option
@json_option
def approve(approval_id: str | None, reason: str, project: str | None, as_json: bool) -> None:
    """Say yes to APPROVAL_ID, or to the only one that waits."""
    _decide("approvals.approve", approval_id, reason, project, as_json)


@click.command()
@click.argument("approval_id", required=False)
@click.option("--reason", required=True, help="Why; it lands in the audit trail.")
@project_option
@json_option
def reject(approval_id: str | None, reason: str, project: str | None, as_json: bool) -> None:
    """Say no to APPROVAL_ID, or to the only one that waits."""
    _decide("approvals.reject", approval_id, reason, project, as_json)


def _decide(verb: str, approval_id: str | None, reason: str, project: str | None, as_json: bool) -> None:
    found = remote(project)
    if approval_id is None:
        waiting = found.call("approvals.list", state="waiting")
        if not waiting:
            raise NotFound("nothing waits for an approval", field="project", value=found.project)
        if len(waiting) > 1:
            listed = "\n".join(plain_line(f"{one.approval_id}  {one.question}") for one in waiting)
            raise InvalidInput(
                f"{len(waiting)} approvals wait", field="approval_id", rule=f"one of\n{listed}", next_step="name one"
            )
        approval_id = waiting[0].approval_id
    decided = found.call(verb, approval_id=approval_id, reason=reason)
    print_json(decided) if as_json else say(f"{decided.state}: {decided.question}")


@click.command()
@click.argument("deployment")
@click.option("--reason", required=True, help="Why; it lands in the audit trail.")
@project_option
@json_option
def rollback(deployment: str, reason: str, project: str | None, as_json: bool) -> None:
    """Return DEPLOYMENT to its last good release at once; a rollout that is live is aborted."""
    found = remote(project)
    tried = found.call("serving.status", deployment=deployment).rollout
    found.call("loop.rollback", deployment=deployment, reason=reason)
    after = found.call("serving.status", deployment=deployment)
    if as_json:
        print_json(after.deployment)
    elif tried is not None and tried.state in ("running", "paused"):
        say(f"the rollout of v{tried.version} is aborted; v{after.champion} serves as before")
    else:
        say(f"{deployment} is back on v{after.champion}")


@click.command()
@click.argument("deployment")
@click.option("--reason", required=True, help="Why; it lands in the audit trail.")
@project_option
@json_option
def retire(deployment: str, reason: str, project: str | None, as_json: bool) -> None:
    """End the endpoint DEPLOYMENT: gateways refuse requests; history, labels and reports stay.

    A version that is deployed later begins it anew, as a first one.
    """
    retired = remote(project).call("serving.retire", deployment=deployment, reason=reason)
    print_json(retired) if as_json else say(
        f"{deployment} is retired; loopwright deploy {deployment} --version N begins it anew"
    )


def _take_rows(context: click.Context, argument: click.Parameter, value: str) -> list[dict[str, Any]]:
    """Return rows that were typed, or stand in a file."""
    is_typed = value.lstrip().startswith(("{", "["))
    return _read_rows(value if is_typed else click.File("r").convert(value, argument, context).read())


def _read_rows(text: str) -> list[dict[str, Any]]:
    try:
        document = json.loads(text)
    except ValueError:
        try:
            document = [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError as error:
            raise InvalidInput(
                f"these rows are not JSON: {error}", field="rows", rule="an object, a list, or one a line"
            ) from None
    rows = document if isinstance(document, list) else [document]
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            rule = 'an object of the request\'s fields, such as {"origin": "JFK"}'
            raise InvalidInput("this row is no object", field=f"rows[{index}]", value=row, rule=rule)
    if not rows:
        sys.stderr.write("no rows\n")
    return rows


@click.command()
@click.argument("deployment")
@click.argument("rows", default="-", callback=_take_rows)
@project_option
@json_option
def predict(deployment: str, rows: list[dict[str, Any]], project: str | None, as_json: bool) -> None:
    """Ask DEPLOYMENT for predictions; ROWS is a JSON object, a list, or a file of them (default standard input)."""
    answers = remote(project).deployment(deployment).predict(rows)
    if as_json:
        print_json(answers)
        return
    head = ("prediction_id", "variant", "model_version", "score", "class")
    shown = head if any(_class_of(answer) for answer in answers) else head[:-1]
    rows = [{**answer, **_class_of(answer)} for answer in answers]
    print_table(shown, [[row.get(name) for name in shown] for row in rows])
    for answer in answers:
        if gaps := answer.get("missing"):
            say(f"{answer['prediction_id']}: {_describe_gaps(gaps)}")


def _class_of(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the class that a multiclass model answers, with its probability as the score; empty of another task."""
    told = answer.get("answer")
    if not isinstance(told, dict) or "class" not in told:
        return {}
    return {"class": told["class"], "score": told.get("probabilities", {}).get(str(told["class"]))}


def _describe_gaps(gaps: dict[str, str]) -> str:
    """Return in one line how many features an answer had to do without, and why."""
    names: dict[str, list[str]] = {}
    for name, reason in gaps.items():
        names.setdefault(reason, []).append(name)
    listed = "; ".join(f"{', '.join(found)} ({reason})" for reason, found in names.items())
    return f"{len(gaps)} feature{' is' if len(gaps) == 1 else 's are'} missing: {listed}"


@click.command()
@click.argument("deployment")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--out", type=click.Path(path_type=Path), help="Where the scores go; default FILE with .scores.parquet.")
@click.option("--version", type=int, help="Version of the deployment's model; default the champion.")
@click.option("--id-column", default="", help="Column with your own ids; kept beside each score and in the log.")
@click.option("--time-column", default="", help="Column with event times; default now.")
@click.option("--reason", default="", help="Why, for the audit trail.")
@project_option
@json_option
def score(
    deployment: str,
    file: Path,
    out: Path | None,
    version: int | None,
    id_column: str,
    time_column: str,
    reason: str,
    project: str | None,
    as_json: bool,
) -> None:
    """Score a Parquet or CSV FILE in one batch with DEPLOYMENT's champion, into the same prediction log.

    FILE has the model's own columns; a training set of its feature service has all of them.
    """
    found = remote(project)
    job = found.call(
        "serving.start_score",
        deployment=deployment,
        input=found.caller.put_blob(found.project, to_parquet(read_table(file)[0])),
        version=version,
        id_column=id_column,
        time_column=time_column,
        reason=reason,
    )
    result = wait_for_job(found, job.job_id).result
    path = out or file.with_suffix(".scores.parquet")
    path.write_bytes(found.caller.get_blob(found.project, result["output"]))
    if as_json:
        print_json({"rows": result["rows"], "file": str(path)})
    else:
        say(f"{result['rows']} rows scored into {path}")


def wait_for_job(found: Any, job_id: str) -> Any:
    """Wait until a job ended well; returns it.

    Raises:
        LoopwrightError: The job's own error.
    """
    return found.job(job_id).wait().record


@click.command()
@click.argument("deployment")
@click.argument("rows", default="-", callback=_take_rows)
@project_option
@json_option
def label(deployment: str, rows: list[dict[str, Any]], project: str | None, as_json: bool) -> None:
    """Send outcomes for predictions of DEPLOYMENT: JSON with prediction_id and label, or a file of it.

    event_at is when the outcome became known: needed in replay projects, elsewhere now.
    """
    accepted = remote(project).deployment(deployment).label(rows)
    print_json({"accepted": accepted}) if as_json else say(f"{accepted} label{'' if accepted == 1 else 's'} taken")


@click.command("import-model")
@click.argument("model")
@click.argument("file", type=click.Path(path_type=Path, exists=True))
@click.option("--task", required=True, help="binary, multiclass, regression …")
@click.option("--service", default="", help="The feature service whose columns it reads.")
@click.option("--flavour", default="", help="What kind of file it is, such as onnx; default by the file's ending.")
@click.option("--reason", default="", help="Where it comes from, for the audit trail; default the file's name.")
@project_option
@json_option
def import_model(
    model: str, file: Path, task: str, service: str, flavour: str, reason: str, project: str | None, as_json: bool
) -> None:
    """Register FILE (LightGBM text .txt, skops .skops, ONNX .onnx) as a new version of MODEL.

    Pickles are not read: to load one is to run whatever code it holds.
    """
    found = remote(project)
    kind: Task = convert(task, Task, "--task")  # type: ignore[arg-type]
    facts = {"file": file, "task": kind, "service": service, "flavour": flavour, "reason": reason}
    version = importing.import_model(found.caller, found.project, model=model, **facts)  # type: ignore[arg-type]
    print_json(version) if as_json else say(f"{model} version {version.version} is registered")
