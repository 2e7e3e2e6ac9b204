"""A dataset that is read from a database: what changed since, in the place of what was there; on a schedule."""

import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from loopwright.data import DatasetSpec, SourceSpec, read
from loopwright.data.sources import sql
from loopwright.kernel.clock import HOUR_US
from loopwright.kernel.errors import InvalidInput, error_from_dict
from loopwright.pipelines import ChildPool, Enclosure
from tests.inprocess import InProcessWorker
from tests.waiting import PATIENCE_S

Call = Callable[..., Any]
QUERY = "SELECT id, total, changed FROM orders"


class Shop:
    """A database that changes, and the dataset that is read from it."""

    def __init__(self, call: Call, worker: InProcessWorker, folder: Path) -> None:
        self.call, self.worker = call, worker
        self._file = folder / "shop.db"
        self.say("CREATE TABLE orders (id INTEGER PRIMARY KEY, total REAL, changed INTEGER)")
        worker.addresses = {("flights", "shop"): f"sqlite:///{self._file}"}

    def say(self, statement: str, *rows: tuple[Any, ...]) -> None:
        with sqlite3.connect(self._file) as database:
            database.executemany(statement, rows) if rows else database.execute(statement)

    def put(self, *rows: tuple[Any, ...]) -> None:
        self.say("INSERT OR REPLACE INTO orders VALUES (?, ?, ?)", *rows)

    def declare(self, every_us: int | None = None, query: str = QUERY, **source: Any) -> None:
        spec = DatasetSpec("orders", SourceSpec("sql", "shop", query=query, **source), ["id"], every_us=every_us)
        self.call("data.declare", spec=spec)

    def bring(self, operation: str) -> None:
        self.call("data.start_import", dataset="orders", operation=operation)
        self.work()

    def work(self) -> None:
        for job in self.worker.run_all():
            if job.error is not None:
                raise error_from_dict(job.error)

    @property
    def says(self) -> dict[int, float]:
        version = self.call("data.get_version", dataset="orders")
        return dict(read.scan(version, self.worker.blobs, ["id", "total"]).collect().rows())


@pytest.fixture
def shop(call: Call, worker: InProcessWorker, tmp_path: Path) -> Shop:
    return Shop(call, worker, tmp_path)


def test_what_changed_takes_the_place_of_what_was_there(shop: Shop) -> None:
    shop.declare(watermark="changed")
    shop.put((1, 1.0, 10), (2, 2.0, 11))
    shop.bring("replace")
    shop.put((2, 2.5, 12), (3, 3.0, 13))
    shop.say("UPDATE orders SET total = 9 WHERE id = 1")  # without a word to the watermark: nobody sees it
    shop.bring("upsert")
    assert shop.says == {1: 1.0, 2: 2.5, 3: 3.0}
    version = shop.call("data.get_version", dataset="orders")
    assert (version.operation, version.rows) == ("upsert", 3)


MANY = "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c {}) SELECT {} AS id, 1.0 AS total FROM c"


@pytest.fixture
def asked_apart(shop: Shop, tmp_path: Path) -> Iterator[Shop]:
    """The same, asked by a child behind walls, as workers have it done."""
    hidden = [shop.worker.state_dir, tmp_path / "shop.db"]
    pool = ChildPool(
        shop.worker.state_dir / "children",
        shop.worker.blobs,
        most_bytes=600_000_000,
        enclosure=Enclosure("strict", hidden),
    )
    shop.worker.ask = partial(pool.ask, timeout_s=PATIENCE_S)
    yield shop
    pool.close()


@pytest.mark.slow
def test_a_child_asks_and_knows_since_when(asked_apart: Shop) -> None:
    asked_apart.say("PRAGMA journal_mode=WAL")
    asked_apart.declare(watermark="changed", overlap_us=1)
    asked_apart.put((1, 1.0, 10))
    asked_apart.bring("upsert")
    asked_apart.put((2, 2.0, 9), (3, 3.0, 8))
    asked_apart.bring("upsert")
    assert asked_apart.says == {1: 1.0, 2: 2.0}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("query", "within_s", "how"),
    [
        (MANY.format("WHERE n < 500", "hex(zeroblob(5000000)) || n"), PATIENCE_S, "GB of memory"),
        (MANY.format("", "max(n)"), 1.0, "took longer than"),
    ],
    ids=["large", "endless"],
)
def test_an_answer_that_is_too_large_or_never_comes_ends_this_import_alone(
    asked_apart: Shop, query: str, within_s: float, how: str
) -> None:
    """Drivers hold many rows at once, however large, and wait for the first one, however long."""
    asked_apart.worker.ask = partial(asked_apart.worker.ask, timeout_s=within_s)
    asked_apart.declare(query=query)
    with pytest.raises(InvalidInput, match=f"database shop was not read to its end: the process that asked it .*{how}"):
        asked_apart.bring("replace")


def test_an_address_leads_to_the_same_file_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shop.db").touch()
    monkeypatch.chdir(tmp_path)
    assert sql.place_of("sqlite:///shop.db") == (f"sqlite:///{tmp_path / 'shop.db'}", tmp_path / "shop.db")
    for url in ("sqlite://", "postgresql://reader:a%40b@db.example/shop.db"):
        assert sql.place_of(url) == (url, None)


def test_what_was_committed_late_is_asked_for_again(shop: Shop) -> None:
    shop.declare(watermark="changed", overlap_us=5)
    shop.put((1, 1.0, 10))
    shop.bring("upsert")
    shop.put((2, 2.0, 7), (3, 3.0, 4))
    shop.bring("upsert")
    assert shop.says == {1: 1.0, 2: 2.0}


def test_without_a_watermark_it_is_all_there_is(shop: Shop) -> None:
    shop.declare()
    shop.put((1, 1.0, 10), (2, 2.0, 11))
    shop.bring("replace")
    shop.say("DELETE FROM orders WHERE id = 1")
    shop.bring("replace")
    assert shop.says == {2: 2.0}


def test_a_database_that_nobody_named_for_this_project_is_not_asked(shop: Shop) -> None:
    shop.declare()
    shop.worker.addresses = {("other", "shop"): "sqlite:///elsewhere.db"}
    with pytest.raises(Exception, match="no database shop is known here") as told:
        shop.bring("replace")
    assert "LOOPWRIGHT_SOURCES=flights/shop=" in str(told.value)


def test_a_watermark_that_the_rows_do_not_have_is_told(shop: Shop) -> None:
    shop.declare(watermark="updated")
    shop.put((1, 1.0, 10))
    shop.bring("upsert")
    with pytest.raises(Exception, match="nobody can tell what is new"):
        shop.bring("upsert")


def test_moments_are_compared_as_the_database_has_them(
    call: Call, worker: InProcessWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def fetch(_url: str, _spec: SourceSpec, since: Any, folder: Path) -> list[Path]:
        asked.append(since)
        at = pl.datetime_range(pl.datetime(2024, 7, 1, 12), pl.datetime(2024, 7, 1, 13), "1h", eager=True)
        pl.DataFrame({"id": [1, 2], "at": at.cast(pl.Datetime("us"))}).write_parquet(folder / "0.parquet")
        return [folder / "0.parquet"]

    monkeypatch.setattr("loopwright.data.sources.sql.fetch", fetch)
    worker.addresses = {("*", "shop"): "sqlite://"}
    source = SourceSpec("sql", "shop", "Europe/Berlin", query=QUERY, watermark="at", overlap_us=60_000_000)
    call("data.declare", spec=DatasetSpec("orders", source, ["id"], "at"))
    for _ in range(2):
        call("data.start_import", dataset="orders", operation="upsert")
        (job,) = worker.run_all()
        assert job.error is None, job.error
    assert asked[0] is None
    assert str(asked[1]) == "2024-07-01 12:59:00"


def test_a_schedule_reads_it_again(shop: Shop) -> None:
    shop.declare(every_us=HOUR_US, watermark="changed")
    shop.put((1, 1.0, 10))
    for _ in range(2):
        shop.worker.call("data.start_scheduled_import", {"dataset": "orders"}, "flights")
    shop.work()
    live = shop.call("jobs.list")
    assert len(live) == 1  # while one is under way the next is not begun
    shop.put((1, 1.5, 11))
    shop.worker.call("data.start_scheduled_import", {"dataset": "orders"}, "flights")
    shop.work()
    assert shop.says == {1: 1.5}
    shop.declare(watermark="changed")
    assert shop.worker.call("data.start_scheduled_import", {"dataset": "orders"}, "flights") is None
