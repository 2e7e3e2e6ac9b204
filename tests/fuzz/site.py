"""A server's application in the test's process, asked without sockets, whose state is put back after each change."""

import asyncio
import dataclasses
import logging
import shutil
import sqlite3
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

import msgspec
from sqlalchemy import text

from loopwright.governance import LOCAL_ACTOR, SERVICE_ACTOR
from loopwright.kernel.clock import FixedClock
from loopwright.kernel.documents import to_json
from loopwright.loop import Reactor, fire_due
from loopwright.loop.verifying import verify_database
from loopwright.server.app import create_app, make_context
from loopwright.server.context import ServerContext
from loopwright.store.columns import METADATA
from loopwright.store.engine import Database
from loopwright.wire import credentials
from tests.databases import Rows, put_rows_back, rows_of
from tests.servers import settings_in
from tests.waiting import PATIENCE_S

T = TypeVar("T")
SERVICE_TOKEN = "lws_fuzzed_service_token"
GATEWAY_URL = "http://127.0.0.1:9"
ROLES = ("viewer", "editor", "approver", "admin")
_INSIDE = ("Traceback (most", 'File "/', "/site-packages/", "sqlalchemy", "psycopg", "sqlite3.", "msgspec.")
"""What no answer says, unless it was sent."""
_ASKS_A_GATEWAY = "/features.look_up"
"""Of the path of the operation that a gateway answers; none is live here, and it says so."""


@dataclass
class Sent:
    """One request. One that is not whole ends after its pieces, with the caller gone."""

    method: str
    path: str
    query: str = ""
    headers: list[tuple[str, bytes]] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=lambda: [b""])
    is_whole: bool = True

    def __str__(self) -> str:
        heads = {name: value[:60] for name, value in self.headers if name != "host"}
        return f"{self.method} {self.path[:200]}?{self.query[:200]} {heads} {b''.join(self.pieces)[:300]!r}"


@dataclass
class Answer:
    """What came back; 0 where nobody was there to be answered."""

    status: int
    headers: dict[str, str]
    body: bytes


class _Troubles(logging.Handler):
    """Keeps what the application says of errors that nobody foresaw."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self.told.append(f"log: {record.getMessage()} {error!r}"[:600])


class FuzzedSite:
    """A server's application on a thread's event loop, and its state as it was filled.

    Args:
        folder: Where its files are.
        database: With every table.
        wall: The moment it is.
        fill: Fills it and returns the ids that calls name.
    """

    def __init__(
        self, folder: Path, database: Database, wall: FixedClock, fill: Callable[[ServerContext], dict[str, str]]
    ) -> None:
        self.folder = folder
        settings = msgspec.structs.replace(settings_in(folder, 1, SERVICE_TOKEN), rate=0)
        self.context = make_context(settings, database, is_open=False)
        self.context.dispatcher.wall, self._moment, self._wall = wall, wall.at_us, wall
        self.ids = fill(self.context)
        self.tokens = {"platform": SERVICE_TOKEN, **self._make_tokens()}
        self.session = self.context.dispatcher.begin_session(self.tokens["admin"])
        self.context.reactor.drain()
        self._keep()
        self.app = create_app(self.context)
        self._troubles = _Troubles()
        logging.getLogger("loopwright").addHandler(self._troubles)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fuzzed-site", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the loop and let go of the database."""
        logging.getLogger("loopwright").removeHandler(self._troubles)
        self.context.stop_waiting()
        self._run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()
        self.context.close()
        if self.context.database.is_sqlite:
            self._file.close()
            self._copy.close()

    def _make_tokens(self) -> dict[str, str]:
        call = self.context.dispatcher.call
        call("projects.create", {"name": "other"}, actor=LOCAL_ACTOR, project="_system")
        made = {}
        for role, project in (*((role, "flights") for role in ROLES), ("stranger", "other")):
            args = {"actor": f"person:{role}", "role": "admin" if role == "stranger" else role}
            made[role] = call("tokens.create", args, actor=LOCAL_ACTOR, project=project).secret
        args = {"actor": "service:mine", "role": "service"}
        made["service"] = call("tokens.create", args, actor=SERVICE_ACTOR, project="flights").secret
        made["worker"] = credentials.worker_token(SERVICE_TOKEN)
        if running := self.ids.get("running"):
            made["job"] = credentials.job_token(made["worker"], credentials.JobClaim("flights", running, 1))
        made["gateway"] = credentials.gateway_token(SERVICE_TOKEN, GATEWAY_URL)
        return made

    def _keep(self) -> None:
        """Remember the state as it is."""
        database, files = self.context.database, self.folder / "blobs"
        database.seal()
        files.mkdir(exist_ok=True)
        self.blobs = _names(files)
        shutil.copytree(files, self.folder / "kept")
        self._rows = rows_of(database)
        self._told = _told(self._rows)
        self._report = self._verify()
        if database.is_sqlite:
            self._file = sqlite3.connect(database.url.removeprefix("sqlite:///"), check_same_thread=False)
            self._copy = sqlite3.connect(":memory:", check_same_thread=False)
            self._file.backup(self._copy)
            self._in_file = _rows_in(self._file)
            self._seen = self._mark()

    def _mark(self) -> int:
        """Return a number that is another one once somebody else has committed anything to the file."""
        return int(self._file.execute("PRAGMA data_version").fetchone()[0])

    def changed(self) -> list[str]:
        """Return the tables to which anything was committed since the state was put back."""
        if self.context.database.is_sqlite:
            if self._mark() == self._seen:
                return []
            in_file = _rows_in(self._file)
            return [name for name, rows in self._in_file.items() if in_file[name] != rows]
        now = _told(rows_of(self.context.database))
        return [name for name, rows in self._told.items() if now[name] != rows and name != "leases"]

    def put_back(self) -> None:
        """Put rows, files and clock back as they were filled."""
        database = self.context.database
        self._wall.at_us = self._moment
        if database.is_sqlite:
            self._copy.backup(self._file)
            self._seen = self._mark()
        else:
            put_rows_back(database, self._rows)
        if not self.blobs <= _names(self.folder / "blobs"):
            shutil.copytree(self.folder / "kept", self.folder / "blobs", dirs_exist_ok=True)
        self.context.reactor = Reactor(self.context.dispatcher)

    def rows_of_others(self, project: str) -> list[Any]:
        """Return how many events there are of each project but one, and but those that stand above them all."""
        counted = text("SELECT project_id, count(*) FROM events GROUP BY 1 ORDER BY 1")
        with self.context.database.reading() as connection:
            return [tuple(row) for row in connection.execute(counted) if row[0] not in (project, "_system")]

    def _verify(self) -> tuple[list[str], list[str]]:
        report = verify_database(self.context.database, self.context.checkpoints)
        return report.problems, sorted(map(repr, report.mismatches))

    def ask(self, sent: Sent, role: str = "") -> tuple[Answer, list[str]]:
        """Send a request; return the answer, and what is wrong with it."""
        self._troubles.told.clear()
        if role in self.tokens:
            sent = dataclasses.replace(
                sent, headers=[*sent.headers, ("authorization", f"Bearer {self.tokens[role]}".encode())]
            )
        try:
            answer = self._run(self._send(sent))
        except TimeoutError:
            return Answer(0, {}, b""), [f"no answer within {PATIENCE_S} s"]
        return answer, [*self._troubles.told, *self._wrong_with(sent, answer)]

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_S)

    async def _send(self, sent: Sent) -> Answer:
        headers = [(name.encode(), value) for name, value in [("host", b"127.0.0.1:1"), *sent.headers]]
        scope = {
            "type": "http",
            "http_version": "1.1",
            "scheme": "http",
            "root_path": "",
            "asgi": {"version": "3.0"},
            "method": sent.method,
            "path": unquote(sent.path),
            "raw_path": sent.path.encode(),
            "headers": headers,
            "query_string": sent.query.encode(),
            "client": ("127.0.0.1", 9),
            "server": ("127.0.0.1", 1),
        }
        pieces, last = iter(sent.pieces), len(sent.pieces) - 1
        count, is_answered, answer = -1, asyncio.Event(), Answer(0, {}, b"")

        async def receive() -> dict[str, Any]:
            nonlocal count
            count += 1
            if (piece := next(pieces, None)) is not None:
                return {"type": "http.request", "body": piece, "more_body": count < last or not sent.is_whole}
            if sent.is_whole:
                await is_answered.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {
                    name.decode("latin-1").lower(): value.decode("latin-1") for name, value in message["headers"]
                }
            elif message["type"] == "http.response.body":
                answer.body += message.get("body", b"")
                if not message.get("more_body", False):
                    is_answered.set()

        try:
            await self.app(scope, receive, send)
        except Exception as error:  # noqa: BLE001 - a server would log it
            self._troubles.told.append(f"raised: {error!r}"[:600])
        return answer

    def _wrong_with(self, sent: Sent, answer: Answer) -> Iterator[str]:
        """Yield why an answer is none that a caller may get."""
        is_ours = sent.path.endswith(_ASKS_A_GATEWAY) and b'"no gateway is live' in answer.body
        if (answer.status >= 500 and not is_ours) or (answer.status == 0 and sent.is_whole):
            yield f"{answer.status} {answer.body[:400]!r}"
        told = answer.body.decode(errors="replace") + "\n".join(
            f"{name}: {value}" for name, value in answer.headers.items()
        )
        asked = f"{sent.path} {sent.query} {sent.headers} {sent.pieces}"
        secrets = [*self.tokens.values(), self.session, str(self.folder)]
        yield from (
            f"tells {part!r}: {told[:400]}" for part in (*secrets, *_INSIDE) if part in told and part not in asked
        )
        if any("\n" in value or "\r" in value or "\0" in value for value in answer.headers.values()):
            yield f"breaks a header: {answer.headers}"

    def look_after(self, look_at: list[Sent]) -> Iterator[str]:
        """Yield what is wrong after a change that was taken: with reactions, pages, queries, or the audit trail."""
        self._troubles.told.clear()
        self.context.reactor.drain()
        fire_due(self.context.dispatcher)
        self.context.reactor.drain()
        yield from (f"then: {each}" for each in self._troubles.told)
        for look in look_at:
            yield from (f"then {look.method} {look.path}: {each}" for each in self.ask(look, "platform")[1])
        if (found := self._verify()) != self._report:
            yield f"the audit trail does not hold: {found}"
        if left := [str(path) for path in (self.folder / "uploads").rglob("*")]:
            yield f"left behind: {left}"


def _rows_in(file: sqlite3.Connection) -> dict[str, list[Any]]:
    return {name: file.execute(f'SELECT * FROM "{name}"').fetchall() for name in METADATA.tables}


def _told(rows: Rows) -> dict[str, list[bytes]]:
    """Return rows in no order; a database may keep the names inside a document in another order than they came."""
    return {name: sorted(map(to_json, found)) for name, found in rows.items()}


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}
