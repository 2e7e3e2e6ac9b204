"""The writer and the readers of a SQLite file: what is sealed when, and how long a query may take."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, literal, select, text

from loopwright.governance import LOCAL_ACTOR, SYSTEM, Dispatcher
from loopwright.kernel.errors import Unavailable
from loopwright.store import postgres
from loopwright.store.engine import Connection, Database
from loopwright.store.failures import OverBudget
from loopwright.store.statements import Statement
from tests.databases import open_sqlite

_COUNT = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {}) SELECT max(x) FROM n"


@pytest.fixture
def lite(tmp_path: Path) -> Any:
    database = open_sqlite(tmp_path / "test.db")
    yield database
    database.close()


def count_to(number: int) -> Any:
    return lambda connection: connection.execute(text(_COUNT.format(number))).scalar_one()


def test_a_query_beyond_its_budget_is_broken_off_and_the_next_is_not(lite: Database) -> None:
    with pytest.raises(OverBudget):
        lite.read(count_to(50_000_000), budget_s=0.002)
    assert lite.read(count_to(300_000)) == 300_000
    assert lite.read(count_to(3), budget_s=60.0) == 3


def test_a_query_is_broken_off_while_its_rows_are_taken_too(lite: Database) -> None:
    numbers = select(literal(1).label("x")).cte(recursive=True)
    numbers = numbers.union_all(select(numbers.c.x + 1).where(numbers.c.x < 50_000_000))
    every = Statement(select(numbers.c.x))
    with pytest.raises(OverBudget):
        lite.read(every.all, budget_s=0.002)


def test_every_query_has_a_deadline_but_those_an_operator_waits_for(
    lite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "READ_S", 0.002)
    with pytest.raises(Unavailable, match="took too long"):
        lite.read(count_to(50_000_000))
    with lite.reading(without_deadline=True) as connection:
        assert count_to(500_000)(connection) == 500_000


def test_readers_reuse_their_connections(lite: Database) -> None:
    opened: list[Any] = []
    event.listen(lite.engine, "connect", lambda *_: opened.append(1))
    for number in range(20):
        assert lite.read(count_to(number + 1)) == number + 1
        with pytest.raises(ZeroDivisionError):
            lite.read(lambda _connection: 1 // 0)
    assert len(opened) <= 1


def test_the_log_is_looked_at_only_after_commits_that_wrote_events(lite: Database) -> None:
    dispatcher = Dispatcher(lite)
    dispatcher.call("projects.create", {"name": "flights"}, actor=LOCAL_ACTOR, project=SYSTEM)
    run = dispatcher.call("tracking.start_run", {"experiment": "e"}, actor=LOCAL_ACTOR, project="flights")
    seen: list[str] = []
    lite.write(lambda connection: watch(connection, seen))
    for step in range(5):
        args = {"run_id": run.run_id, "metrics": {"loss": 0.5}, "step": step}
        dispatcher.call("tracking.log", args, actor=LOCAL_ACTOR, project="flights")
    assert any("metric_points" in statement for statement in seen)
    assert not [statement for statement in seen if "events" in statement]
    dispatcher.call("tracking.finish_run", {"run_id": run.run_id}, actor=LOCAL_ACTOR, project="flights")
    assert [statement for statement in seen if "events" in statement]


def watch(connection: Connection, seen: list[str]) -> None:
    driver: Any = connection.connection.dbapi_connection
    driver.set_trace_callback(seen.append)
