"""The database: a SQLite file with one writer thread and group commit, or PostgreSQL, serializable."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection as Connection
from sqlalchemy import Engine, exc

from loopwright.kernel.errors import InvalidInput
from loopwright.store import postgres
from loopwright.store.doubts import Doubt, Doubts
from loopwright.store.failures import (
    OverBudget,
    closed,
    does_not_answer,
    is_locked_out,
    keeps_from_writing,
    too_long,
    translate,
)
from loopwright.store.news import EVENTS, Listener
from loopwright.store.sealer import Sealer
from loopwright.store.sqlite import Answer, GroupWriter, Snapshots, open_sqlite

T = TypeVar("T")
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
        self._listeners: list[Listener] = []
        self._is_closed = False
        self.failure = ""
        """Why nothing can be written, as the last write told that could not; a later ``probe`` says that it can."""
        self.is_away = False
        """Whether that is because the database does not answer; the next write that succeeds says that it does."""
        self._doubts = Doubts()
        self._writer: GroupWriter | None = None
        self._snapshots: Snapshots | None = None
        self._sealer: Sealer | None = None
        self.engine: Engine
        if self.is_sqlite:
            self.engine = self._reading_engine = open_sqlite(url)
            self._writer, self._snapshots = GroupWriter(self.engine, self._announce, self.note), Snapshots(self.engine)
        else:
            self.engine, self._reading_engine = postgres.open_writing(url), postgres.open_reading(url)
            self._sealer = Sealer(postgres.open_sealing(url), self._announce)

    @property
    def doubt(self) -> Doubt | None:
        """Why rows may be missing now that somebody meant to write, as this process has met it; None for no reason."""
        return self._doubts.now

    def submit(self, work: Callable[[Connection], T]) -> Future[T]:
        """Queue one unit of writing; the future ends once it is on the disk.

        Everything that ``work`` does commits together or not at all. On PostgreSQL the call itself does the work, and
        again from its start as often as it loses a race: outside of the database it must change nothing.
        """
        future: Future[T] = Future()
        self.submit_for(future, work)
        return future

    def submit_for(self, answer: Answer, work: Callable[[Connection], Any]) -> None:
        """Like ``submit``, for a caller who brings the promise that is to be kept."""
        if self._is_closed:
            answer.set_exception(closed())
        elif self._writer is not None:
            self._writer.submit(work, answer)
        else:
            self._run_serially(work, answer)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run one unit of writing and wait until it is durable."""
        return self.submit(work).result()

    @contextmanager
    def reading(self, *, without_deadline: bool = False, budget_s: float | None = None) -> Iterator[Connection]:
        """Yield a connection for reading: one snapshot, never blocked by a writer; nothing it writes stays.

        Args:
            without_deadline: For what an operator waits for: a statement, and a pause between two, may take any time.
            budget_s: Seconds of work after which SQLite breaks a statement off, at most those of the deadline.

        Raises:
            OverBudget: It was broken off within a budget.
            Unavailable: It was broken off at the deadline, which is ``postgres.READ_S`` of a statement there, of the
                work on one snapshot of SQLite.
        """
        try:
            if self._snapshots is not None:
                deadline_s = None if without_deadline else postgres.READ_S
                with self._snapshots.open(deadline_s if budget_s is None else budget_s) as connection:
                    yield connection
                return
            with self._reading_engine.connect() as connection:
                if without_deadline:
                    postgres.forget_deadlines(connection)
                yield connection
        except (exc.SQLAlchemyError, OverflowError) as error:
            told = translate(error)
            raise (too_long(error) if budget_s is None and isinstance(told, OverBudget) else told) from None

    def read(self, work: Callable[[Connection], T], *, budget_s: float | None = None) -> T:
        """Run one unit of reading, see ``reading``."""
        with self.reading(budget_s=budget_s) as connection:
            return work(connection)

    def seal(self) -> None:
        """Return once every event that is committed by now has its position, for whoever reads the log from here.

        On SQLite it has as soon as it is committed. On PostgreSQL one process seals, shortly after the commit; this
        waits for it, for some seconds at most.
        """
        if self._sealer is not None:
            try:
                self._sealer.seal()
            except exc.SQLAlchemyError as error:
                raise translate(error) from None

    def subscribe(self, listener: Listener) -> None:
        """Have a listener told what is committed from now on, by whichever server; it is called in various threads."""
        self._listeners.append(listener)
        if self._sealer is not None:
            self._sealer.start()

    def close(self) -> None:
        """Finish queued writes and let go of every connection."""
        self._is_closed = True
        if self._writer is not None:
            self._writer.close()
        if self._snapshots is not None:
            self._snapshots.close()
        if self._sealer is not None:
            self._sealer.close()
            self._reading_engine.dispose()
        self.engine.dispose()

    def probe(self, work: Callable[[Connection], Any]) -> None:
        """Do some writing that changes a row for certain; where that can be done there is no ``failure`` any more."""
        self.write(work)
        self.failure = ""
        self._doubts.ended()

    def note(self, error: BaseException) -> None:
        """Take note of an error that somebody met, where it is one that keeps everybody from writing."""
        is_away = not self.is_sqlite and does_not_answer(error)
        if isinstance(error, Exception) and is_locked_out(error):
            self._doubts.locked_out(translate(error))
        if not isinstance(error, Exception) or not (is_away or keeps_from_writing(error)):
            return
        self._doubts.failed(translate(error))
        told, is_news = str(translate(error)), not (is_away and self.is_away)  # each lost connection says it otherwise
        self.is_away = is_away
        if told != self.failure and is_news:
            self.failure = told
            log.error("nothing can be written: %s", told)

    def _announce(self, topics: frozenset[str]) -> None:
        for listener in self._listeners:
            try:
                listener(topics)
            except Exception:  # whose fault it is, the commit stands and its caller is to be answered
                log.exception("a listener failed on the news of a commit")

    def _run_serially(self, work: Callable[[Connection], Any], answer: Answer) -> None:
        assert self._sealer is not None
        try:
            result, news = postgres.run_serially(self.engine, work)
        except Exception as error:  # noqa: BLE001 - whatever a verb raises is its caller's
            self.note(error)
            answer.set_exception(translate(error))
            return
        if self.is_away:
            self.failure, self.is_away = "", False
            self._doubts.ended()
        if news:
            self._sealer.pass_on(news)
        if now := news - {EVENTS}:  # those of events follow when they are sealed
            self._announce(now)
        answer.set_result(result)
