"""Would another policy have worked? The platform plays stored history again, for classes and for minutes."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

from loopwright.cli.main import cli
from loopwright.cli.serving import wait_for_job
from loopwright.client.caller import HttpCaller
from loopwright.client.remote import Remote
from loopwright.client.waiting import RemoteBacktest
from loopwright.governance import SYSTEM
from loopwright.kernel.errors import Conflict, InvalidInput, LoopwrightError, NotFound
from loopwright.server.supervisor import Supervisor
from tests.flows.cluster import revive
from tests.flows.flights_slice import SHORTER, apply_file, write_slice
from tests.flows.test_regression import PROJECT as MINUTES
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

ONCE = {
    'with_columns(is_late=pl.col("arr_delay") > 15)': 'with_columns(is_late=pl.col("arr_delay") > 15).drop("arr_delay")'
}
"""A transform that cannot run on its own result."""
OFTEN = {
    'at_most="1 per 5w"': 'at_most="1 per 1d"',
    'lw.when.older_than("60d")': 'lw.when.older_than("1d")',
    'lw.Shadow("1d",': 'lw.Shadow("12h",',
    "margin=0.05": "margin=0.5",
}


def changed(text: str, changes: dict[str, str]) -> str:
    for before, after in changes.items():
        assert before in text
        text = text.replace(before, after)
    return text


def imported(file: Path, caller: HttpCaller) -> Remote:
    remote = apply_file(file, caller)
    for job in remote.call("jobs.list"):
        wait_for_job(remote, job.job_id)
    return remote


def backtest(*arguments: str | Path) -> Any:
    answer = CliRunner().invoke(cli, ["backtest", "late", *map(str, arguments)], catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return json.loads(answer.stdout) if "--json" in arguments else answer.stdout


def stored_flights(file: Path, first: str, last: str) -> int:
    rows = pl.read_parquet(file.parent / "data" / "flights" / "history.parquet")
    moments = [pl.lit(day).str.to_datetime("%Y-%m-%dT%H:%MZ", time_unit="us", time_zone="UTC") for day in (first, last)]
    return rows.filter(pl.col("scheduled_at").is_between(*moments, closed="left")).height


def test_another_policy_on_the_same_days(caller: HttpCaller, tmp_path: Path) -> None:
    file = write_slice(tmp_path / "project", SHORTER | ONCE)
    remote = imported(file, caller)
    policy = file.with_name("often.py")
    policy.write_text(changed(file.read_text(), OFTEN))
    stretch = ("--from", "2013-02-25T00:00Z", "--to", "2013-02-27T18:00Z", "--project", "flights")
    with pytest.raises(NotFound, match="no deployment is named early"):
        CliRunner().invoke(cli, ["backtest", "early", *stretch], catch_exceptions=False)
    with pytest.raises(InvalidInput, match="time zone"):
        backtest(*stretch, "--zone", "New York")

    table = backtest(*stretch, "--policy", policy, "--json")
    assert table["metric"] == "roc_auc"
    [month] = table["months"]
    assert month["month"] == "2013-02"
    assert (
        month["predictions"] == table["predictions"] == stored_flights(file, "2013-02-25T00:00Z", "2013-02-27T18:00Z")
    )
    assert table["labels"] > 0.9 * table["predictions"]
    assert set(month["causes"]) == {"older_than"}
    assert month["promotions"] >= 1
    assert 0.5 < month["roc_auc_frozen"] < 1.0
    assert month["roc_auc_served"] != month["roc_auc_frozen"]
    assert month["retrains_calendar"] == 0
    assert table["skew_rows_checked"] >= 1000
    assert table["skew_rows_unequal"] == 0

    assert remote.call("serving.status", deployment="late").release is None
    assert remote.call("pipelines.list") == []
    [record] = remote.call("loop.backtests", deployment="late")
    assert (record.state, record.attempt, record.scratch, record.closing.table) == ("done", 1, None, table)
    assert [event.type for event in remote.call("audit.list", type_prefix="loop.backtest")] == [
        "loop.backtest_finished",
        "loop.backtest_begun",
        "loop.backtest_started",
    ]
    assert projects(caller) == {"flights"}  # the scratch project went with its backtest


def projects(caller: HttpCaller) -> set[str]:
    return {project.name for project in caller.call("projects.list", {}, SYSTEM)}


def test_a_backtest_whose_worker_is_killed_starts_over_and_one_that_is_cancelled_leaves_nothing(
    caller: HttpCaller, platform: Supervisor, tmp_path: Path
) -> None:
    file = write_slice(tmp_path / "project", {})
    file.write_text(MINUTES.replace('lw.Project("minutes"', 'lw.Project("killed"'))
    remote = imported(file, caller)
    late, stretch = remote.deployment("late"), ("2013-02-25T00:00Z", "2013-02-25T06:00Z")
    played = late.backtest(*stretch, keep_project=True, reason="would it have held?")
    with pytest.raises(Conflict, match="once it is done"):
        _ = played.closing

    def progress() -> str:
        return remote.job(played.record.job_id).record.progress or ""

    first = wait_until(lambda: played.refresh().record.scratch)
    platform.kill("worker")
    revive(platform, "worker")
    wait_until(lambda: progress().startswith("started over, attempt 2"))
    assert caller.call("projects.get", {"name": first}, SYSTEM).deleted_at is not None
    assert played.wait().record.attempt == 2
    assert played.closing.table["predictions"] == stored_flights(file, *stretch) == played.months["predictions"].sum()
    kept = Remote(str(played.record.scratch), caller)
    assert kept.call("serving.status", deployment="late").champion is not None
    assert [token.revoked_at is None for token in kept.call("tokens.list")] == [False]

    cancelled = late.backtest(*stretch)
    wait_until(lambda: cancelled.refresh().record.scratch)
    scratch = str(cancelled.record.scratch)
    assert CliRunner().invoke(cli, ["cancel", cancelled.record.job_id], catch_exceptions=False).exit_code == 0
    with pytest.raises(LoopwrightError, match="the job was cancelled"):
        cancelled.wait()
    wait_until(lambda: caller.call("projects.get", {"name": scratch}, SYSTEM).deleted_at)
    assert {first, scratch}.isdisjoint(projects(caller))


def test_whoever_stops_waiting_is_told_how_to_end_it(
    caller: HttpCaller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_slice(tmp_path / "project", {})
    file.write_text(MINUTES.replace('lw.Project("minutes"', 'lw.Project("waiting"'))
    remote = imported(file, caller)
    stretch = ("--from", "2013-02-25T00:00Z", "--to", "2013-02-25T06:00Z", "--project", "waiting")
    detached = backtest(*stretch, "--detach", "--json")
    assert detached["state"] == "running"

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(RemoteBacktest, "wait", interrupt)
    left = CliRunner().invoke(cli, ["backtest", "late", *stretch])
    names = {backtest.backtest_id: backtest.job_id for backtest in remote.call("loop.backtests")}
    [job_id] = {job_id for name, job_id in names.items() if name != detached["backtest_id"]}
    assert f"goes on at the server; to end it: loopwright cancel {job_id}" in left.stderr
    for running in names.values():
        assert CliRunner().invoke(cli, ["cancel", running], catch_exceptions=False).exit_code == 0


def test_minutes_have_a_table_of_their_own(caller: HttpCaller, tmp_path: Path) -> None:
    file = write_slice(tmp_path / "project", {})
    file.write_text(MINUTES)
    imported(file, caller)
    said = backtest("--from", "2013-02-25T00:00Z", "--to", "2013-02-26T00:00Z", "--project", "minutes")
    head, month, mean = said.split("\n")[1:4]
    assert head.split()[:3] == ["month", "predictions", "served"]
    assert "right warnings" not in head
    assert month.split()[:2] == ["2013-02", str(stored_flights(file, "2013-02-25T00:00Z", "2013-02-26T00:00Z"))]
    assert 5.0 < float(month.split()[2]) == float(mean.split()[2]) < 200.0
    assert "RMSE on" in said
    assert " 0 differ" in said


def test_columns_become_known_one_after_the_other(caller: HttpCaller, tmp_path: Path) -> None:
    """A feature of what is known at once, beside one of what is known after landing: served and computed are equal."""
    view = 'p.aggregates(flights, entity="origin", over=["6h"], name="busy", miles=lw.agg.sum("distance"))'
    early = {"[asked, at_origin, *recent]": f"[asked, at_origin, *recent, {view}]"}
    file = write_slice(tmp_path / "project", SHORTER | ONCE | early)
    file.write_text(file.read_text().replace('lw.Project("flights"', 'lw.Project("early"'))
    remote = imported(file, caller)
    backtested = remote.deployment("late").backtest("2013-02-25T00:00Z", "2013-02-26T06:00Z", keep_project=True)
    table = backtested.wait().closing.table
    assert table["skew_rows_checked"] >= 500
    assert table["skew_rows_unequal"] == 0
    played = Remote(str(backtested.refresh().record.scratch), caller)
    operations = {version.operation for version in played.call("data.versions", dataset="flights")}
    assert operations == {"replace", "append", "complete"}
    played.call("loop.delete_project", name=played.project, reason="it was looked at")
