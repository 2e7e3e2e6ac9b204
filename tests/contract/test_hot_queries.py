"""What is asked all day looks into an index: it reads no table whole and sorts no table, however long the table is.

Benchmarks tell how long that takes with a million rows; here the plans of SQLite are read, which no machine changes.
"""

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from loopwright import features, monitoring, pipelines, serving
from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, SYSTEM, Dispatcher
from loopwright.kernel.clock import DAY_US, FixedClock
from loopwright.loop.attention import LASTING
from loopwright.store import compacting, jobs, sql
from loopwright.store.tx import Tx
from loopwright.store.types import MergeGroup
from tests.databases import open_sqlite

LONG = (
    *("jobs", "events", "chunks", "merged_chunks", "timers", "gateways", "idempotency_keys", "releases", "windows"),
    *("executions", "materializations"),
)
"""Tables that grow with time and use."""
KINDS = ("data.import", "monitoring.evaluate_window")
SLOTS = {"looks": 1, "work": 1, "training": 1}
LIVE = ["queued", "running"]
ID = "pred_" + "0" * 26

Ask = Callable[[Tx], Any]
ASKED: dict[str, Ask] = {
    "a job": lambda tx: sql.find_job(tx.connection, "flights", "job_1"),
    "newest jobs": lambda tx: sql.list_jobs(tx.connection, "flights"),
    "newest failed jobs": lambda tx: sql.list_jobs(tx.connection, "flights", states=["failed"]),
    "newest jobs of a kind": lambda tx: sql.list_jobs(tx.connection, "flights", kind=KINDS[0]),
    "live jobs of a kind": lambda tx: sql.list_jobs(tx.connection, "flights", states=LIVE, kind=KINDS[0]),
    "is a project at rest": lambda tx: sql.read_unrest(tx.connection, "flights"),
    "would a worker get a job": lambda tx: sql.look_for_jobs(tx.connection, "w", KINDS, SLOTS, 1),
    "jobs that are due": lambda tx: sql.due_jobs(tx.connection, "work", KINDS, 1, 2),
    "jobs whose worker is lost": lambda tx: sql.lost_jobs(tx.connection, KINDS, 1),
    "failed jobs that nobody answered": lambda tx: jobs.unanswered(tx, LASTING),
    "how many failed jobs": lambda tx: jobs.count_unanswered(tx, LASTING),
    "jobs that nobody takes": lambda tx: sql.untaken_jobs(tx.connection, "flights", 1, 2),
    "jobs that may be dropped": lambda tx: sql.delete_expired_jobs(tx.connection, 1, 10),
    "keys that may be dropped": lambda tx: sql.delete_keys(tx.connection, 1, 10),
    "newest events": lambda tx: sql.newest_events(tx.connection, "flights", limit=100),
    "events of a thing": lambda tx: sql.newest_events(tx.connection, "flights", limit=100, ref="flights/model:late"),
    "events behind a cursor": lambda tx: sql.events_after(tx.connection, 5, limit=200),
    "due timers": lambda tx: sql.due_timers(tx.connection, "flights", 1),
    "due timers on the wall": lambda tx: sql.due_timers_on_wall(tx.connection, ["flights"], 1, limit=10),
    "chunks of an id": lambda tx: sql.find_chunks(tx.connection, "flights", "predictions", item_id=ID),
    "chunks of a window": lambda tx: sql.find_chunks(
        tx.connection, "flights", "predictions", stream="late", start_at=0, end_at=DAY_US
    ),
    "chunks stored since": lambda tx: sql.find_chunks(
        tx.connection, "flights", "pushes", stream="weather", recorded_since=1
    ),
    "chunks of labels": lambda tx: sql.find_label_chunks(tx.connection, "flights", "late", ids=[(ID, ID)], start_at=0),
    "chunks to be merged": lambda tx: compacting.of_group(tx, group=MergeGroup(1, "labels", "late", "gateway", 0)),
    "chunks that end with some ids": lambda tx: sql.chunks_ending(
        tx.connection, "flights", "predictions", "late", ids=(ID, ID), after="", limit=10
    ),
    "live gateways": lambda tx: serving.list_gateways(tx),
    "have gateways caught up": lambda tx: serving.is_acknowledged(tx),
    "releases of a deployment": lambda tx: serving.list_releases(tx, deployment="late", limit=10),
    "newest executions": lambda tx: pipelines.list_executions(tx, limit=10),
    "newest executions of a pipeline": lambda tx: pipelines.list_executions(tx, pipeline="fit", limit=10),
    "newest live executions": lambda tx: pipelines.list_executions(tx, states=LIVE, limit=10),
    "newest fills": lambda tx: features.materializations(tx, limit=10),
    "since when nobody seals": sql.oldest_unsealed,
    "newest windows": lambda tx: monitoring.list_windows(tx, deployment="late", limit=10),
}
SORTED = {"events of a thing", "chunks to be merged"}
"""What is sorted on purpose: the events under one ref, and the chunks of an hour, which lie side by side."""
BY_INDEX = {
    "newest failed jobs": "ix_jobs_state",
    "live jobs of a kind": "ix_jobs_kind",
    "jobs that may be dropped": "ix_jobs_expires",
    "keys that may be dropped": "ix_idempotency_keys_recorded",
    "jobs that are due": "ix_jobs_turn",
    "events of a thing": "ix_events_project_ref",
    "chunks of an id": "ix_chunks_ids",
    "chunks of a window": "ix_chunks_span",
    "chunks of labels": "ix_chunks_about",
    "chunks to be merged": "ix_chunks_span",
    "chunks that end with some ids": "ix_chunks_end",
}
"""Where another index would do as well for a reader of plans, and walk through all that the project has."""


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Ask], list[str]]]:
    """Return the plans of the statements that a question asks, a line a step."""
    file = Path(tmp_path_factory.mktemp("plans")) / "one.db"
    database = open_sqlite(file)
    dispatcher = Dispatcher(database, FixedClock(DAY_US))
    dispatcher.call("projects.create", {"name": "flights"}, actor=LOCAL_ACTOR, project=SYSTEM)
    spec = {"name": "late", "model": "late", "task": "binary", "is_external": True}
    dispatcher.call("serving.declare", {"spec": spec}, actor=LOCAL_ACTOR, project="flights")
    dispatcher.call(
        "monitoring.declare", {"deployment": "late", "spec": {"every_us": DAY_US}}, actor=LOCAL_ACTOR, project="flights"
    )

    def plans(ask: Ask) -> list[str]:
        statements: list[str] = []

        def work(tx: Tx) -> None:
            driver: Any = tx.connection.connection.dbapi_connection
            driver.set_trace_callback(statements.append)
            try:
                ask(tx)
            finally:
                driver.set_trace_callback(None)

        dispatcher.write("flights", SERVICE_ACTOR, work)
        with closing(sqlite3.connect(file)) as reader, reader:
            told = [s for s in statements if re.match(r"\s*(SELECT|WITH|UPDATE|DELETE)", s)]
            assert told, statements
            return [str(row[3]) for s in told for row in reader.execute(f"EXPLAIN QUERY PLAN {s}")]

    yield plans
    database.close()


def read_whole(plan: list[str]) -> list[str]:
    """Return the steps that read one of the long tables from end to end."""
    return [step for step in plan if re.match(rf"SCAN ({'|'.join(LONG)})\b", step)]


def sorts(plan: list[str]) -> list[str]:
    """Return the steps that sort what was found."""
    return [step for step in plan if "USE TEMP B-TREE FOR ORDER BY" in step]


@pytest.mark.parametrize("name", ASKED)
def test_what_is_asked_all_day_looks_into_an_index(asked: Callable[[Ask], list[str]], name: str) -> None:
    plan = asked(ASKED[name])
    assert any(step.startswith("SEARCH") for step in plan), plan
    assert read_whole(plan) == []
    assert bool(sorts(plan)) == (name in SORTED), plan
    assert BY_INDEX.get(name, "") in " ".join(plan)


def test_a_table_that_is_read_whole_is_found(asked: Callable[[Ask], list[str]]) -> None:
    def by_outcome(tx: Tx) -> None:
        tx.connection.exec_driver_sql("SELECT job_id FROM jobs WHERE progress = 'x' ORDER BY finished_at").all()

    plan = asked(by_outcome)
    assert read_whole(plan)
    assert sorts(plan)
