"""The command that ends a project."""

import sys

import click

from loopwright.cli.show import json_option, print_json
from loopwright.client import Remote, find_caller
from loopwright.kernel.errors import InvalidInput
from loopwright.loop import Belongings


@click.command()
@click.argument("project")
@click.option("--reason", required=True, help="Why; it lands in the audit trail, which stays.")
@click.option("--close", "is_closed_only", is_flag=True, help="Only end what goes on; every row stays to be read.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def delete(project: str, reason: str, is_closed_only: bool, yes: bool, as_json: bool) -> None:
    """End PROJECT: endpoints are retired, executions and jobs cancelled, and its rows removed.

    Its name and its events stay. Files that nothing names any more are freed by the next garbage collection.
    """
    remote = Remote(project, find_caller())
    if not yes and not _is_wanted(remote.call("loop.belongings"), project, is_closed_only):
        click.echo("nothing was changed")
        return
    if is_closed_only:
        ended = remote.call("loop.close_project", reason=reason)
    else:
        ended = remote.call("loop.delete_project", name=project, reason=reason)
    what = "is closed" if is_closed_only else "is closed; its rows are being removed"
    print_json(ended) if as_json else click.echo(f"{project} {what}")


def _is_wanted(belongings: Belongings, project: str, is_closed_only: bool) -> bool:
    """Say what would end, and ask whether it is to be so.

    Raises:
        InvalidInput: Nobody is there to answer.
    """
    if belongings.serving:
        click.echo(f"retires {', '.join(belongings.serving)}: requests are refused from then on", err=True)
    if belongings.jobs:
        click.echo(f"cancels what is queued or runs: {belongings.jobs}", err=True)
    if belongings.rows and not is_closed_only:
        click.echo("removes for good:", err=True)
        for table, rows in sorted(belongings.rows.items()):
            click.echo(f"  {rows:>9,}  {table.replace('_', ' ')}", err=True)
    try:
        return click.confirm(f"close {project}?" if is_closed_only else f"delete {project}?", err=True)
    except click.Abort:
        if sys.stdin.isatty():  # somebody said no, by Ctrl C
            raise
        raise InvalidInput("nobody answered", field="--yes", next_step="say --yes where nobody can be asked") from None
