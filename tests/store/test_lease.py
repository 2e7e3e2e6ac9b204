"""A lease is held by one process, until it lets go or gives no sign of life."""

import time
from collections.abc import Iterator

import pytest

from loopwright.store import lease as leases
from loopwright.store.engine import Database
from loopwright.store.lease import Lease, claim
from tests.databases import Postgres
from tests.waiting import wait_until


@pytest.fixture
def database(postgres: Postgres) -> Iterator[Database]:
    opened = Database(postgres.with_tables())
    yield opened
    opened.close()


def test_one_holds_it_at_a_time(database: Database) -> None:
    first, second, other = (Lease(database.engine, name) for name in ("reactor", "reactor", "timers"))
    assert (first.hold(), second.hold(), other.hold()) == (True, False, True)
    second.let_go()  # what it does not hold it cannot end
    assert not Lease(database.engine, "reactor").hold()
    first.let_go()
    assert Lease(database.engine, "reactor").hold()


def test_who_gives_no_sign_of_life_loses_it(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "LEASE_S", 0.6)
    silent, lively, waiting = (Lease(database.engine, name) for name in ("reactor", "timers", "reactor"))
    assert silent.hold()
    assert lively.hold()
    wait_until(lambda: lively.hold() and waiting.hold())
    time.sleep(0.25)  # past the time for which it trusts what it knew
    assert not silent.hold()
    assert not Lease(database.engine, "timers").hold()


def test_what_is_done_under_a_claim_no_other_holder_does_meanwhile(database: Database) -> None:
    with database.engine.connect() as connection:
        assert claim(connection, "sealer", "a")
        connection.rollback()  # and a claim that is not committed is none
    assert Lease(database.engine, "sealer").hold()
