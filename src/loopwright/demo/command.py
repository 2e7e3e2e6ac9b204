"""The command: set up, replay, tell, break, keep serving."""

import json
import time
from pathlib import Path
from typing import Any

import click
import polars as pl

from loopwright.cli import print_provenance, print_table
from loopwright.config import load_settings
from loopwright.demo.last_act import break_one, last_act
from loopwright.demo.notes import load_notes, refuse_if_over
from loopwright.demo.setup import DEPLOYMENT, PROJECT, START_AT, Stage, end_of, open_stage
from loopwright.demo.year import play_year
from loopwright.kernel.clock import DAY_US
from loopwright.loop import SERVED
from loopwright.server import clear_state


@click.command()
@click.option("--state", type=click.Path(path_type=Path), default=Path(".loopwright-demo"), show_default=True)
@click.option("--reset", is_flag=True, help="Forget an earlier demo and start over.")
@click.option("--days", type=int, help="Replay only the first N days after March 1.")
@click.option(
    "--ask", is_flag=True, help="Wait for you to approve the first release instead of signing as person:demo."
)
@click.option("--exit", "exits", is_flag=True, help="End after the last act instead of serving on.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the closing table to this file.")
@click.option("--break", "broken", help="Plant one fault in a demo that runs: celsius, bad-model, kill-server.")
@click.option("--skip-last-act", is_flag=True, help="Plant no faults, so that a later run can go on with more days.")
def demo(
    state: Path,
    reset: bool,
    days: int | None,
    ask: bool,
    exits: bool,
    json_file: Path | None,
    broken: str | None,
    skip_last_act: bool,
) -> None:
    """Take a year of flights out of New York through the whole loop, on this machine, and keep serving."""
    if broken:
        break_one(state, broken)
        return
    if reset and state.exists():
        clear_state(load_settings(state))
    started = time.monotonic()
    state = state.absolute()
    notes, end_at = load_notes(state), end_of(days)
    refuse_if_over(notes, end_at)
    with open_stage(state) as stage:
        stage.prepare(ask=ask)
        play_year(stage, notes, end_at)
        closing = stage.remote.deployment(DEPLOYMENT).closing_table(
            START_AT, end_at, zone="America/New_York", rows="flights", short="auc"
        )
        print_table(closing)
        table = closing.table
        table["planted"] = [] if skip_last_act else last_act(stage, notes)
        table["seconds"] = round(time.monotonic() - started, 1)
        table["peak_rss_mb"] = stage.peak_rss_mb()
        if json_file is not None:
            json_file.write_text(json.dumps(table, indent=2))
        _ask_why(stage, end_at)
        _say_goodbye(stage, table, exits=exits)
        if not exits:
            stage.serve()


def _ask_why(stage: Stage, end_at: int) -> None:
    """Follow one late flight of the last day back to the bytes, and compute its score again."""
    log = stage.remote.deployment(DEPLOYMENT).read_log(end_at - 2 * DAY_US, end_at)
    log = log.filter((pl.col("series") == SERVED) & (pl.col("label") == 1))
    if log.is_empty():
        return
    prediction_id = str(log.sort("score")["prediction_id"][-1])
    click.echo("")
    click.echo(f"loopwright why {prediction_id} --replay     (a late flight that was seen coming)")
    click.echo(f"the same as a page: {stage.supervisor.server_url}/p/{PROJECT}/predictions/{prediction_id}")
    print_provenance(stage.remote.why(prediction_id, replay=True))


def _say_goodbye(stage: Stage, table: dict[str, Any], *, exits: bool) -> None:
    click.echo("")
    click.echo(f"{table['seconds']} s, {table['peak_rss_mb']} MB at most.")
    if exits:
        click.echo(f"state stays in {stage.state}; run the demo again to go on serving")
        return
    click.echo("The loop keeps serving:")
    click.echo(f"  pages        {stage.supervisor.server_url}")
    click.echo(f"  predictions  {stage.supervisor.gateway_url}/v1/flights/deployments/late/predict")
    click.echo("now you: loopwright demo --break celsius | bad-model | kill-server")
