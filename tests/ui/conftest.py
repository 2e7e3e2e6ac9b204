"""A seeded server on a thread, and a real browser to look at it."""

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from loopwright.config import Settings
from loopwright.rooms import import_rooms
from loopwright.server.app import create_app, make_context
from loopwright.server.context import ServerContext
from tests.databases import open_sqlite
from tests.ui.seed import seed
from tests.ui.seed_ground import PROJECT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    *(
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ),
    *("--no-first-run", "--disable-quic"),
]


@dataclass
class Site:
    """A running server: where it is, the ids that addresses need, its parts."""

    url: str
    ids: dict[str, str]
    context: ServerContext

    def page(self, path: str = "") -> str:
        return f"{self.url}/p/{PROJECT}{path}"


def settings_for(folder: Path, port: int) -> Settings:
    return Settings(
        folder,
        f"sqlite:///{folder / 'ui.db'}",
        str(folder / "blobs"),
        "127.0.0.1",
        port,
        0,
        "",
        "",
        "",
        "",
        "lws_ui",
        "",
        "process",
    )


def serve(folder: Path, *, is_open: bool, fill: Callable[[ServerContext], dict[str, str]]) -> Iterator[Site]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    import_rooms()
    settings = settings_for(folder, port)
    database = open_sqlite(folder / "ui.db")
    context = make_context(settings, database, is_open=is_open)
    ids = fill(context)
    server = uvicorn.Server(
        uvicorn.Config(create_app(context), port=port, log_level="warning", access_log=False, lifespan="off")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield Site(f"http://127.0.0.1:{port}", ids, context)
    server.should_exit = True
    thread.join(timeout=10)
    database.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The seeded project on an open server."""
    folder = tmp_path_factory.mktemp("site")
    yield from serve(folder, is_open=True, fill=lambda context: seed(context.dispatcher, context.blobs))


@pytest.fixture(scope="session")
def web(site: Site) -> Iterator[httpx.Client]:
    """An HTTP client that follows no redirect."""
    with httpx.Client(base_url=site.url, headers={"accept": "text/html"}, timeout=20) as client:
        yield client


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Real Chromium."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: the page tests need it")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed: the page tests need one")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()
