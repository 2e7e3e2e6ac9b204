"""The command that deletes: one thing of a project by its ref, or a whole project by its name."""

import sys
from typing import Any

import click

from loopwright.cli.connection import remote
from loopwright.cli.show import json_option, print_json, say
from loopwright.client import Remote, find_caller
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.refs import parse_ref
from loopwright.loop import Belongings, DeletionPlan


@click.command()
@click.argument("what")
@click.option("--reason", default="", help="Why; it lands in the audit trail, which stays.")
@click.option("--plan", "is_plan", is_flag=True, help="Only say what would go, and what needs it.")
@click.option("--close", "is_closed_only", is_flag=True, help="Of a project: only end what goes on; every row stays.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("-p", "--project", help="Whose thing it is; not needed where there is one project.")
@json_option
def delete(
    what: str, reason: str, is_plan: bool, is_closed_only: bool, yes: bool, project: str | None, as_json: bool
) -> None:
    """Delete WHAT: one thing, as dataset:late, model:late/3 or run:run_01..., or a whole project by its name.

    A thing that something living needs is refused, with what needs it. Its ref stays and says when it was deleted.
    Of a project name and events stay; endpoints are retired, executions and jobs cancelled. Files that nothing names
    any more are freed by the next garbage collection.
    """
    if not is_plan and not reason.strip():
        raise InvalidInput("why is it deleted?", field="--reason", next_step=f'loopwright delete {what} --reason "..."')
    if ":" in what:
        _delete_thing(what, reason, project, is_plan=is_plan, yes=yes, as_json=as_json)
    else:
        _delete_project(what, reason, is_plan=is_plan, is_closed_only=is_closed_only, yes=yes, as_json=as_json)


def _delete_thing(ref: str, reason: str, project: str | None, *, is_plan: bool, yes: bool, as_json: bool) -> None:
    found = remote(project or parse_ref(ref).project or None)
    if is_plan:
        planned = found.deletion_plan(ref)
        print_json(planned) if as_json else _show_plan(planned)
        return
    if not yes:
        planned = found.deletion_plan(ref)
        _show_plan(planned, err=True)
        if not planned.holds and not _is_confirmed(f"delete {planned.ref}?"):
            say("nothing was changed")
            return
    left = found.delete(ref, reason=reason)
    print_json(left) if as_json else say(f"{left.ref} is deleted")


def _show_plan(planned: DeletionPlan, *, err: bool = False) -> None:
    """Say what would go with a thing, what of it stays, and what needs it."""
    parts = ((name if rows == 1 else f"{name}s", rows) for name, rows in planned.parts.items())
    counts = [*parts, *((table.replace("_", " "), rows) for table, rows in planned.rows.items())]
    say(f"{planned.ref} would go for good" + (", and with it:" if counts else ""), err=err)
    for name, rows in counts:
        say(f"  {rows:>9,}  {name}", err=err)
    if planned.made_of_it:
        say(f"stays, and says that it is gone: {', '.join(planned.made_of_it)}", err=err)
    if planned.also_in:
        say(f"its rows stay readable in what holds the same files: {', '.join(planned.also_in)}", err=err)
    if planned.holds:
        say("cannot go yet, for something needs it:", err=err)
    for hold in planned.holds:
        say(f"  {hold.ref}: {hold.why}", err=err)
        say(f"    next: {hold.next_step}", err=err)


def _delete_project(
    project: str, reason: str, *, is_plan: bool, is_closed_only: bool, yes: bool, as_json: bool
) -> None:
    remote = Remote(project, find_caller())
    if is_plan:
        belongings = remote.call("loop.belongings")
        print_json(belongings) if as_json else _show_belongings(belongings, is_closed_only)
        return
    if not yes:
        _show_belongings(remote.call("loop.belongings"), is_closed_only)
        if not _is_confirmed(f"close {project}?" if is_closed_only else f"delete {project}?"):
            say("nothing was changed")
            return
    verb, named = ("loop.close_project", {}) if is_closed_only else ("loop.delete_project", {"name": project})
    ended: Any = remote.call(verb, reason=reason, **named)
    what = "is closed" if is_closed_only else "is closed; its rows are being removed"
    print_json(ended) if as_json else say(f"{project} {what}")


def _show_belongings(belongings: Belongings, is_closed_only: bool) -> None:
    """Say what would end with a project."""
    if belongings.serving:
        say(f"retires {', '.join(belongings.serving)}: requests are refused from then on", err=True)
    if belongings.jobs:
        say(f"cancels what is queued or runs: {belongings.jobs}", err=True)
    if belongings.rows and not is_closed_only:
        say("removes for good:", err=True)
        for table, rows in sorted(belongings.rows.items()):
            say(f"  {rows:>9,}  {table.replace('_', ' ')}", err=True)


def _is_confirmed(question: str) -> bool:
    """Ask whether it is to be so.

    Raises:
        InvalidInput: Nobody is there to answer.
    """
    try:
        return click.confirm(question, err=True)
    except click.Abort:
        if sys.stdin.isatty():  # somebody said no, by Ctrl C
            raise
        raise InvalidInput("nobody answered", field="--yes", next_step="say --yes where nobody can be asked") from None
