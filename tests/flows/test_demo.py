"""A demo that is stopped goes on where it was; its last act is noticed by the platform itself, and ends its story."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from loopwright.config import load_settings
from loopwright.demo.notes import load_notes
from loopwright.demo.setup import START_AT, end_of
from loopwright.governance import sql as governance_sql
from loopwright.kernel.clock import DAY_US, HOUR_US
from loopwright.store.engine import Database
from tests.flows.flights_slice import ingest
from tests.servers import free_port
from tests.waiting import PATIENCE_S

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

TRIES = 9


def start_demo(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOOPWRIGHT_")}
    ports = {"LOOPWRIGHT_PORT": str(free_port()), "LOOPWRIGHT_GATEWAY_PORT": str(free_port())}
    command = [sys.executable, "-c", "from loopwright.cli import main; main()", "demo", *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=kept | ports, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run_demo(folder: Path, *arguments: str) -> Any:
    process = start_demo(folder, *arguments, "--exit", "--json", "table.json")
    _, said = process.communicate(timeout=4 * PATIENCE_S)
    assert process.returncode == 0, said
    assert [line for line in said.splitlines() if not re.match(r"2013-\d\d-\d\dT\d\dh +\d+%  |fit: ", line)] == []
    return json.loads((folder / "table.json").read_text())


def stop_mid_day(folder: Path) -> None:
    """Stop a demo as Ctrl C does, as if it had come to an hour's answers but not to its notes.

    Twelve hours pass in a second: where the test stood still meanwhile and the day is over, it begins anew.
    """
    for _ in range(TRIES):
        process = start_demo(folder, "--days", "1", "--exit", "--skip-last-act")
        place, written = folder / ".loopwright-demo" / "replay.json", [b""]
        while not written[-1] or load_notes(place.parent).played_until < START_AT + 12 * HOUR_US:
            if process.poll() is not None:
                break
            time.sleep(0.01)
            found = place.read_bytes() if place.exists() else b""
            written += [found] if found != written[-1] else []
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=PATIENCE_S)[1]
        if load_notes(place.parent).played_until < START_AT + DAY_US:
            assert said.splitlines()[-1] == "stopped", said
            place.write_bytes(written[-2])
            return
        shutil.rmtree(place.parent)
    raise AssertionError(f"the day was over {TRIES} times before it was stopped")


def test_a_demo_that_is_stopped_goes_on_exactly(tmp_path: Path) -> None:
    """It was to end after a day, and ends after two: what it had played before it was stopped is not played again."""
    stop_mid_day(tmp_path)
    table = run_demo(tmp_path, "--days", "2")

    module = ingest()
    flights: pl.DataFrame = module.read_flights(module.package_files())
    at_us = pl.col("scheduled_at").dt.epoch("us")
    flown = flights.filter(at_us.is_between(START_AT, end_of(2), closed="left"))
    landed = flown.filter(pl.col("arr_delay").is_not_null() & (pl.col("landed_at").dt.epoch("us") <= end_of(2)))
    assert (table["predictions"], table["labels"]) == (flown.height, landed.height)
    assert table["skew_rows_unequal"] == 0
    assert [row["flights"] for row in table["months"]] == [table["predictions"]]
    check_last_act(tmp_path, table)


def check_last_act(folder: Path, table: Any) -> None:
    """Every fault was noticed by the platform, nothing was lost, and the story has ended."""
    names = [one["name"] for one in table["planted"]]
    assert names == ["celsius", "bad model in shadow", "bad model in canary", "server killed"]
    assert all(0 <= one["noticed_s"] <= one["recovered_s"] and one["lost"] == 0 for one in table["planted"])
    assert sum(row["rollbacks"] for row in table["months"]) == 0
    database = Database(load_settings(folder / ".loopwright-demo").database_url)
    tokens = database.read(lambda connection: governance_sql.list_tokens(connection, ["flights"]))
    signers = {(token.actor, token.revoked_at is None) for token in tokens}
    assert signers == {("person:demo", False), ("person:second", False)}
    database.close()
    process = start_demo(folder, "--days", "3", "--exit")
    said = process.communicate(timeout=PATIENCE_S)[1]
    assert process.returncode == 1
    assert "has played its last act" in said
    assert "--reset" in said
