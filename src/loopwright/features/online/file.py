"""The SQLite file of an online store: a connection for each thread, and transactions in turns.

Code of the project writes this file as it likes, and processes of the platform open it: so it is opened shut into its
folder, holds the tables of a store and nothing that runs, and no statement takes longer than whoever asks has patience.
"""

import os
import secrets
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from loopwright.features.online.base import LONG, OF_STORE, Patience
from loopwright.features.online.places import RETURNS_ROOM, SCHEMA
from loopwright.kernel.errors import LoopwrightError, StorageFull, Unavailable
from loopwright.wire.walls import do_within

_WAL_BYTES = 32 << 20
_TRIES_S = 0.5
_STEPS = 100_000
"""So many steps of SQLite pass between two looks at the time."""
_NAME = "SELECT substr(name, 1, 16) FROM identity"
_TRY_OUT = """
INSERT INTO identity VALUES (1, ?, 1) ON CONFLICT DO UPDATE SET tried = tried + 1
"""
_HOLDS = "SELECT type, substr(name, 1, 100), substr(sql, 1, 1000) FROM main.sqlite_master LIMIT ?"
_ENDS = ("", "-wal", "-shm", "-journal")
_FILL_AGAIN = "remove it and what lies beside it; features.start_materialize fills the views of a store again"


class _Held:
    """A thread's connection.

    Args:
        file: What tells its file apart from another of its name.
    """

    def __init__(self, file: tuple[int, int]) -> None:
        self.connection: sqlite3.Connection
        self.file = file
        self.until_s = 0.0
        """When a statement is broken off, monotonic seconds."""
        self.seen: int | None = None
        """Which version of the file's schema was looked at."""

    def is_late(self) -> bool:
        """Say whether what runs has taken too long."""
        return time.monotonic() > self.until_s


class StoreFile:
    """The file, opened once by each thread.

    Args:
        path: Where it is; its folder is made where it is missing.
        patience: How long is waited for it.

    Raises:
        Unavailable: It does not answer, or is no store.
    """

    def __init__(self, path: Path, patience: Patience = LONG) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path.parent.resolve() / path.name
        self._patience = patience
        self._of_thread = threading.local()
        self._opened: list[sqlite3.Connection] = []
        with self.reading():
            pass

    @contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """Yield this thread's connection; each statement is by itself, and the file is not looked at.

        Raises:
            StorageFull: The disk is full.
            Unavailable: The file does not answer.
        """
        try:
            yield self._held().connection
        except (sqlite3.Error, OSError) as error:
            raise self._our_own(error) from None

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield this thread's connection; what is read is of one moment.

        Raises:
            StorageFull: The disk is full.
            Unavailable: The file does not answer, or is no store.
        """
        with self.opened() as connection, self._transaction(connection, "BEGIN"):
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Yield this thread's connection in a transaction, the only one that writes; it commits at the end.

        Raises:
            StorageFull: The disk is full; nothing was written.
            Unavailable: The file does not answer, or is no store.
        """
        with self.opened() as connection, self._transaction(connection, "BEGIN IMMEDIATE"):
            yield connection

    def try_out(self) -> str:
        """Write a little, and return by what the file is known; who writes meanwhile is not waited for.

        Raises:
            StorageFull: The disk is full.
            Unavailable: The file takes no rows, or is no store.
        """
        with self.opened() as connection:
            _wait(connection, min(_TRIES_S, self._patience.others_s))
            try:
                with self._transaction(connection, "BEGIN IMMEDIATE"):
                    connection.execute(_TRY_OUT, (secrets.token_hex(8),))
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:  # others write, so it can be written
                    raise
            finally:
                _wait(connection, self._patience.others_s)
        with self.reading() as connection:
            return name_in(connection)

    def close(self) -> None:
        """Let go of the file."""
        for connection in self._opened:
            connection.close()
        self._opened.clear()
        self._of_thread = threading.local()

    @contextmanager
    def _transaction(self, connection: sqlite3.Connection, begin: str) -> Iterator[None]:
        connection.execute(begin)
        try:
            self._check_schema(connection)
            yield
        except BaseException:
            if connection.in_transaction:  # what is broken off has ended it already
                connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def _held(self) -> _Held:
        """Return this thread's connection; a new one where another file has come into the place of the one before."""
        held: _Held | None = getattr(self._of_thread, "held", None)
        if held is None or held.file != self._file():
            held = self._of_thread.held = do_within(str(self.path.parent), self._open)
            self._opened.append(held.connection)
        held.until_s = time.monotonic() + self._patience.answer_s
        return held

    def _open(self) -> _Held:
        self._check_files()
        if self._file() == (0, 0):
            with suppress(FileExistsError):  # another makes it at this moment
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644))
        held = _Held(self._file())
        held.until_s = time.monotonic() + self._patience.answer_s
        others_s = self._patience.others_s
        held.connection = connection = sqlite3.connect(
            f"file:{quote(str(self.path))}?mode=rw",
            uri=True,
            timeout=others_s,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            connection.set_progress_handler(held.is_late, _STEPS)
            self._prepare(connection)
            self._check_files()
        except BaseException:  # no store, or one that cannot be written
            connection.close()
            raise
        return held

    def _prepare(self, connection: sqlite3.Connection) -> None:
        if connection.execute("PRAGMA database_list").fetchall() != [(0, "main", str(self.path))]:
            raise self._is_none("a link leads elsewhere")
        for setting in ("trusted_schema=OFF", "cell_size_check=ON"):  # others write it as they like
            connection.execute(f"PRAGMA {setting}")
        # A power cut may take the last rows under NORMAL; everything here can be filled again.
        if pragma(connection, "page_count") == 0:  # ahead of all others, which make the file
            connection.execute(RETURNS_ROOM)
        if connection.execute("PRAGMA journal_mode=WAL").fetchone() != ("wal",):
            raise sqlite3.OperationalError("it keeps no log of writes (WAL)")  # and would look for journals later
        for setting in ("synchronous=NORMAL", "wal_autocheckpoint=8000", f"journal_size_limit={_WAL_BYTES}"):
            connection.execute(f"PRAGMA {setting}")
        connection.executescript(SCHEMA)

    def _check_files(self) -> None:
        """Check that the file, and what lies beside it, are plain files of this user, each of one name.

        Raises:
            Unavailable: One is not.
        """
        for end in _ENDS:
            path = self.path.with_name(self.path.name + end)
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue
            is_plain = stat.S_ISREG(status.st_mode) and status.st_nlink <= 1
            if not is_plain or status.st_uid != os.geteuid():
                raise self._is_none(f"{path.name} is no plain file of this user")

    def _check_schema(self, connection: sqlite3.Connection) -> None:
        """Check that a store's tables are all that the file holds: whatever else it did would run in here.

        Raises:
            Unavailable: There is something else.
        """
        version, held = pragma(connection, "schema_version"), self._of_thread.held
        if held.seen == version:
            return
        for kind, name, text in connection.execute(_HOLDS, (len(_SCHEMA) + 1,)).fetchall():
            if (kind, name, text) not in _SCHEMA:
                raise self._is_none(f"it holds the {kind} {name!r}")
        held.seen = version

    def _is_none(self, why: str) -> Unavailable:
        told = f"this file is not opened as an online store: {why}"
        return Unavailable(told, value=str(self.path), next_step=_FILL_AGAIN, details=OF_STORE)

    def _our_own(self, error: Exception) -> LoopwrightError:
        if "full" in str(error):
            return StorageFull("the disk is full; nothing was written", value=str(self.path), details=OF_STORE)
        step = "run loopwright doctor; the file may be deleted and filled again by features.start_materialize"
        message = f"the online store did not answer: {error}"
        return Unavailable(message, value=str(self.path), next_step=step, details=OF_STORE)

    def _file(self) -> tuple[int, int]:
        """Return what tells the file apart from another of its name."""
        try:
            status = self.path.lstat()
        except OSError:
            return (0, 0)
        return (status.st_dev, status.st_ino)


def name_in(connection: sqlite3.Connection) -> str:
    """Return by what a store is known; empty where nobody has given it a name yet."""
    return str(next(iter(connection.execute(_NAME).fetchone() or ()), ""))


def pragma(connection: sqlite3.Connection, name: str) -> int:
    """Return what a pragma says in a number."""
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _wait(connection: sqlite3.Connection, others_s: float) -> None:
    connection.execute(f"PRAGMA busy_timeout={round(1000 * others_s)}")


def _parts_of_schema() -> set[tuple[str, str, str]]:
    with closing(sqlite3.connect(":memory:")) as made:
        made.executescript(SCHEMA)
        return set(made.execute(_HOLDS, (100,)).fetchall())


_SCHEMA = _parts_of_schema()
