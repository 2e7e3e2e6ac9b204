"""PostgreSQL: serializable transactions, run again when they lose a race, and sessions nobody waits for long.

Verbs read rows and then write what follows from them. Under ``SERIALIZABLE`` the outcome is that of some order in
which they run one after the other, or PostgreSQL refuses one of them, which then runs again from its start.
"""

import itertools
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, exc, text

from loopwright.store.failures import LOST_A_RACE, UNIQUE_VIOLATION, is_lost, sqlstate, unknown_outcome
from loopwright.store.news import take_news

T = TypeVar("T")

TRIES = 12
"""How often a transaction that loses races is run."""
TRIES_TO_BE_FIRST = 3
"""How often one is run that finds its key taken: after a race the next try sees the row and goes another way."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.004, 0.5

LOCK_S = 4.0
"""Longest wait for a row that another session holds; then the call is told to come again."""
WRITE_S = 60.0
"""Longest time of one statement of a verb."""
READ_S = 30.0
"""Longest time of one statement of a query."""
IDLE_WRITE_S, IDLE_READ_S = 15.0, 300.0
"""How long a session may hold a transaction open and ask nothing, before PostgreSQL ends it and frees what it held."""
MOST_WRITING = 16
"""Sessions in which one process's verbs run at once."""
POOL_S = 10.0
"""Longest wait for a connection of the pool."""

RESTED_S = 2.0
"""A connection that lay in the pool for so long is tried before somebody gets it."""
_RETURNED_AT = "loopwright_returned_at"

_LIVENESS = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""A database that vanished without a word is noticed within half a minute."""


def open_writing(url: str) -> Engine:
    """Return the engine of verbs."""
    session = {
        "lock_timeout": LOCK_S,
        "statement_timeout": WRITE_S,
        "idle_in_transaction_session_timeout": IDLE_WRITE_S,
    }
    return _open(url, "SERIALIZABLE", session, pool_size=8, max_overflow=MOST_WRITING - 8)


def open_reading(url: str) -> Engine:
    """Return the engine of queries: one snapshot each, and no change."""
    session = {"lock_timeout": LOCK_S, "statement_timeout": READ_S, "idle_in_transaction_session_timeout": IDLE_READ_S}
    only = {"default_transaction_read_only": "on"}
    return _open(url, "REPEATABLE READ", {**session, **only}, pool_size=4, max_overflow=8)


def open_sealing(url: str) -> Engine:
    """Return the engine of the sealer: a few sessions, of which none holds up its successor for long."""
    session = {"lock_timeout": 0.5, "statement_timeout": 10.0, "idle_in_transaction_session_timeout": 3.0}
    return _open(url, "READ COMMITTED", session, pool_size=2, max_overflow=1)


def _open(url: str, isolation: Any, session: Mapping[str, float | str], **pool: int) -> Engine:
    engine = create_engine(
        url, isolation_level=isolation, connect_args=_LIVENESS, pool_timeout=POOL_S, pool_use_lifo=True, **pool
    )
    settings = "; ".join(f"SET {name} = {_as_setting(value)}" for name, value in session.items())

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.execute(settings)
        connection.commit()

    @event.listens_for(engine, "checkin")
    def note(_connection: Any, record: Any) -> None:
        record.info[_RETURNED_AT] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def look(connection: Any, record: Any, _proxy: Any) -> None:
        if time.monotonic() - record.info.get(_RETURNED_AT, float("inf")) > RESTED_S and not answers(connection):
            raise exc.InvalidatePoolError  # none of those that lay there is trusted; a new one is made

    def answers(connection: Any) -> bool:
        try:
            connection.execute("SELECT 1")
            connection.rollback()
        except engine.dialect.loaded_dbapi.Error:
            return False
        return True

    return engine


def _as_setting(value: float | str) -> str:
    return value if isinstance(value, str) else str(round(value * 1000))


def forget_deadlines(connection: Connection) -> None:
    """Let the open transaction take its time, for work that an operator waits for."""
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))


def run_serially(engine: Engine, work: Callable[[Connection], T]) -> tuple[T, frozenset[str]]:
    """Run ``work`` in a transaction until it has won, and return its result and the topics of its news.

    ``work`` may run several times: what it does outside of its transaction it must bear to do again.

    Raises:
        Unavailable: The connection broke while the commit was under way, so its outcome is not known.
    """
    for tries in itertools.count(1):
        try:
            return _run_once(engine, work)
        except Exception as error:
            if tries >= _most_tries(error):
                raise
        time.sleep(_pause_s(tries))
    raise AssertionError  # the loop ends by answer or error


def _run_once(engine: Engine, work: Callable[[Connection], T]) -> tuple[T, frozenset[str]]:
    is_committing = False
    try:
        with engine.connect() as connection, connection.begin():
            take_news(connection)  # of a try that lost
            result = work(connection)
            news = take_news(connection)
            is_committing = True
    except exc.DBAPIError as error:
        if is_committing and is_lost(error):
            raise unknown_outcome(error) from error
        raise
    return result, news


def _most_tries(error: Exception) -> int:
    """Return how often work may be run that ends so."""
    state = sqlstate(error)
    if state in LOST_A_RACE:
        return TRIES
    if state == UNIQUE_VIOLATION or is_lost(error):
        return TRIES_TO_BE_FIRST
    return 1


def _pause_s(tries: int) -> float:
    """Return how long to wait after so many tries: at random, so that those who met do not meet again."""
    return random.uniform(0, min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**tries))
