"""A real server on a free port, for the tests that ask over HTTP."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from loopwright.config import Settings
from loopwright.governance import LOCAL_ACTOR, SYSTEM
from loopwright.rooms import import_rooms
from loopwright.server.app import create_app, make_context
from loopwright.server.context import ServerContext
from loopwright.server.supervisor import free_port
from loopwright.store.engine import Database
from loopwright.store.migrate import upgrade

SERVICE_TOKEN = "lws_server_tests"


@dataclass
class Site:
    """A running server: its address, its parts, and tokens by role."""

    url: str
    context: ServerContext
    tokens: dict[str, str]

    def http(self, role: str = "", **headers: str) -> httpx.Client:
        if role:
            headers["authorization"] = f"Bearer {self.tokens[role]}"
        return httpx.Client(base_url=self.url, headers=headers, timeout=20)

    def call(self, verb: str, role: str = "", project: str = "flights", /, **args: Any) -> httpx.Response:
        with self.http(role) as http:
            return http.post(f"/v1/{project}/verbs/{verb}", json=args)


def serve(folder: Path, *, is_open: bool) -> Iterator[Site]:
    import_rooms()
    port = free_port()
    database = Database(f"sqlite:///{folder / 'server.db'}")
    upgrade(database)
    settings = Settings(
        folder, database.url, str(folder / "blobs"), "127.0.0.1", port, 0, "", "", "", "", SERVICE_TOKEN, "", "process"
    )
    context = make_context(settings, database, is_open=is_open)
    tokens = {"service": SERVICE_TOKEN}
    call: Callable[..., Any] = context.dispatcher.call
    for name in ("flights", "other"):
        call("projects.create", {"name": name}, actor=LOCAL_ACTOR, project=SYSTEM)
    for role in ("viewer", "editor", "admin"):
        args = {"actor": f"person:{role}", "role": role}
        tokens[role] = call("tokens.create", args, actor=LOCAL_ACTOR, project="flights").secret
    tokens["stranger"] = call(
        "tokens.create", {"actor": "person:stranger", "role": "admin"}, actor=LOCAL_ACTOR, project="other"
    ).secret
    config = uvicorn.Config(create_app(context), port=port, log_level="critical", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield Site(f"http://127.0.0.1:{port}", context, tokens)
    server.should_exit = True
    thread.join(timeout=10)
