"""The sealer of PostgreSQL: one leader gives positions to what every server commits, and no verb waits for it.

Each process has a sealer, which its commits wake. Where another process leads, the word goes on to it by ``NOTIFY``;
by ``LISTEN`` each hears what others told and sealed. Words may be lost, so each looks at the log every second, and who
finds something left while nobody leads takes the lead. The log is the truth.
"""

import contextlib
import logging
import select as readiness
import socket
import threading
import time
from typing import Any

from sqlalchemy import Connection, Engine, exc, text

from loopwright.store.failures import is_locked_out, translate
from loopwright.store.lease import claim, new_holder
from loopwright.store.news import EVENTS, Listener
from loopwright.store.sealing import MOST_SEALED, is_unsealed, newest_unsealed, seal_events

LEASE_NAME = "sealer"
LOOK_EVERY_S = 1.0
"""How often the log is looked at although nobody gave word."""
AWAIT_S = 5.0
"""How long a caller of ``seal`` waits for another process that leads."""
_SEALED = "sealed"
_notify = text("SELECT pg_notify('loopwright', :word)")

log = logging.getLogger("loopwright.sealer")


class Sealer:
    """Seals events while it leads, else asks whoever does.

    Args:
        engine: Of sessions of its own, under READ COMMITTED: it must see what was committed while a claim waited.
        announce: Is told the topics of what was sealed, and of what others committed.
    """

    def __init__(self, engine: Engine, announce: Listener) -> None:
        self._engine = engine
        self._announce = announce
        self._holder = new_holder()
        self._thread: threading.Thread | None = None
        self._start = threading.Lock()
        self._turn = threading.Lock()
        self._is_closed = threading.Event()
        self._topics: set[str] = set()
        self._commits = self._seen = 0
        self._is_lost = False
        self._heard = threading.Condition()
        self._wake_end, self._told_end = socket.socketpair()
        self._wake_end.setblocking(False)
        self._told_end.setblocking(False)

    def start(self) -> None:
        """Begin to listen, if that has not begun."""
        with self._start:
            if self._thread is None and not self._is_closed.is_set():
                self._thread = threading.Thread(target=self._run, name="loopwright-sealer", daemon=True)
                self._thread.start()

    def pass_on(self, topics: frozenset[str]) -> None:
        """Take word of a commit of this process."""
        with self._heard:
            self._topics |= topics
            self._commits += EVENTS in topics
        if self._thread is None:
            self.start()
        self._wake()

    def seal(self) -> None:
        """Return once every event that is committed by now is sealed; not later than ``AWAIT_S`` from now."""
        with self._engine.connect() as connection:
            newest = newest_unsealed(connection)
        deadline = time.monotonic() + AWAIT_S
        while newest is not None and time.monotonic() < deadline and not self._is_closed.is_set():
            if self._lead(newest):
                return
            self.pass_on(frozenset({EVENTS}))
            with self._heard:
                self._heard.wait(0.05)
            newest = newest if self._is_unsealed(newest) else None

    def close(self) -> None:
        """Seal what is left, unless another process leads, and let go of everything."""
        with self._start:
            self._is_closed.set()
        if self._thread is not None:
            self._wake()
            self._thread.join(timeout=10)
        self._told_end.close()
        self._wake_end.close()
        self._engine.dispose()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # it is awake already, or gone
            self._told_end.send(b"1")

    def _run(self) -> None:
        while not self._is_closed.is_set():
            try:
                self._serve_while_connected()
            except (exc.SQLAlchemyError, self._engine.dialect.loaded_dbapi.Error) as error:
                if not self._is_lost:  # told once, however long it lasts
                    self._is_lost = True
                    log.warning("the sealer lost the database and comes back: %s", translate(error))
                self._is_closed.wait(LOOK_EVERY_S)

    def _serve_while_connected(self) -> None:
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as ear:
            ear.execute(text("LISTEN loopwright"))
            self._is_lost = False
            while not self._is_closed.is_set():
                self._serve(ear)

    def _serve(self, ear: Connection) -> None:
        """Wait for word and act on it: seal, tell the other processes, tell this one."""
        driver: Any = ear.connection.driver_connection
        is_quiet = False
        if not (heard := self._listen(driver)):  # words may have come along with an answer
            readable, _, _ = readiness.select([driver.fileno(), self._wake_end.fileno()], [], [], LOOK_EVERY_S)
            is_quiet, heard = not readable, self._listen(driver)
        committed = self._take_topics()
        is_left = is_quiet and newest_unsealed(ear) is not None
        is_own = EVENTS in committed and self._seen < self._commits
        is_left_to_others = (is_left or is_own or EVENTS in heard) and not self._lead()
        if not (is_left_to_others and (is_left or is_own)):  # what was heard from others they hear themselves
            committed.discard(EVENTS)
        elif is_left:
            committed.add(EVENTS)
        if committed:
            ear.execute(_notify, {"word": self._word(committed)})
        news = (heard - {EVENTS, _SEALED}) | ({EVENTS} if _SEALED in heard else set())
        if news:
            self._announce(frozenset(news))

    def _take_topics(self) -> set[str]:
        with contextlib.suppress(BlockingIOError):
            self._wake_end.recv(4096)
        with self._heard:
            topics, self._topics = self._topics, set()
        return topics

    def _listen(self, driver: Any) -> set[str]:
        """Return what other processes have told since the last time."""
        heard: set[str] = set()
        for word in driver.notifies(timeout=0):
            holder, _, topics = word.payload.partition(" ")
            if holder != self._holder:
                heard.update(topics.split(","))
        if _SEALED in heard:
            self._wake_callers()
        return heard

    def _lead(self, newest: int | None = None) -> bool:
        """Seal everything as the leader; False where another process is that.

        A caller that names the ``newest`` event it is after has nothing to do where that was sealed meanwhile.
        """
        with self._turn:
            commits = self._commits
            if newest is not None and not self._is_unsealed(newest):
                return True
            is_leader = self._seal_all()
            self._seen = commits if is_leader else self._seen
        return is_leader

    def _seal_all(self) -> bool:
        count: int | None = MOST_SEALED
        while count == MOST_SEALED:
            try:
                count = self._seal_batch()
            except exc.OperationalError as error:
                if not is_locked_out(error):
                    raise
                return False  # the leader is at it this moment
            if count:
                self._wake_callers()
                self._announce(frozenset({EVENTS}))
        return count is not None

    def _is_unsealed(self, event_id: int) -> bool:
        with self._engine.connect() as connection:
            return is_unsealed(connection, event_id)

    def _seal_batch(self) -> int | None:
        """Seal the oldest events in one transaction; return how many, None where another process leads."""
        with self._engine.begin() as connection:
            if not claim(connection, LEASE_NAME, self._holder):
                return None
            count = seal_events(connection, MOST_SEALED)
            if count:
                connection.execute(_notify, {"word": self._word({_SEALED})})
            return count

    def _wake_callers(self) -> None:
        with self._heard:
            self._heard.notify_all()

    def _word(self, topics: set[str]) -> str:
        return f"{self._holder} {','.join(sorted(topics))}"
