"""Commands about the loop: why, backtest."""

from pathlib import Path

import click
import msgspec

from loopwright.cli.backtesting import run_backtest
from loopwright.cli.connection import remote, remote_with
from loopwright.cli.explaining import print_provenance
from loopwright.cli.show import json_option, print_json, project_option
from loopwright.kernel.clock import check_zone


@click.command()
@click.argument("prediction_id")
@click.option("--replay", is_flag=True, help="Compute the score again from the records and compare to the bit.")
@project_option
@json_option
def why(prediction_id: str, replay: bool, project: str | None, as_json: bool) -> None:
    """Say where the answer PREDICTION_ID came from, from traffic decision to dataset bytes."""
    remote, provenance = remote_with(project, "loop.why", prediction_id=prediction_id)
    if replay:
        provenance = remote.why(prediction_id, replay=True)
    if as_json:
        print_json({"provenance": msgspec.structs.replace(provenance, replay=None), "replay": provenance.replay})
        return
    print_provenance(provenance)


def _check_zone(_context: click.Context, _option: click.Parameter, value: str) -> str:
    return check_zone(value, "--zone")


@click.command()
@click.argument("deployment")
@click.option("--from", "start", required=True, help="First day, such as 2013-03-01.")
@click.option("--to", "end", required=True, help="Day after the last.")
@click.option(
    "--policy",
    type=click.Path(path_type=Path, exists=True),
    help="Project file with the policy to try; default the applied one.",
)
@click.option("--zone", default="UTC", show_default=True, callback=_check_zone, help="Time zone of the table's months.")
@click.option("--keep", is_flag=True, help="Keep the scratch project, to look into what happened in it.")
@click.option("--reason", default="", help="Why, for the audit trail.")
@click.option("--detach", is_flag=True, help="Do not wait for the end.")
@project_option
@json_option
def backtest(
    deployment: str,
    start: str,
    end: str,
    policy: Path | None,
    zone: str,
    keep: bool,
    reason: str,
    detach: bool,
    project: str | None,
    as_json: bool,
) -> None:
    """Replay a stretch of history under a policy, through the same code, and print the closing table.

    The platform plays it in a scratch project, which goes when it is over; Ctrl-C leaves it running.
    """
    how = {"keep": keep, "detach": detach, "as_json": as_json}
    run_backtest(remote(project), deployment, start, end, policy, zone=zone, reason=reason, **how)
