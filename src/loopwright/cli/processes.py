"""Commands about processes and this machine: status, logs, verify, doctor, login."""

import sys
import time
from pathlib import Path
from typing import Any

import click
import msgspec

from loopwright.cli.connection import remote, remote_with
from loopwright.cli.examining import examine
from loopwright.cli.project import follow_execution
from loopwright.cli.show import json_option, print_json, print_table, project_option, say, say_lines
from loopwright.cli.verifying import put_log_back, verify_state
from loopwright.client import HttpCaller, Remote, check_addressee, find_caller, keep_token
from loopwright.config import load_settings
from loopwright.governance import SYSTEM
from loopwright.kernel.clock import format_moment
from loopwright.kernel.errors import NotFound, Unauthenticated, error_from_dict
from loopwright.kernel.suggestions import nearest
from loopwright.pipelines import Execution, StepRun
from loopwright.server import ROLES, older_part
from loopwright.ui import page_of

_LOOK_EVERY_S = 0.2
_ANSWERS_WITHIN_S = 5.0
"""A server that lives says so at once, on a machine with too much to do within seconds."""
_ENDED = ("done", "failed", "skipped")
"""States of steps that do not run any more."""


@click.command()
@project_option
@json_option
def status(project: str | None, as_json: bool) -> None:
    """Show what runs, what waits and what needs a person."""
    found = remote(project, answers_within_s=_ANSWERS_WITHIN_S)
    answer = found.call("loop.status")
    if as_json:
        print_json(answer)
        return
    say(f"project {answer.project}, {answer.clock} clock at {format_moment(answer.clock_at)}")
    print_table(
        ("deployment", "serving", "state", "logged", "scored"),
        [(one.name, one.serving, one.state, one.predictions, one.scored) for one in answer.deployments],
    )
    for one in answer.deployments:
        if one.progress:
            say(f"{one.name}: {one.progress}")
        if one.refused:
            say(f"{one.name}: the newest training was refused: {one.refused}")
    for need in answer.needs:
        answered_by = (
            _in_project(need.command, project) or f"{found.caller.url}{page_of(need.shown_at, answer.project)}"
        )
        say(f"needs you: {need.severity}: {need.sentence}; {need.next_step} ({answered_by})")
    if not answer.needs:
        say("nothing needs you")


def _in_project(command: str, project: str | None) -> str:
    """Return a command as it works where there are several projects: in the one that was named, where it is in any."""
    root = click.get_current_context().find_root()
    if not (command and project and isinstance(root.command, click.Group)):
        return command
    found = root.command.get_command(root, command.split()[1])
    is_in_project = found is not None and any("--project" in one.opts for one in found.params)
    return f"{command} -p {project}" if is_in_project else command


@click.command()
@click.argument("name", default="server")
@click.option("--lines", "-n", default=40, help="How many lines of a process's log.")
@click.option(
    "--follow", "-f", is_flag=True, help="Go on with what comes: a log until Ctrl C, an execution until it ends."
)
@project_option
@json_option
def logs(name: str, lines: int, follow: bool, project: str | None, as_json: bool) -> None:
    """Print the last lines of a process (server, worker, gateway) or of an execution's steps."""
    if name in ROLES:
        path = load_settings().state_dir / "logs" / f"{name}.log"
        if follow:
            _follow_log(path, lines)
        parts = [part.read_text(errors="replace") for part in (older_part(path), path) if part.exists()]
        text = "".join(parts) if parts else None
        last = (text or "").splitlines()[-lines:]
        if as_json:
            print_json({"file": str(path), "lines": last})
        else:
            nothing = f"no log yet at {path}" if text is None else f"{path} is empty so far"
            say_lines("\n".join(last) or nothing)
        return
    if near := nearest(name, ROLES):
        rule = f"one of {', '.join(ROLES)}, or the id of an execution"
        next_step = f"loopwright logs {near}"
        raise NotFound("no process has this name", field="NAME", value=name, rule=rule, next_step=next_step)
    remote, execution = remote_with(project, "pipelines.get", execution_id=name)
    tell = _StepTeller(remote, is_quiet=as_json)
    if follow:
        execution = follow_execution(remote, name, tell.ended)
    tell.steps(execution)
    if as_json:
        print_json(tell.told)
        return
    say(f"{name} {execution.state}")
    if how_on := (execution.error or {}).get("next_step"):
        say(f"next: {how_on}")


class _StepTeller:
    """Tells of each step of an execution once: how it ended, what it printed, why it failed."""

    def __init__(self, found: Remote, *, is_quiet: bool) -> None:
        self.told: list[dict[str, Any]] = []
        self._found, self._is_quiet = found, is_quiet

    def ended(self, execution: Execution) -> None:
        """Tell of the steps that have ended since."""
        self.steps(
            msgspec.structs.replace(
                execution, steps=[step_run for step_run in execution.steps if step_run.state in _ENDED]
            )
        )

    def steps(self, execution: Execution) -> None:
        """Tell of the steps that were not told of yet."""
        names = {one["step"] for one in self.told}
        for step_run in execution.steps:
            if step_run.step not in names:
                self._tell(step_run)

    def _tell(self, step_run: StepRun) -> None:
        body = self._found.caller.get_blob(self._found.project, step_run.log_digest) if step_run.log_digest else b""
        log = body.decode(errors="replace")
        self.told.append({"step": step_run.step, "state": step_run.state, "log": log, "error": step_run.error})
        if self._is_quiet:
            return
        say(f"--- {step_run.step}: {step_run.state}")
        if log:
            say_lines(log)
        if step_run.error:
            say_lines(error_from_dict(step_run.error).explain(), nl=False)


def _follow_log(place: Path, lines: int) -> None:
    """Print the last lines of a file and what is appended to it; a file that is begun anew is read from its start."""
    before = place.read_text(errors="replace") if place.exists() else ""
    say_lines("\n".join(before.splitlines()[-lines:]))
    read_to = len(before.encode())
    while True:
        size = place.stat().st_size if place.exists() else 0
        read_to = 0 if size < read_to else read_to
        if size > read_to:
            with place.open("rb") as file:
                file.seek(read_to)
                say_lines(file.read(size - read_to).decode(errors="replace"), nl=False)
            read_to = size
        time.sleep(_LOOK_EVERY_S)


@click.command()
@click.option("--put-back", metavar="REASON", help="Sign first that you put an older database in place, and why.")
@json_option
def verify(put_back: str | None, as_json: bool) -> None:
    """Re-check the event log, its signed checkpoints, rows against events, blobs and chunks; name what is wrong."""
    if put_back:
        given_up = put_log_back(load_settings(), put_back)
        say(f"signed: this log stands in the place of another; {given_up} checkpoints are given up", err=True)
    report = verify_state(load_settings())
    if as_json:
        print_json(report)
    else:
        say(
            f"{report.events} events chained, {report.checkpoints} checkpoints, {report.blobs} blobs, "
            f"{report.chunks} chunks with {report.rows} rows checked"
        )
        for problem in report.problems:
            say(f"wrong: {problem}")
        for note in report.notes:
            say(f"note: {note}")
        say("everything holds" if not report.problems else f"{len(report.problems)} things are wrong")
    sys.exit(1 if report.problems else 0)


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Check Python, ports, disk, database, blob store, clock and versions, and say what to do."""
    findings = examine(load_settings())
    if as_json:
        print_json(findings)
    else:
        for finding in findings:
            say(f"{'ok  ' if finding.is_fine else 'BAD '} {finding.what}: {finding.found}")
            if not finding.is_fine:
                say(f"     {finding.next_step}")
    sys.exit(0 if all(finding.is_fine for finding in findings) else 1)


@click.command()
@click.option("--create", "actor", help="Create a token for this actor (person:name) with the token in use.")
@click.option("--role", type=click.Choice(["viewer", "editor", "approver", "admin"]), default="admin")
@click.option("--forget", is_flag=True, help="Forget the token that is kept for this server.")
@project_option
@json_option
def login(actor: str | None, role: str, forget: bool, project: str | None, as_json: bool) -> None:
    """Keep an access token for this server, in your config folder, or create one for somebody else.

    Asks for the token where the server wants one and LOOPWRIGHT_TOKEN is not set; it can be piped in.
    """
    caller = find_caller()
    if forget:
        keep_token(caller.url, "")
        print_json({"url": caller.url, "kept_in": None}) if as_json else say(f"no token of {caller.url} is kept")
        return
    if actor:
        args = {"actor": actor, "role": role, "every_project": project is None}
        made = caller.call("tokens.create", args, project or SYSTEM)
        print_json(made) if as_json else say(f"export LOOPWRIGHT_TOKEN={made.secret}")
        return
    names, path = _log_in(caller)
    if as_json:
        print_json({"url": caller.url, "projects": names, "kept_in": None if path is None else str(path)})
        return
    say(f"logged in at {caller.url}; projects: {', '.join(names) or '–'}")
    if path is not None:
        say(f"the token is kept in {path}")


def _log_in(caller: HttpCaller) -> tuple[list[str], Path | None]:
    """Return the projects that may be seen, and where a token was kept that had to be asked for.

    Raises:
        Unauthenticated: The token is not valid, or none was given.
        PermissionDenied: It would go where only a file says that a server is.
    """
    is_typed = sys.stdin.isatty()
    token = "" if is_typed or load_settings().token else sys.stdin.readline().strip()
    if not token:  # a token that is piped in is the one that is meant, whatever is kept already
        try:
            return _project_names(caller), None
        except Unauthenticated:
            if load_settings().token:
                raise
            token = click.prompt("access token", hide_input=True) if is_typed else ""
            if not token:
                raise
    check_addressee(load_settings(), caller.url)
    names = _project_names(HttpCaller(caller.url, token=token))
    return names, keep_token(caller.url, token)


def _project_names(caller: HttpCaller) -> list[str]:
    return [str(found.name) for found in caller.call("projects.list", {}, SYSTEM)]
