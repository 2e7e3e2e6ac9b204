"""Commands about the loop: why, backtest."""

from pathlib import Path

import click

from loopwright.cli.backtesting import run_backtest
from loopwright.cli.connection import remote
from loopwright.cli.explaining import print_provenance, replay_prediction
from loopwright.cli.show import json_option, print_json, project_option


@click.command()
@click.argument("prediction_id")
@click.option("--replay", is_flag=True, help="Compute the score again from the records and compare to the bit.")
@project_option
@json_option
def why(prediction_id: str, replay: bool, project: str | None, as_json: bool) -> None:
    """Say where the answer PREDICTION_ID came from, from traffic decision to dataset bytes."""
    found = remote(project)
    provenance = found.why(prediction_id)
    replayed = replay_prediction(found, provenance) if replay else None
    if as_json:
        print_json({"provenance": provenance, "replay": replayed})
        return
    print_provenance(provenance)
    if replayed is not None:
        click.echo(replayed.sentence)


@click.command()
@click.argument("deployment")
@click.option("--from", "start", required=True, help="First day, such as 2013-03-01.")
@click.option("--to", "end", required=True, help="Day after the last.")
@click.option(
    "--policy",
    type=click.Path(path_type=Path, exists=True),
    help="Project file with the policy to try; default the applied one.",
)
@project_option
@json_option
def backtest(deployment: str, start: str, end: str, policy: Path | None, project: str | None, as_json: bool) -> None:
    """Replay a stretch of history under a policy, through the same code, and print the year's table."""
    run_backtest(remote(project), deployment, start, end, policy, as_json)
