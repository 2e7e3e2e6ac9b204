"""The database: one SQLite file with one writer thread and group commit, or PostgreSQL with a pool."""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection as Connection
from sqlalchemy import Engine, create_engine, event, exc

from loopwright.kernel.errors import Conflict, InvalidInput, LoopwrightError, StorageFull, Unavailable
from loopwright.store.sealing import seal_events

T = TypeVar("T")
Work = Callable[[Connection], Any]

GROUP_LIMIT = 64
"""Most verbs in one SQLite commit."""
GROUP_SECONDS = 0.005
"""Longest time a commit waits for further verbs while running those it has."""
NEWS = "loopwright_news"
"""Key of a connection's ``info`` under which a transaction without events says that somebody waits for it."""
RETRIES = 5
"""Attempts of a PostgreSQL transaction that lost a race."""
_SNAPSHOT = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
log = logging.getLogger("loopwright.database")


class Database:
    """Reads and writes of one metadata database.

    Args:
        url: ``sqlite:///path`` or ``postgresql+psycopg://…``; a bare ``postgresql://`` is accepted.
    """

    def __init__(self, url: str) -> None:
        if url.startswith("postgresql://"):
            url = "postgresql+psycopg://" + url.removeprefix("postgresql://")
        self.url = url
        self.is_sqlite = url.startswith("sqlite:///") and not url.endswith(":memory:")
        if not self.is_sqlite and not url.startswith("postgresql"):
            raise InvalidInput(
                "this database cannot be used",
                field="database_url",
                value=url.partition(":")[0],
                rule="sqlite:///… or postgresql://…",
            )
        self.engine = _sqlite_engine(url) if self.is_sqlite else _postgres_engine(url)
        self._reader = self.engine if self.is_sqlite else self.engine.execution_options(**_SNAPSHOT)
        self.listeners: list[Callable[[], None]] = []
        self._queue: queue.SimpleQueue[tuple[Work, Future[Any]] | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._start = threading.Lock()
        self._is_closed = False

    def submit(self, work: Callable[[Connection], T]) -> Future[T]:
        """Queue one unit of writing; the future ends once it is on the disk.

        Everything that ``work`` does commits together or not at all. On PostgreSQL the call itself does the work.
        """
        future: Future[T] = Future()
        if self._is_closed:
            future.set_exception(_closed())
        elif self.is_sqlite:
            self._start_writer()
            self._queue.put((work, future))
        else:
            self._run_on_postgres(work, future)
        return future

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run one unit of writing and wait until it is durable."""
        return self.submit(work).result()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection for reading: one snapshot, never blocked by the writer; nothing it writes stays."""
        try:
            with self._reader.connect() as connection:
                if self.is_sqlite:
                    connection.exec_driver_sql("BEGIN")
                try:
                    yield connection
                finally:
                    connection.rollback()
        except (exc.SQLAlchemyError, OverflowError) as error:
            raise _translate(error) from None

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run one unit of reading."""
        with self.reading() as connection:
            return work(connection)

    def close(self) -> None:
        """Finish queued writes and let go of every connection."""
        self._is_closed = True
        if self._writer is not None:
            self._queue.put(None)
            self._writer.join(timeout=30)
        self._refuse_waiting()
        self.engine.dispose()

    def _announce(self) -> None:
        """Tell everyone who waits that events, or other news, were committed."""
        for listener in self.listeners:
            listener()

    def _start_writer(self) -> None:
        with self._start:
            if self._writer is None:
                self._writer = threading.Thread(target=self._write_loop, name="loopwright-writer", daemon=True)
                self._writer.start()

    def _write_loop(self) -> None:
        while (first := self._queue.get()) is not None:
            try:
                connection = self.engine.connect()
            except exc.SQLAlchemyError as error:  # a later write tries again
                _fail(first[1], error)
                continue
            with connection:
                waiting: tuple[Work, Future[Any]] | None = first
                while waiting is not None and self._commit_group(connection, waiting):
                    waiting = self._queue.get()
                return

    def _refuse_waiting(self) -> None:
        while not self._queue.empty():
            waiting = self._queue.get()
            if waiting is not None:
                _fail(waiting[1], _closed())

    def _commit_group(self, connection: Connection, first: tuple[Work, Future[Any]]) -> bool:
        """Run a group of writes in one commit; return False when asked to stop."""
        done: list[tuple[Future[Any], Any]] = []
        waiting: tuple[Work, Future[Any]] | None = first
        deadline = time.monotonic() + GROUP_SECONDS
        futures: list[Future[Any]] = []
        is_open = True
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            while waiting is not None:
                futures.append(waiting[1])
                self._run_in_savepoint(connection, waiting, done)
                waiting = None
                if len(done) < GROUP_LIMIT and time.monotonic() < deadline:
                    waiting, is_open = self._next_waiting()
            sealed = seal_events(connection)
            connection.commit()
        except Exception as error:  # noqa: BLE001 - whatever it was, its callers wait for it
            with contextlib.suppress(exc.SQLAlchemyError):  # a full disk has rolled back already
                connection.rollback()
            for future in futures:
                _fail(future, error)
            return is_open
        for future, result in done:
            future.set_result(result)
        if connection.info.pop(NEWS, False) or sealed:
            self._announce()
        return is_open

    def _next_waiting(self) -> tuple[tuple[Work, Future[Any]] | None, bool]:
        try:
            item = self._queue.get_nowait()
        except queue.Empty:
            return None, True
        return item, item is not None

    @staticmethod
    def _run_in_savepoint(
        connection: Connection, item: tuple[Work, Future[Any]], done: list[tuple[Future[Any], Any]]
    ) -> None:
        work, future = item
        if not future.set_running_or_notify_cancel():
            return
        connection.exec_driver_sql("SAVEPOINT verb")
        try:
            result = work(connection)
        except Exception as error:  # noqa: BLE001 - whatever a verb raises is its caller's
            try:
                connection.exec_driver_sql("ROLLBACK TO verb")
                connection.exec_driver_sql("RELEASE verb")
            except exc.SQLAlchemyError:  # the whole transaction is gone: the first error says why
                raise error from None
            _fail(future, error)
            return
        connection.exec_driver_sql("RELEASE verb")
        done.append((future, result))

    def _run_on_postgres(self, work: Callable[[Connection], T], future: Future[T]) -> None:
        for attempt in range(RETRIES):
            try:
                with self.engine.begin() as connection:
                    result = work(connection)
                    is_news = connection.info.pop(NEWS, False)
            except Exception as error:  # noqa: BLE001 - whatever a verb raises is its caller's
                if attempt + 1 < RETRIES and _lost_a_race(error):
                    time.sleep(0.01 * 2**attempt)
                    continue
                _fail(future, error)
                return
            sealed = self.seal()
            future.set_result(result)
            if is_news or sealed:
                self._announce()
            return

    def seal(self) -> int:
        """Seal what was committed and return how many events; where that fails, the next commit seals for both."""
        try:
            with self.engine.begin() as connection:
                return seal_events(connection)
        except exc.SQLAlchemyError:
            log.warning("events could not be sealed; the next commit will", exc_info=True)
            return 0


def _closed() -> Unavailable:
    return Unavailable("the database is closed", next_step="start the server again")


def _fail(future: "Future[Any]", error: Exception) -> None:
    if not future.done():
        future.set_exception(_translate(error))


def _lost_a_race(error: Exception) -> bool:
    """Say whether doing the work again may succeed: serialisation or deadlock."""
    return isinstance(error, exc.DBAPIError) and getattr(error.orig, "sqlstate", None) in ("40001", "40P01")


def _translate(error: Exception) -> Exception:
    """Turn driver errors into our own; leave our own and programming errors as they are."""
    if isinstance(error, LoopwrightError):
        return error
    message = str(getattr(error, "orig", error))
    if isinstance(error, OverflowError | exc.DataError):
        return InvalidInput(
            "a value does not fit its column", value=message, rule="whole numbers of 64 bits, text without NUL"
        )
    if "disk is full" in message or "No space left" in message:
        return StorageFull("the disk is full; nothing was written", next_step="free space, then repeat the call")
    if "readonly database" in message or "unable to open database" in message:
        return Unavailable(
            "the database cannot be written", value=message, next_step="check the folder's owner and permissions"
        )
    if isinstance(error, exc.IntegrityError):
        return Conflict("this already exists or is still referred to", value=message)
    if isinstance(error, exc.OperationalError | exc.TimeoutError | exc.InterfaceError):
        return Unavailable("the database did not answer", value=message, next_step="run loopwright doctor")
    return error


def _sqlite_engine(url: str) -> Engine:
    _make_folder(Path(url.removeprefix("sqlite:///")).parent)
    # More connections than a server has threads: nobody ever waits for one.
    connect_args = {"timeout": 30, "check_same_thread": False}
    engine = create_engine(url, connect_args=connect_args, pool_size=16, max_overflow=48)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
            connection.execute(f"PRAGMA {pragma}")

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


def _postgres_engine(url: str) -> Engine:
    return create_engine(url, pool_size=16, max_overflow=16, pool_pre_ping=True)
