"""A lease is held by one process, until it lets go or gives no sign of life."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
from sqlalchemy import text

from loopwright.store import lease as leases
from loopwright.store.engine import Database
from loopwright.store.lease import Lease, claim
from tests.databases import Postgres


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


@pytest.fixture
def pass_time(database: Database, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let time pass, for processes and for the database, in shares of a lease of an hour; no other time counts then."""
    monkeypatch.setattr(leases, "LEASE_S", 3600.0)
    present = [0.0]
    monkeypatch.setattr(leases, "time", SimpleNamespace(monotonic=lambda: present[0]))

    def go_on(share: float) -> None:
        present[0] += share * 3600.0
        with database.engine.begin() as connection:
            connection.execute(text(f"UPDATE leases SET lease_until = lease_until - {round(share * 3_600_000_000)}"))

    return go_on


def test_who_gives_no_sign_of_life_loses_it(database: Database, pass_time: Callable[[float], None]) -> None:
    silent, lively, waiting = (Lease(database.engine, name) for name in ("reactor", "timers", "reactor"))
    assert (silent.hold(), lively.hold(), waiting.hold()) == (True, True, False)
    pass_time(0.6)
    assert (lively.hold(), waiting.hold()) == (True, False)
    pass_time(0.6)
    assert (lively.hold(), waiting.hold(), silent.hold()) == (True, True, False)
    assert not Lease(database.engine, "timers").hold()


def test_what_was_known_a_moment_ago_is_trusted_and_no_longer(
    database: Database, pass_time: Callable[[float], None]
) -> None:
    lease = Lease(database.engine, "reactor")
    assert lease.hold()
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE leases SET holder = 'another'"))
    pass_time(0.3)
    assert lease.hold()
    pass_time(0.1)
    assert not lease.hold()


def test_what_is_done_under_a_claim_no_other_holder_does_meanwhile(database: Database) -> None:
    with database.engine.connect() as connection:
        assert claim(connection, "sealer", "a")
        connection.rollback()  # and a claim that is not committed is none
    assert Lease(database.engine, "sealer").hold()
