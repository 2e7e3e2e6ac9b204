"""Processes of a simulated platform: the real parts of each, on virtual time, a faulty disk and a faulty network."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import Empty
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, unquote

import msgspec
from starlette.requests import Request as HttpRequest

from loopwright.client import caller as client_caller
from loopwright.client.caller import HttpCaller
from loopwright.config import load_settings
from loopwright.gateway.log import sealing, segments, spool
from loopwright.governance import Dispatcher, check_permission, find_verb
from loopwright.kernel import clock
from loopwright.kernel.clock import WallClock
from loopwright.kernel.documents import to_json
from loopwright.kernel.errors import LoopwrightError
from loopwright.loop import Reactor
from loopwright.loop.engine import reactor, retries
from loopwright.server import background, signal
from loopwright.server.answers import crash_answer, error_answer
from loopwright.server.auth import Gatekeeper, identity
from loopwright.server.background import Background
from loopwright.server.signal import CommitSignal
from loopwright.store import engine, sqlite
from loopwright.store import sql as store_sql
from loopwright.store.blobs import open_blob_store
from loopwright.store.engine import Database
from loopwright.store.news import JOBS
from loopwright.wire import line
from loopwright.wire.credentials import worker_token
from loopwright.wire.line import Answer
from loopwright.worker import calling, process, tasks
from loopwright.worker.calling import ServerCaller
from loopwright.worker.context import WorkerContext
from loopwright.worker.process import Worker
from tests.simulation.database import Faults, faulty_databases
from tests.simulation.network import Network, Request, line_of
from tests.simulation.scheduler import Life, Simulation
from tests.simulation.threads import Future, Queues, Threads, Time, replaced

SERVERS = "http://server-1,http://server-2"
SERVICE_TOKEN = "service"
PATIENCE_S = 8.0
LOOK_EVERY_S = 2.0

_WITH_THREADS = (background, signal, sqlite, reactor, process, tasks, calling, segments, spool, sealing)
_WITH_TIME = (identity, clock, sqlite, tasks, calling, client_caller, sealing)


@contextmanager
def edges_replaced(simulation: Simulation, network: Network) -> Iterator[None]:
    """Put every process on virtual time and on the simulated network, database and disk."""
    threads, time = Threads(simulation), Time(simulation)
    queues, promise = Queues(simulation, Empty), type("Promise", (Future,), {"simulation": simulation})
    wire = line_of(network)
    names: dict[Any, Any] = {
        **{(module, "threading"): threads for module in _WITH_THREADS},
        **{(module, "time"): time for module in _WITH_TIME},
        **{(module, "HttpLine"): wire for module in (client_caller, line)},
        (sqlite, "queue"): queues,
        (engine, "Future"): promise,
        (sealing, "Future"): promise,
        (background, "TICK_S"): 2.0,
        (reactor, "_SAVE_EVERY"): 5,
        (retries, "PAUSES_S"): (0.5, 1.0, 2.0, 4.0),
        (os, "urandom"): simulation.bytes.randbytes,
    }
    with ExitStack() as stack:
        stack.enter_context(replaced(names))
        stack.enter_context(faulty_databases(Faults(simulation)))
        yield


def ends_with_errors(begin: Callable[[Life], None]) -> Callable[[Life], None]:
    """Have a process end where it cannot begin its work, and where that work ends; its supervisor starts it again."""

    def run(life: Life) -> None:
        try:
            begin(life)
        except (LoopwrightError, OSError) as error:
            life.simulation.kill(life, f"as it cannot start: {error}")

    return run


class Server:
    """One server: its database, dispatcher and background loops. Several may share a file."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._url = folder, f"sqlite:///{folder / 'loopwright.db'}"
        self.reactor: Reactor | None = None

    def begin(self, life: Life) -> None:
        """Open the database, start the loops, listen."""
        database = Database(self._url)
        life.on_death.append(database.engine.dispose)
        dispatcher = Dispatcher(database, WallClock())
        parts: Any = SimpleNamespace(
            simulation=life.simulation, database=database, dispatcher=dispatcher, signal=CommitSignal(database)
        )
        parts.gatekeeper = Gatekeeper(dispatcher, SERVICE_TOKEN, is_open=True)
        parts.blobs, parts.settings = open_blob_store(str(self._folder / "blobs")), load_settings(self._folder)
        parts.reactor = self.reactor = Reactor(dispatcher)
        Background(parts).start()
        life.answers = lambda request: answer_verb(parts, request)


def answer_verb(parts: Any, request: Request) -> Answer:
    """Answer a call of a verb as the server's HTTP does, without HTTP."""
    try:
        return Answer(200, _call(parts, request))
    except LoopwrightError as error:
        refusal = error_answer(error)
        return Answer(refusal.status_code, bytes(refusal.body), float(refusal.headers.get("retry-after", 0)))
    except Exception as error:  # noqa: BLE001 - as the server does, whose log has it
        parts.simulation.note(f"a server has an error: {type(error).__name__}: {error}")
        return Answer(500, bytes(crash_answer().body))


def _call(parts: Any, request: Request) -> bytes:
    _, _, project, _, name = request.path.split("/")
    sent = {"host": "localhost", **request.headers}
    headers = [(name.encode(), value.encode()) for name, value in sent.items()]
    actor = parts.gatekeeper.actor(HttpRequest({"type": "http", "method": "POST", "headers": headers}))
    called, project = find_verb(unquote(name)), unquote(project)
    check_permission(called, actor, project)
    wait_s = float(parse_qs(request.query).get("wait_s", ["0"])[0])
    args = msgspec.json.decode(request.body or b"{}")
    if wait_s and called.name == "jobs.claim":
        _wait_for_jobs(parts, args, wait_s)
    key = request.headers.get("idempotency-key")
    return to_json(parts.dispatcher.call(called.name, args, actor=actor, project=project, idempotency_key=key))


def _wait_for_jobs(parts: Any, args: dict[str, Any], wait_s: float) -> None:
    """Return once a claim would get a job, or the time is over."""
    deadline = clock.time.monotonic() + wait_s
    while True:
        seen = parts.signal.seen(JOBS)
        wall_us = parts.dispatcher.wall.now_us()
        with parts.database.reading() as connection:
            prospect = store_sql.look_for_jobs(connection, args["worker"], args["kinds"], args["slots"], wall_us)
        left = deadline - clock.time.monotonic()
        if prospect.is_there or left <= 0:
            return
        next_s = LOOK_EVERY_S if prospect.next_at is None else max(0.05, (prospect.next_at - wall_us) / 1e6)
        parts.signal.wait(seen, min(left, LOOK_EVERY_S, next_s), JOBS)


class WorkerSeat:
    """One worker after another in one folder: each frees the jobs of the one before, as it is dead."""

    def __init__(self, folder: Path, blobs: str) -> None:
        self._folder, self._blobs = folder, blobs
        self._name = ""
        self.worker: Worker | None = None

    def begin(self, life: Life) -> None:
        """Claim and do jobs until told to stop; then end."""
        nobody: Any = None
        caller = ServerCaller(SERVERS, worker_token(SERVICE_TOKEN))
        context = WorkerContext(caller, open_blob_store(self._blobs), self._folder, "", nobody, (), (), {})
        self.worker = Worker(context, {"looks": 1, "work": 2, "training": 1})
        before, self._name = self._name, self.worker.name
        life.worker = self._name
        process._let_predecessor_go(context, before)
        self.worker.run()
        life.simulation.kill(life, "after it has drained")


def new_caller(gateway: str = "") -> HttpCaller:
    """Return a client's caller, which repeats by itself what may be repeated."""
    return HttpCaller(SERVERS, gateway, patience_s=PATIENCE_S)
