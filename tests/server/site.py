"""A real server on a free port, for the tests that ask over HTTP."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from loopwright.governance import LOCAL_ACTOR, SYSTEM
from loopwright.rooms import import_rooms
from loopwright.server.app import create_app, make_context
from loopwright.server.context import ServerContext
from tests.databases import open_sqlite
from tests.servers import ThreadedServer, settings_in
from tests.waiting import PATIENCE_S

SERVICE_TOKEN = "lws_server_tests"


@dataclass
class Site:
    """A running server: its address, its parts, and tokens by role."""

    server: ThreadedServer
    context: ServerContext
    tokens: dict[str, str]

    @property
    def url(self) -> str:
        return self.server.url

    def http(self, role: str = "", **headers: str) -> httpx.Client:
        if role:
            headers["authorization"] = f"Bearer {self.tokens[role]}"
        return httpx.Client(base_url=self.url, headers=headers, timeout=PATIENCE_S)

    def call(self, verb: str, role: str = "", project: str = "flights", /, **args: Any) -> httpx.Response:
        with self.http(role) as http:
            return http.post(f"/v1/{project}/verbs/{verb}", json=args)


def serve(folder: Path, *, is_open: bool, **options: Any) -> Iterator[Site]:
    import_rooms()
    server = ThreadedServer(**{"log_level": "critical", "lifespan": "auto", **options})
    settings = settings_in(folder, server.port, SERVICE_TOKEN)
    database = open_sqlite(folder / "loopwright.db")
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
    server.start(create_app(context))
    yield Site(server, context, tokens)
    context.stop_waiting()
    server.stop()
    database.close()
