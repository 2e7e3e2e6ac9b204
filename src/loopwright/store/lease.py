"""Leases: at most one process does a thing, across every server of one PostgreSQL.

A lease is a row with an end, by the database's clock. Whoever holds it prolongs it; who died, or stands still with its
connection open, loses it when it ends, which a lock of its session would not.
"""

import logging
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, bindparam, delete, literal_column, or_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError

from loopwright.store.failures import translate
from loopwright.store.statements import Statement
from loopwright.store.tables import leases

log = logging.getLogger("loopwright.lease")

LEASE_S = 3.0
"""How long others wait for a holder that gives no sign of life."""

now_us = literal_column("(extract(epoch from clock_timestamp()) * 1000000)::bigint", leases.c.lease_until.type)
"""The database's clock, microseconds UTC."""
_wanted = insert(leases).values(
    name=bindparam("name"), holder=bindparam("holder"), lease_until=now_us + bindparam("lease_us")
)
_claim = Statement(
    _wanted.on_conflict_do_update(
        index_elements=["name"],
        set_={"holder": _wanted.excluded.holder, "lease_until": _wanted.excluded.lease_until},
        where=or_(leases.c.holder == _wanted.excluded.holder, leases.c.lease_until < now_us),
    ).returning(leases.c.holder)
)
_let_go = Statement(
    delete(leases).where(leases.c.name == bindparam("of_name"), leases.c.holder == bindparam("of_holder"))
)


def claim(connection: Connection, name: str, holder: str) -> bool:
    """Take a lease that is free or one's own, until ``LEASE_S`` from now; say whether it is held now.

    The row stays locked until the commit: what the transaction goes on to do, no other holder does meanwhile.
    """
    lease_us = round(LEASE_S * 1_000_000)
    return _claim.first(connection, name=name, holder=holder, lease_us=lease_us) is not None


def new_holder() -> str:
    """Return a name for a holder that no other has."""
    return secrets.token_hex(8)


class Lease:
    """One process's hold on a thing that only one does at a time.

    Args:
        engine: Of a PostgreSQL.
        name: The thing.
    """

    def __init__(self, engine: Engine, name: str) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._name = name
        self._holder = new_holder()
        self._asked_at = float("-inf")
        self._is_held = False

    def hold(self) -> bool:
        """Take or prolong the lease; say whether it is ours. What was known a moment ago is not asked again.

        Work that outlasts the lease goes on beside that of the next holder: it must bear that, or be ``kept``.
        """
        if time.monotonic() - self._asked_at > LEASE_S / 3:
            self._ask()
        return self._is_held

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Prolong a lease that is held, from a thread of its own, while work goes on that may outlast it."""
        is_done = threading.Event()
        keeper = threading.Thread(
            target=self._keep, args=(is_done,), name=f"loopwright-{self._name}-lease", daemon=True
        )
        keeper.start()
        try:
            yield
        finally:
            is_done.set()
            keeper.join()

    def _keep(self, is_done: threading.Event) -> None:
        is_told = False
        while self._is_held and not is_done.wait(LEASE_S / 3):
            try:
                self._ask()
            except SQLAlchemyError as error:  # the work meets the same database, and says more of it
                if not is_told:
                    log.warning("the lease of %s could not be prolonged: %s", self._name, translate(error))
                is_told = True

    def _ask(self) -> None:
        self._asked_at = time.monotonic()  # before asking: the lease never ends earlier than we think
        with self._engine.connect() as connection:
            self._is_held = claim(connection, self._name, self._holder)

    def let_go(self) -> None:
        """End the lease where it is held, so that another process need not wait for its end."""
        if self._is_held:
            self._asked_at, self._is_held = float("-inf"), False
            with self._engine.connect() as connection:
                _let_go.run(connection, of_name=self._name, of_holder=self._holder)
