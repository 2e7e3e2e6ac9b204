"""What is asked of jobs and events costs the same however many have ended: a million of each, on SQLite."""

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from frame import Bench, insert_rows, scratch, settings_in

from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR, SYSTEM, Dispatcher
from loopwright.kernel.clock import DAY_US, SECOND_US
from loopwright.loop.attention import LASTING
from loopwright.rooms import import_rooms
from loopwright.server.process import open_database
from loopwright.store import jobs, sql
from loopwright.store.engine import Connection, Database
from loopwright.store.tables import events as event_table
from loopwright.store.tables import jobs as job_table

ROWS = 1_000_000
BATCH = 50_000
KINDS = ("data.import", "features.materialize", "monitoring.evaluate_window", "serving.judge_step")
START_US = 1_700_000_000 * SECOND_US
RARE = "bench/dataset:rare"


def job_rows(first: int) -> list[dict[str, Any]]:
    """Return jobs that ended: most of them well, one of a thousand badly and made up for since."""
    rows = []
    for number in range(first, first + BATCH):
        at = START_US + number * 100
        rows.append(
            {
                "project_id": "bench",
                "job_id": f"job_{number:08}",
                "kind": KINDS[number % len(KINDS)],
                "ref": f"bench/dataset:d{number % 50}",
                "args": {"number": number},
                "state": "failed" if number % 1000 == 0 else "done",
                "attempt": 1,
                "event_at": at,
                "recorded_at": at,
                "finished_at": at + SECOND_US,
                "due_at": at,
                "lane": "work",
                "expires_at": at + 400 * DAY_US,
            }
        )
    return rows


def event_rows(first: int) -> list[dict[str, Any]]:
    """Return sealed events of fifty objects, and a dozen of one that is seldom touched."""
    return [
        {
            "project_id": "bench",
            "type": "jobs.done",
            "ref": RARE if number % (ROWS // 12) == 7 else f"bench/dataset:d{number % 50}/{number}",
            "actor": "service:worker",
            "event_at": START_US + number,
            "recorded_at": START_US + number,
            "reason": "",
            "payload": {"job_id": f"job_{number:08}", "kind": KINDS[number % 4], "result": None},
            "position": 1_000 + number,
            "chain": "0" * 64,
        }
        for number in range(first, first + BATCH)
    ]


def median_ms(work: Callable[[], Any], times: int = 41) -> float:
    work()
    took = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e3


def main() -> None:
    import_rooms()
    bench = Bench("jobs")
    with scratch() as folder:
        database = open_database(settings_in(folder))
        dispatcher = Dispatcher(database)
        dispatcher.call("projects.create", {"name": "bench", "owner": "bench"}, actor=LOCAL_ACTOR, project=SYSTEM)
        bench.progress(f"{ROWS:,} jobs and as many events")
        for first in range(0, ROWS, BATCH):
            database.write(partial(insert_rows, table=job_table, rows=job_rows(first)))
            database.write(partial(insert_rows, table=event_table, rows=event_rows(first)))
        bench.progress("asking")
        measure(bench, dispatcher)
        queue_jobs_of_many(database)
        measure_turns(bench, dispatcher)
        database.close()
    bench.finish()


def measure(bench: Bench, dispatcher: Dispatcher) -> None:
    def read(work: Callable[[Connection], Any]) -> Callable[[], Any]:
        return lambda: dispatcher.database.read(work)

    def claim() -> Any:
        args = {"worker": "w", "kinds": list(KINDS), "slots": {"looks": 1, "work": 1, "training": 1}}
        return dispatcher.call("jobs.claim", args, actor=SERVICE_ACTOR, project=SYSTEM)

    def claim_and_finish() -> None:
        number = time.perf_counter_ns()
        start = lambda tx: tx.start_job("data.import", RARE, {}, job_id=f"job_{number}")  # noqa: E731
        dispatcher.write("bench", LOCAL_ACTOR, start)
        for job in claim():
            args = {"job_id": job.job_id, "worker": "w"}
            dispatcher.call("jobs.finish", args, actor=SERVICE_ACTOR, project="bench")

    live, wall_us = ["queued", "running"], dispatcher.wall.now_us()
    slots = {"looks": 1, "work": 1, "training": 1}
    asked = {
        "jobs.list, newest 100": read(lambda c: sql.list_jobs(c, "bench")),
        "jobs.list, newest 100 that failed": read(lambda c: sql.list_jobs(c, "bench", states=["failed"])),
        "jobs.list, newest 100 of a kind": read(lambda c: sql.list_jobs(c, "bench", kind=KINDS[1])),
        "is this view being filled": read(lambda c: sql.list_jobs(c, "bench", states=live, kind=KINDS[1])),
        "is anything left to do in this project": read(lambda c: sql.read_unrest(c, "bench")),
        "would a worker get a job": read(lambda c: sql.look_for_jobs(c, "w", KINDS, slots, wall_us)),
        "jobs.claim that finds nothing": claim,
        "a job queued, claimed and finished: three commits": claim_and_finish,
        "failed jobs that nobody answered, of 1,000": lambda: dispatcher.read(
            "bench", LOCAL_ACTOR, lambda tx: jobs.unanswered(tx, LASTING)
        ),
        "audit of a ref with 12 events": read(lambda c: sql.newest_events(c, "bench", limit=100, ref=RARE)),
        "audit of the newest 100 events": read(lambda c: sql.newest_events(c, "bench", limit=100)),
    }
    rival = median_ms(read(lambda c: sql.find_job(c, "bench", "job_00000500")))
    for what, work in asked.items():
        goal = "" if "three commits" in what else "< 5"
        bench.claim(what, median_ms(work), "ms", rival=rival, rival_name="one job by its key, same file", goal=goal)


def queue_jobs_of_many(database: Database) -> None:
    """Queue jobs of as many projects as a large house has; the one that came first has most of them."""
    rows = [
        {**row, "project_id": f"team_{max(number - 4_700, 0):03}", "state": "queued", "finished_at": None}
        for number, row in enumerate(job_rows(ROWS)[:5_000])
    ]
    database.write(partial(insert_rows, table=job_table, rows=rows))


def measure_turns(bench: Bench, dispatcher: Dispatcher) -> None:
    def take() -> list[Any]:
        wall_us = dispatcher.wall.now_us()
        return dispatcher.database.read(lambda c: sql.due_jobs(c, "work", KINDS, wall_us, 4))

    assert [job.project for job in take()] == [f"team_{number:03}" for number in range(4)]
    alone = median_ms(lambda: dispatcher.database.read(lambda c: sql.find_job(c, "bench", "job_00000500")))
    what = "four jobs to take, where 300 projects wait and one of them with 4,701 jobs"
    bench.claim(what, median_ms(take), "ms", rival=alone, rival_name="one job by its key, same file", goal="< 5")


if __name__ == "__main__":
    main()
