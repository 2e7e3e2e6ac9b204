"""A seeded server on a thread, and a real browser to look at it."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from loopwright.rooms import import_rooms
from loopwright.server.app import create_app, make_context
from loopwright.server.context import ServerContext
from tests.databases import open_sqlite
from tests.servers import ThreadedServer, settings_in
from tests.ui.seed import seed
from tests.ui.seed_ground import PROJECT
from tests.waiting import PATIENCE_S

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


def serve(folder: Path, *, is_open: bool, fill: Callable[[ServerContext], dict[str, str]]) -> Iterator[Site]:
    import_rooms()
    server = ThreadedServer()
    settings = settings_in(folder, server.port, "lws_ui")
    database = open_sqlite(folder / "loopwright.db")
    context = make_context(settings, database, is_open=is_open)
    ids = fill(context)
    server.start(create_app(context))
    yield Site(server.url, ids, context)
    server.stop()
    database.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The seeded project on an open server."""
    folder = tmp_path_factory.mktemp("site")
    yield from serve(folder, is_open=True, fill=lambda context: seed(context.dispatcher, context.blobs))


@pytest.fixture(scope="session")
def web(site: Site) -> Iterator[httpx.Client]:
    """An HTTP client that follows no redirect."""
    with httpx.Client(base_url=site.url, headers={"accept": "text/html"}, timeout=PATIENCE_S) as client:
        yield client


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Real Chromium; it ends with its module, for its driver runs an event loop in the main thread."""
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: the page tests need it")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed: the page tests need one")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield opened
        opened.close()
