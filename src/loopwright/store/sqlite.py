"""SQLite: one file, one thread that writes, one commit for all the writes that wait."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, create_engine, event, exc

from loopwright.kernel.errors import Unavailable
from loopwright.store.failures import closed, translate
from loopwright.store.news import EVENTS, Listener, take_news
from loopwright.store.sealing import seal_events
from loopwright.store.statements import run_text

Work = Callable[[Connection], Any]


class Snapshots:
    """Connections of a file for reading, which stay open: opening or borrowing one takes longer than a small query.

    Args:
        engine: Of the file.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._resting: list[Connection] = []
        self._is_closed = False

    @contextlib.contextmanager
    def open(self, budget_s: float | None = None) -> Iterator[Connection]:
        """Yield a connection at the begin of its snapshot; nothing it writes stays.

        Args:
            budget_s: Seconds of work after which a statement is broken off; None for never.
        """
        try:
            connection = self._resting.pop()  # one step, whichever threads take it
        except IndexError:
            connection = self._engine.connect()
        is_begun = False
        try:
            run_text(connection, "BEGIN")
            is_begun = True
            if budget_s is not None:
                _set_budget(connection, budget_s)
            yield connection
        finally:
            if budget_s is not None:
                _set_budget(connection, None)
            self._rest(connection, is_begun=is_begun)

    def _rest(self, connection: Connection, *, is_begun: bool) -> None:
        try:
            _roll_back(connection)
        except exc.SQLAlchemyError:
            is_begun = False
        if is_begun and not self._is_closed and len(self._resting) < MOST_RESTING:
            self._resting.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Let go of the connections that nobody uses now."""
        self._is_closed = True
        while self._resting:
            self._resting.pop().close()


def _set_budget(connection: Connection, budget_s: float | None) -> None:
    """Have SQLite break off what this thread reads once it has worked so long; None for never."""
    driver: Any = connection.connection.dbapi_connection
    if budget_s is None:
        driver.set_progress_handler(None, 0)
    else:
        until = time.thread_time() + budget_s
        driver.set_progress_handler(lambda: time.thread_time() > until, _STEPS_BETWEEN_LOOKS)


def _roll_back(connection: Connection) -> None:
    if connection.in_transaction():  # SQLAlchemy has run statements of its own, and rolls back itself
        connection.rollback()
    else:
        run_text(connection, "ROLLBACK")


class Answer(Protocol):
    """The promise of a result, such as a ``concurrent.futures.Future``."""

    def set_running_or_notify_cancel(self) -> bool:
        """Say whether anybody still waits for it."""
        ...

    def done(self) -> bool:
        """Say whether it was kept."""
        ...

    def set_result(self, result: Any, /) -> None:
        """Keep it."""
        ...

    def set_exception(self, error: BaseException, /) -> None:
        """Say why it cannot be kept."""
        ...


_Waiting = tuple[Work, Answer]

MOST_RESTING = 16
"""Connections for reading that are kept open while nobody reads."""
_STEPS_BETWEEN_LOOKS = 2_000
"""Steps of SQLite, about a tenth of a millisecond, after which it asks whether to go on."""
GROUP_LIMIT = 64
"""Most verbs in one commit."""
GROUP_SECONDS = 0.005
"""Longest time a commit waits for further verbs while running those it has."""


def open_sqlite(url: str) -> Engine:
    """Return the engine of a file, whose folder is made.

    Raises:
        Unavailable: The folder cannot be made.
    """
    _make_folder(Path(url.removeprefix("sqlite:///")).parent)
    # More connections than a server has threads: nobody ever waits for one.
    connect_args = {"timeout": 30, "check_same_thread": False}
    engine = create_engine(url, connect_args=connect_args, pool_size=16, max_overflow=48)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("SELECT 1 FROM sqlite_schema").fetchone()  # reads the schema: no query has to

    return engine


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(
            "the folder of the database cannot be made",
            field="database_url",
            value=f"{folder}: {error.strerror}",
            next_step="check its owner and permissions, or set LOOPWRIGHT_STATE",
        ) from None


class GroupWriter:
    """The one thread that writes a file: a savepoint for each unit of work, a commit for each group of them.

    Args:
        engine: Of the file.
        announce: Is told the topics of what was committed.
        note: Is told each error.
    """

    def __init__(
        self, engine: Engine, announce: Listener, note: Callable[[BaseException], None] = lambda error: None
    ) -> None:
        self._engine = engine
        self._announce, self._note = announce, note
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._start = threading.Lock()

    def submit(self, work: Work, future: Answer) -> None:
        """Queue a unit of writing; its future ends once it is on the disk."""
        if self._thread is None:
            self._start_thread()
        self._queue.put((work, future))

    def close(self) -> None:
        """Finish what is queued; refuse what comes too late for that."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(timeout=30)
        while not self._queue.empty():
            waiting = self._queue.get()
            if waiting is not None:
                fail(waiting[1], closed())

    def _start_thread(self) -> None:
        with self._start:
            if self._thread is None:
                self._thread = threading.Thread(target=self._write, name="loopwright-writer", daemon=True)
                self._thread.start()

    def _write(self) -> None:
        while (first := self._queue.get()) is not None:
            try:
                connection = self._engine.connect()
            except exc.SQLAlchemyError as error:  # a later write tries again
                self._fail(first[1], error)
                continue
            with connection:
                waiting: _Waiting | None = first
                while waiting is not None and self._commit_group(connection, waiting):
                    waiting = self._queue.get()
                return

    def _commit_group(self, connection: Connection, first: _Waiting) -> bool:
        """Run a group of writes in one commit; return False when asked to stop."""
        done: list[tuple[Answer, Any]] = []
        waiting: _Waiting | None = first
        deadline = time.monotonic() + GROUP_SECONDS
        futures: list[Answer] = []
        is_open = True
        try:
            connection.begin()
            run_text(connection, "BEGIN IMMEDIATE")
            while waiting is not None:
                futures.append(waiting[1])
                self._run_in_savepoint(connection, waiting, done)
                waiting = None
                if len(done) < GROUP_LIMIT and time.monotonic() < deadline:
                    waiting, is_open = self._next_waiting()
            news = take_news(connection)
            if EVENTS in news:
                seal_events(connection)
            connection.commit()
        except Exception as error:  # noqa: BLE001 - whatever it was, its callers wait for it
            take_news(connection)
            with contextlib.suppress(exc.SQLAlchemyError):  # a full disk has rolled back already
                connection.rollback()
            for future in futures or [first[1]]:  # a transaction that could not even begin has its caller too
                self._fail(future, error)
            return is_open
        if news:
            self._announce(news)  # first: what it ends, such as a token, has ended once the caller is answered
        for future, result in done:
            future.set_result(result)
        return is_open

    def _next_waiting(self) -> tuple[_Waiting | None, bool]:
        try:
            item = self._queue.get_nowait()
        except queue.Empty:
            return None, True
        return item, item is not None

    def _run_in_savepoint(self, connection: Connection, item: _Waiting, done: list[tuple[Answer, Any]]) -> None:
        work, future = item
        if not future.set_running_or_notify_cancel():
            return
        run_text(connection, "SAVEPOINT verb")
        try:
            result = work(connection)
        except BaseException as error:  # noqa: BLE001 - whatever a verb raises is its caller's: the writer goes on
            try:
                run_text(connection, "ROLLBACK TO verb")
                run_text(connection, "RELEASE verb")
            except exc.SQLAlchemyError:  # the whole transaction is gone: the first error says why
                raise error from None
            self._fail(future, error)
            return
        run_text(connection, "RELEASE verb")
        done.append((future, result))

    def _fail(self, future: Answer, error: BaseException) -> None:
        self._note(error)
        fail(future, error)


def fail(future: Answer, error: BaseException) -> None:
    """End a call with its error, in our own words."""
    if not future.done():
        future.set_exception(translate(error) if isinstance(error, Exception) else error)
