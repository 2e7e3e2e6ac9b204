"""A server, and a worker process that works for it."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loopwright.governance import LOCAL_ACTOR, SYSTEM
from loopwright.kernel.code import CodeRef
from loopwright.kernel.documents import digest_of
from loopwright.pipelines import Execution, PipelineSpec, StepSpec, packing
from loopwright.server.app import create_app, make_context
from loopwright.store.blobs import open_blob_store
from tests.databases import open_sqlite
from tests.servers import ThreadedServer, settings_in
from tests.waiting import PATIENCE_S, wait_until

TOKEN = "lws_test"


class Server:
    """A server over a real database, which outlives a stop; nothing runs in its background."""

    def __init__(self, folder: Path) -> None:
        self._server = ThreadedServer(timeout_graceful_shutdown=1)
        self.url = self._server.url
        self._settings = settings_in(folder, self._server.port, TOKEN)
        self.database = open_sqlite(folder / "loopwright.db")
        self.start()

    def start(self) -> None:
        self.context = make_context(self._settings, self.database, is_open=False)
        self.dispatcher = self.context.dispatcher
        self._server.start(create_app(self.context))

    def stop(self) -> None:
        self.context.stop_waiting()
        self._server.stop()


class Site:
    """One state folder with its server, its worker, and a project of user code."""

    def __init__(self, folder: Path, code: str) -> None:
        self.state = folder / "state"
        self.state.mkdir()
        self.tally = folder / "tally"
        self.tally.write_text("")
        self.server = Server(self.state)
        self.blobs = open_blob_store(str(self.state / "blobs"))
        self.worker: subprocess.Popen[bytes] | None = None
        self._code = folder / "project"
        self._code.mkdir()
        self.write_code(code)
        self.server.dispatcher.call(
            "projects.create", {"name": "flights", "owner": "ops"}, actor=LOCAL_ACTOR, project=SYSTEM
        )

    def write_code(self, code: str) -> None:
        text = textwrap.dedent(code).replace("TALLY", repr(str(self.tally)))
        (self._code / "project.py").write_text(text)
        self._digest = self.blobs.put(packing.pack_project(self._code)).digest

    def call(self, verb: str, /, **args: Any) -> Any:
        return self.server.dispatcher.call(verb, args, actor=LOCAL_ACTOR, project="flights")

    def step(self, name: str, function: str = "", /, *, after: tuple[str, ...] = (), **options: Any) -> StepSpec:
        function = function or name
        inputs = options.pop("inputs", {})
        code = CodeRef(self._digest, "project", function, digest_of([function, "1"]))
        return StepSpec(name, options.pop("kind", "call"), inputs, code, list(after), **options)

    def begin(self, *steps: StepSpec, **params: Any) -> str:
        self.call("pipelines.declare", spec=PipelineSpec("train", list(steps), params))
        started: Execution = self.call("pipelines.start", pipeline="train")
        return started.execution_id

    def wait(self, execution_id: str) -> Execution:
        """Wait until an execution has ended, and return it."""

        def ended() -> Execution | None:
            execution: Execution = self.call("pipelines.get", execution_id=execution_id)
            return execution if execution.state in ("done", "failed") else None

        execution = wait_until(ended, lambda: (self.done, self.log))
        assert execution is not None
        return execution

    def wait_for(self, is_so: Callable[[], bool]) -> None:
        wait_until(is_so, lambda: (self.done, self.log))

    def start_worker(self) -> None:
        environment = {
            **os.environ,
            "LOOPWRIGHT_STATE": str(self.state),
            "LOOPWRIGHT_URL": self.server.url,
            "LOOPWRIGHT_SERVICE_TOKEN": TOKEN,
            "LOOPWRIGHT_USER_FOLDERS": str(self.tally),
        }
        with (self.state / "worker.log").open("ab") as log:
            command = [sys.executable, "-m", "loopwright.worker"]
            self.worker = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def kill_worker(self, number: int = signal.SIGKILL) -> int:
        assert self.worker is not None
        self.worker.send_signal(number)
        return self.worker.wait(timeout=PATIENCE_S)

    def let_go(self) -> None:
        """Let the step ``slow`` end."""
        self.tally.with_name("tally.go").touch()

    @property
    def log(self) -> str:
        return (self.state / "worker.log").read_text()

    @property
    def done(self) -> list[str]:
        """What the steps noted, in order."""
        return self.tally.read_text().split()

    def close(self) -> None:
        if self.worker is not None and self.worker.poll() is None:
            self.kill_worker()
        with contextlib.suppress(RuntimeError):
            self.server.stop()
        self.server.database.close()


CODE = """
    import os, time
    def note(what):
        with open(TALLY, "a") as tally:
            tally.write(what + " ")
    def load(rows=3):
        note("load")
        return list(range(rows))
    def slow(rows):
        note("slow-begins")
        while not os.path.exists(TALLY + ".go"):
            time.sleep(0.01)
        note("slow-ends")
        return sum(rows)
    def meet(me, other):
        note(me)
        while other not in open(TALLY).read():
            time.sleep(0.01)
    def left(rows):
        meet("left", "right")
        return 1
    def right(rows):
        meet("right", "left")
        return 2
    def join(left, right):
        return left + right
    def hangs():
        note("hangs"); time.sleep(3600)
    def flaky():
        note("flaky")
        with open(TALLY) as tally:
            if tally.read().split().count("flaky") < 3:
                raise OSError("the line is busy")
        return "at last"
    def broken(rows):
        print("there are", len(rows), "rows")
        return rows["delay"]
    def nul():
        note("nul")
        raise ValueError("bad field 'ab\\0cd'")
    def surrogate():
        note("surrogate")
        raise OSError("no such file: " + b"caf\\xe9.csv".decode("utf-8", "surrogateescape"))
    def long():
        note("long")
        raise ValueError("begin " + "x" * 3_000_000 + " end")
    def mute():
        note("mute")
        class Mute(Exception):
            def __str__(self):
                raise RuntimeError("nothing to say")
        raise Mute
    def odd():
        return ["a\\0b", "caf\\udce9", "z" * 300_000]
    def count(odd):
        return [len(text) for text in odd] + [odd[0] == "a\\0b", odd[1] == "caf\\udce9"]
    def nothing_new():
        return {"skip": True, "why": "no new rows"}
    def tick(x=0):
        return x
    def waits():
        note("waits")
        while "go" not in open(TALLY).read():
            time.sleep(0.05)
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    opened = Site(tmp_path, CODE)
    yield opened
    opened.close()
