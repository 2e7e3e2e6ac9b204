"""Commands that list what a server holds, and the one that calls any verb."""

import json
import re
from typing import Any

import click

from loopwright.cli.connection import remote
from loopwright.cli.show import json_option, print_json, print_table, project_option, say
from loopwright.client import find_caller
from loopwright.config import load_settings
from loopwright.governance import SYSTEM, Project
from loopwright.kernel.clock import format_moment
from loopwright.kernel.errors import InvalidInput
from loopwright.server import service_token
from loopwright.wire.credentials import gateway_token


@click.command()
@click.argument("verb")
@click.argument("arguments", nargs=-1, metavar="[NAME=VALUE]...")
@project_option
@json_option
def call(verb: str, arguments: tuple[str, ...], project: str | None, as_json: bool) -> None:
    """Call any VERB or query, such as registry.set_alias model=late alias=champion version=3 reason="looks right".

    A value is read as JSON where it can be, else as text. docs/reference/verbs.md lists all of them; those that stand
    above projects (projects.list, projects.create) are called with -p _system.
    """
    answer = remote(project).call(verb, **read_arguments(arguments, "arguments"))
    print_json(answer) if as_json or answer is not None else say("done")


def read_arguments(pairs: tuple[str, ...], field: str) -> dict[str, Any]:
    """Return ``name=value`` pairs by name; a value is JSON where it can be read so, else text.

    Raises:
        InvalidInput: One has no ``=``.
    """
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise InvalidInput("an argument is name=value", field=field, value=pair)
        try:
            values[name] = json.loads(text)
        except ValueError:
            values[name] = text
    return values


@click.command()
@click.option("--closed", "with_closed", is_flag=True, help="Those too that were closed or deleted.")
@json_option
def projects(with_closed: bool, as_json: bool) -> None:
    """List the projects that you may see."""
    listed = find_caller().call("projects.list", {"with_closed": with_closed}, SYSTEM)
    rows = [(one.name, one.owner, one.risk, one.clock, _tell_end(one)) for one in listed]
    print_json(listed) if as_json else print_table(("project", "owner", "risk", "clock", "is"), rows)


def _tell_end(project: Project) -> str:
    """Return whether a project is open, and since when it is not."""
    if project.deleted_at is not None:
        return f"deleted at {format_moment(project.deleted_at)}"
    return "open" if project.closed_at is None else f"closed at {format_moment(project.closed_at)}"


@click.command()
@project_option
@json_option
def datasets(project: str | None, as_json: bool) -> None:
    """List datasets with their newest usable version."""
    listed = remote(project).call("data.list")
    if as_json:
        print_json(listed)
        return
    rows = [
        (one.name, one.newest, one.latest_state, format_moment(one.changed_at), one.spec.source.kind) for one in listed
    ]
    print_table(("dataset", "version", "newest import", "changed", "source"), rows)


@click.command()
@click.argument("dataset")
@click.option("--version", type=int, help="Of this version; without it, of the newest that may be used.")
@project_option
@json_option
def suggest_checks(dataset: str, version: int | None, project: str | None, as_json: bool) -> None:
    """Suggest checks that the rows of a dataset would have passed, as lines for its declaration."""
    found = remote(project).dataset(dataset).suggest_checks(version)
    if as_json:
        print_json(found)
        return
    for one in found:
        say(f"{one.code},  # {one.why}")
    if not found:
        say("nothing: too few rows, or all that their profile tells is declared")


@click.command()
@click.option("--experiment", "-e", help="Only runs of this one.")
@click.option("--filter", "where", default="", help="Such as: metrics.roc_auc > 0.7 and params.trees = 100")
@click.option("--order-by", default="", help="Such as: metrics.roc_auc desc")
@click.option("--limit", "-n", default=20, show_default=True, help="At most so many.")
@project_option
@json_option
def runs(experiment: str | None, where: str, order_by: str, limit: int, project: str | None, as_json: bool) -> None:
    """List runs, newest first, or those that a filter finds."""
    found = remote(project).call(
        "tracking.search_runs", experiment=experiment, filter=where, order_by=order_by, limit=limit
    )
    if as_json:
        print_json(found)
        return
    logged = list(dict.fromkeys(name for run in found for name in run.metrics))
    asked = re.findall(r"\bmetrics\.([\w.-]+)", f"{order_by} {where}")  # first what was asked by
    metrics = list(dict.fromkeys(name for name in (*asked, *logged) if name in logged))[:4]
    rows = [
        (run.run_id, run.experiment, run.name, run.state, format_moment(run.started_at), *map(run.metrics.get, metrics))
        for run in found
    ]
    print_table(("run", "experiment", "name", "state", "started", *metrics), rows)


@click.command()
@click.option("--all", "is_all", is_flag=True, help="Resolved ones too.")
@click.option("--ack", "acknowledged", metavar="ID", help="Say that you look after one.")
@click.option("--resolve", "resolved", metavar="ID", help="End one; needs --reason.")
@click.option("--reason", default="", help="Why, for the audit trail.")
@project_option
@json_option
def incidents(
    is_all: bool, acknowledged: str | None, resolved: str | None, reason: str, project: str | None, as_json: bool
) -> None:
    """List incidents that are not resolved; acknowledge or resolve one."""
    found = remote(project)
    if acknowledged:
        changed = found.call("monitoring.acknowledge", incident_id=acknowledged, reason=reason)
    elif resolved:
        if not reason:
            raise InvalidInput("why is it resolved?", field="--reason", rule="a sentence, for the audit trail")
        changed = found.call("monitoring.resolve", incident_id=resolved, reason=reason)
    else:
        states = [] if is_all else ["open", "acknowledged"]
        _show_incidents(found.call("monitoring.incidents", states=states), is_all, as_json)
        return
    print_json(changed) if as_json else say(f"{changed.incident_id} {changed.state}")


def _show_incidents(listed: list[Any], is_all: bool, as_json: bool) -> None:
    if as_json:
        print_json(listed)
        return
    if not listed:
        say("there was no incident" if is_all else "no incident is open")
        return
    rows = [
        (one.incident_id, one.severity, one.state, format_moment(one.opened_at), one.owner, one.title) for one in listed
    ]
    print_table(("incident", "severity", "state", "opened", "owner", "title"), rows)


@click.command()
@click.option("--create", "actor", metavar="ACTOR", help="Create one for person:NAME or service:NAME; shown once.")
@click.option("--role", type=click.Choice(["viewer", "editor", "approver", "admin"]), default="viewer")
@click.option("--expires-in", metavar="SPAN", help="Such as 90d; without it the token does not end.")
@click.option("--revoke", metavar="ID", help="End one.")
@click.option("--reason", default="", help="Why it is revoked, for the audit trail.")
@click.option("--gateway", metavar="URL", help="Print the credential of a gateway at that address, for its machine.")
@project_option
@json_option
def tokens(
    actor: str | None,
    role: str,
    expires_in: str | None,
    revoke: str | None,
    reason: str,
    gateway: str | None,
    project: str | None,
    as_json: bool,
) -> None:
    """List the access tokens of a project, create or revoke one; for admins."""
    if gateway:
        settings = load_settings()
        root = settings.service_token or service_token(settings.state_dir)
        credential = gateway_token(root, gateway)
        print_json({"credential": credential}) if as_json else say(
            f"export LOOPWRIGHT_GATEWAY_URL={gateway} LOOPWRIGHT_SERVICE_TOKEN={credential}"
        )
        return
    found = remote(project)
    if actor:
        made = found.call("tokens.create", actor=actor, role=role, expires_in=expires_in)
        print_json(made) if as_json else say(f"export LOOPWRIGHT_TOKEN={made.secret}")
    elif revoke:
        found.call("tokens.revoke", token_id=revoke, reason=reason)
        print_json({"token_id": revoke, "state": "revoked"}) if as_json else say(f"{revoke} is revoked")
    else:
        listed = found.call("tokens.list")
        rows = [
            (one.token_id, one.actor, one.role.value, _moment(one.created_at), _moment(one.expires_at), _state(one))
            for one in listed
        ]
        head = ("token", "actor", "role", "created", "ends", "state")
        print_json(listed) if as_json else print_table(head, rows)


def _moment(at_us: int | None) -> str | None:
    return None if at_us is None else format_moment(at_us)


def _state(token: Any) -> str:
    return "live" if token.revoked_at is None else "revoked"
