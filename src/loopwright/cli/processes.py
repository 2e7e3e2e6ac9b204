"""Commands about processes and this machine: up, status, logs, verify, doctor, login."""

import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from loopwright.cli.connection import remote
from loopwright.cli.examining import examine
from loopwright.cli.show import json_option, print_json, print_table, project_option
from loopwright.cli.verifying import verify_state
from loopwright.client import find_caller
from loopwright.config import load_settings
from loopwright.governance import SYSTEM
from loopwright.kernel.clock import format_moment
from loopwright.server import ROLES, Supervisor


@click.command()
@click.option("--state", type=click.Path(path_type=Path), help="State folder; default ./.loopwright.")
@click.option("--host", help="Address to listen on; others than loopback need --auth.")
@click.option("--port", type=int, help="Port of server and UI.")
@click.option("--gateway-port", type=int, help="Port of the gateway.")
@click.option("--auth", is_flag=True, help="Ask every caller for a token.")
@click.option("--role", type=click.Choice(["server", "worker", "gateway"]), multiple=True, help="Only these processes.")
def up(
    state: Path | None, host: str | None, port: int | None, gateway_port: int | None, auth: bool, role: tuple[str, ...]
) -> None:
    """Run server, worker, gateway and UI here until Ctrl C."""
    settings = load_settings(state)
    changes: dict[str, Any] = {"host": host, "port": port, "gateway_port": gateway_port, "auth": "on" if auth else None}
    settings = msgspec.structs.replace(settings, **{key: value for key, value in changes.items() if value is not None})
    supervisor = Supervisor(settings, role or ROLES)
    supervisor.start()
    click.echo(f"Loopwright is up: {supervisor.server_url} (predictions: {supervisor.gateway_url})")
    click.echo(f"state in {settings.state_dir}, logs in {settings.state_dir / 'logs'}; Ctrl C stops")
    if auth:
        _show_first_token(supervisor.settings.state_dir)
    try:
        supervisor.watch()
    except (KeyboardInterrupt, SystemExit):
        click.echo("stopping")
    finally:
        supervisor.stop()


def _show_first_token(state_dir: Path) -> None:
    click.echo("auth is on: create tokens with the service token, for example")
    click.echo(f'  LOOPWRIGHT_TOKEN="$(cat {state_dir / "service.token"})" loopwright login --create person:you')


@click.command()
@project_option
@json_option
def status(project: str | None, as_json: bool) -> None:
    """Show what runs, what waits and what needs a person."""
    found = remote(project)
    answer = found.call("loop.status")
    if as_json:
        print_json(answer)
        return
    click.echo(f"project {answer.project}, {answer.clock} clock at {format_moment(answer.clock_at)}")
    print_table(
        ("deployment", "serving", "state", "predictions"),
        [(one.name, one.serving, one.state, one.predictions) for one in answer.deployments],
    )
    for one in answer.deployments:
        if one.refused:
            click.echo(f"{one.name}: the newest training was refused: {one.refused}")
    for line in answer.needs_attention:
        click.echo(f"needs you: {line}")
    if not answer.needs_attention:
        click.echo("nothing needs you")


@click.command()
@click.argument("name", default="server")
@click.option("--lines", "-n", default=40, help="How many lines.")
@project_option
def logs(name: str, lines: int, project: str | None) -> None:
    """Print the last lines of a process (server, worker, gateway) or of an execution's steps."""
    place = load_settings().state_dir / "logs" / f"{name}.log"
    if name in ("server", "worker", "gateway"):
        text = place.read_text(errors="replace") if place.exists() else ""
        click.echo("\n".join(text.splitlines()[-lines:]) or f"no log yet at {place}")
        return
    found = remote(project)
    execution = found.call("pipelines.get", execution_id=name)
    for step in execution.steps:
        click.echo(f"--- {step.step}: {step.state}")
        if step.log_digest:
            click.echo(found.caller.get_blob(found.project, step.log_digest).decode(errors="replace"))
        if step.error:
            click.echo(step.error.get("message", ""))


@click.command()
@json_option
def verify(as_json: bool) -> None:
    """Re-check blob digests, references, chunks and the chain of events on this state folder; name what is wrong."""
    report = verify_state(load_settings())
    if as_json:
        print_json(report)
    else:
        click.echo(
            f"{report.events} events chained, {report.blobs} blobs, "
            f"{report.chunks} chunks with {report.rows} rows checked"
        )
        for problem in report.problems:
            click.echo(f"wrong: {problem}")
        click.echo("everything holds" if not report.problems else f"{len(report.problems)} things are wrong")
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
            click.echo(f"{'ok  ' if finding.is_fine else 'BAD '} {finding.what}: {finding.found}")
            if not finding.is_fine:
                click.echo(f"     {finding.next_step}")
    sys.exit(0 if all(finding.is_fine for finding in findings) else 1)


@click.command()
@click.option("--create", "actor", help="Create a token for this actor (person:name) with the token in use.")
@click.option("--role", type=click.Choice(["viewer", "editor", "approver", "admin"]), default="admin")
@project_option
@json_option
def login(actor: str | None, role: str, project: str | None, as_json: bool) -> None:
    """Check the access token in use, or create one for somebody else."""
    caller = find_caller()
    if actor:
        args = {"actor": actor, "role": role, "every_project": project is None}
        made = caller.call("tokens.create", args, project or SYSTEM)
        print_json(made) if as_json else click.echo(f"export LOOPWRIGHT_TOKEN={made.secret}")
        return
    projects = [found.name for found in caller.call("projects.list", {}, SYSTEM)]
    print_json(projects) if as_json else click.echo(
        f"logged in at {caller.url}; projects: {', '.join(projects) or '–'}"
    )
