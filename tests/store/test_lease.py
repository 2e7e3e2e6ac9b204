"""A lease is held by one process, until it lets go or dies."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from loopwright.store.engine import Database
from loopwright.store.lease import hold_lease
from tests.waiting import wait_until


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    opened = Database(postgres_url)
    yield opened
    opened.close()


def may_be_held(database: Database) -> bool:
    with hold_lease(database, "reactor") as is_held:
        return is_held


def test_one_holds_it_at_a_time(database: Database) -> None:
    with (
        hold_lease(database, "reactor") as first,
        hold_lease(database, "reactor") as second,
        hold_lease(database, "timers") as other,
    ):
        assert (first, second, other) == (True, False, True)
    with hold_lease(database, "reactor") as again:
        assert again


def test_a_killed_holder_lets_go(database: Database) -> None:
    killed = Database(database.url)
    lease = hold_lease(killed, "reactor")
    assert lease.__enter__()
    kill = text(
        "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_database ON database = pg_database.oid"
        " WHERE datname = current_database() AND locktype = 'advisory' AND pid <> pg_backend_pid()"
    )
    with database.engine.connect() as connection:
        connection.execute(kill)
    wait_until(lambda: may_be_held(database))
    with pytest.raises(Exception, match=r"terminat|closed"):
        lease.__exit__(None, None, None)
    killed.close()
