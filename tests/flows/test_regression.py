"""The loop with another task: how many minutes late a flight arrives. Nothing in it takes labels for yes or no."""

import math
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from loopwright.cli.project import follow_execution
from loopwright.cli.serving import wait_for_job
from loopwright.client.caller import HttpCaller
from loopwright.client.remote import Remote
from loopwright.kernel.clock import DAY_US
from loopwright.loop import Replay, Requests, Stream
from loopwright.server.supervisor import Supervisor
from tests.flows.flights_slice import START, apply_file, ingest, write_slice

pytestmark = pytest.mark.slow

PROJECT = """
import lightgbm
import polars as pl

import loopwright as lw

p = lw.Project("minutes", clock="replay", clock_at="2013-03-01T05:00:00Z")


def with_label(raw: pl.LazyFrame) -> pl.LazyFrame:
    return raw.with_columns(minutes=pl.col("arr_delay").cast(pl.Float64))


flights = p.dataset("flights", lw.source.parquet("data/flights/"), transform=with_label, key="flight_id",
                    time="scheduled_at", known_at={"minutes": "landed_at"}, checks=[lw.check.not_null("origin")])
recent = [p.aggregates(flights, entity=entity, over=["3h", "24h"], counts="known", minutes=lw.agg.mean("minutes"))
          for entity in ("carrier", "origin")]


@p.on_request(inputs=["scheduled_at", "carrier", "origin", "distance"])
def asked(request: pl.DataFrame) -> pl.DataFrame:
    return request.select("carrier", "origin", "distance", hour=pl.col("scheduled_at").dt.hour())


inputs = p.feature_service("minutes", [asked, *recent], label=flights["minutes"], task="regression")


@p.train(model="minutes", inputs=inputs, holdout="2d")
def fit(rows: lw.TrainingSet, trees: int = 20):
    X, y = rows.xy()
    return lightgbm.LGBMRegressor(n_estimators=trees, n_jobs=1, verbose=-1).fit(X, y)


p.deployment("late", model="minutes", gates=[lw.gate.at_most("rmse", 100.0), lw.gate.data_checks()],
             rollout=[lw.Shadow("12h", no_worse="rmse", margin=5.0, at_most="2d")],
             approve=lw.Approve(first="policy", retrain="policy"),
             monitor=lw.Monitor(every="1d", performance="rmse", segments=["origin"], span="7d"),
             retrain=lw.Retrain(fit, when=[lw.when.decay("rmse", by=20.0), lw.when.older_than("90d")]))
"""
DAYS = 2


def fitted(remote: Remote, execution_id: str) -> None:
    execution = follow_execution(remote, execution_id)
    assert execution.state == "done", execution.error


def slice_of_march() -> pl.DataFrame:
    module = ingest()
    first = pl.lit(START).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    flights: pl.DataFrame = module.read_flights(module.package_files())
    flights = flights.with_columns(settled_at=module.settled_at(flights), event_at="scheduled_at")
    return flights.filter(pl.col("settled_at") > first, pl.col("scheduled_at") < first + pl.duration(days=DAYS))


def make_replay(remote: Remote, flights: pl.DataFrame) -> Replay:
    fields = ["flight_id", "scheduled_at", "carrier", "origin", "distance", "event_at", "arr_delay", "landed_at"]
    asked = flights.filter(pl.col("event_at").dt.epoch("us") >= START).select(fields)
    requests = Requests(asked, event_at="event_at", label="arr_delay", label_at="landed_at")
    return Replay(remote, "late", [Stream("flights", flights.drop("event_at"), "settled_at")], requests)


def test_the_loop_closes_on_minutes(platform: Supervisor, caller: HttpCaller, tmp_path: Path) -> None:
    file = write_slice(tmp_path / "project", {})
    file.write_text(PROJECT)
    history = file.parent / "data" / "flights" / "history.parquet"
    recent = pl.read_parquet(history).sort("scheduled_at").tail(8_000)  # nine days
    recent.write_parquet(history)
    remote = apply_file(file, caller)
    for job in remote.call("jobs.list"):
        wait_for_job(remote, job.job_id)
    fitted(remote, remote.call("pipelines.start", pipeline="fit", params={}).execution_id)
    remote.advance(START)
    champion = remote.call("registry.get_version", model="minutes", alias="champion")
    report = remote.call("registry.gate_report", model="minutes", version=champion.refit_of)
    assert report.passed
    held_out = remote.call("registry.get_version", model="minutes", version=champion.refit_of).metrics
    assert set(held_out) >= {"rmse", "mae"}
    assert "roc_auc" not in held_out
    assert (champion.signature.task, champion.signature.classes) == ("regression", [])

    flights = slice_of_march()
    replay = make_replay(remote, flights)
    for _ in replay.run(START, START + DAY_US // 4, day_starts_at=START):
        pass
    remote.call("loop.start_retrain", deployment="late", cause="person", reason="new rows are in")
    for _ in replay.run(START + DAY_US // 4, START + DAYS * DAY_US, day_starts_at=START):
        pass
    replay.settle(START + (DAYS + 2) * DAY_US)

    [record] = remote.call("loop.retrains")
    assert record.state == "promoted", record.outcome
    looks = remote.call("serving.rollouts", deployment="late")[0].verdicts
    judged = [one for one in looks if one.metric == "rmse" and one.verdict == "go"]
    assert judged
    assert judged[0].rows > 200
    newest = remote.call("registry.get_version", model="minutes", alias="champion").version
    assert newest > champion.version

    log = remote.deployment("late").read_log(START, START + DAYS * DAY_US)
    served = log.filter(~pl.col("is_shadow"))
    assert served.height == replay.tally.predictions
    assert set(served["model_version"]) == {champion.version, newest}
    assert served["score"].min() < 0 < 30 < served["score"].max()
    truth = dict(flights.select("flight_id", "arr_delay").iter_rows())
    labelled = served.filter(pl.col("label").is_not_null())
    assert labelled["label"].to_list() == [truth[name] for name in labelled["row_key"]]

    [window] = remote.call("monitoring.windows", deployment="late", start_at=START - START % DAY_US + DAY_US, limit=2)[
        -1:
    ]
    day = labelled.filter(pl.col("event_at").is_between(window.start_at, window.end_at, closed="left"))
    [measured] = [one for one in window.performance if one.variant == "champion"]
    errors = day["score"].to_numpy() - day["label"].to_numpy()
    assert (measured.metric, measured.labels) == ("rmse", day.height)
    assert measured.value == pytest.approx(math.sqrt(np.mean(errors**2)))
    # The policy answers decay and age. Drift, which none of its triggers answers, is left to a person.
    assert {one.kind for one in remote.call("monitoring.incidents", needs_person=True)} == {"drift"}
