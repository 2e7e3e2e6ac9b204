"""The SQLite file of an online store: a connection for each thread, and transactions in turns."""

import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from loopwright.features.online.base import OF_STORE
from loopwright.features.online.places import RETURNS_ROOM, SCHEMA
from loopwright.kernel.errors import StorageFull, Unavailable

_WAL_BYTES = 32 << 20
_WAITS_MS, _TRIES_MS = 30_000, 500
_NAME = "SELECT name FROM identity"
_TRY_OUT = """
INSERT INTO identity VALUES (1, ?, 1) ON CONFLICT DO UPDATE SET tried = tried + 1
"""


class StoreFile:
    """The file, opened once by each thread.

    Args:
        path: Where it is; its folder is made where it is missing.

    Raises:
        Unavailable: It does not answer.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._of_thread = threading.local()
        self._opened: list[sqlite3.Connection] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        with self.reading():
            pass

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Yield this thread's connection; each statement is by itself.

        Raises:
            StorageFull: The disk is full.
            Unavailable: The file does not answer.
        """
        try:
            yield self._connection()
        except sqlite3.Error as error:
            if "full" in str(error):
                raise StorageFull(
                    "the disk is full; nothing was written", value=str(self.path), details=OF_STORE
                ) from None
            step = "run loopwright doctor; the file may be deleted and filled again by features.start_materialize"
            message = f"the online store did not answer: {error}"
            raise Unavailable(message, value=str(self.path), next_step=step, details=OF_STORE) from None

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Yield this thread's connection in a transaction, the only one that writes; it commits at the end.

        Raises:
            StorageFull: The disk is full; nothing was written.
            Unavailable: The file does not answer.
        """
        with self.reading() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def try_out(self) -> str:
        """Write a little, and return by what the file is known; who writes meanwhile is not waited for.

        Raises:
            StorageFull: The disk is full.
            Unavailable: The file takes no rows.
        """
        with self.reading() as connection:
            connection.execute(f"PRAGMA busy_timeout={_TRIES_MS}")
            try:
                connection.execute(_TRY_OUT, (secrets.token_hex(8),))
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:  # others write, so it can be written
                    raise
            finally:
                connection.execute(f"PRAGMA busy_timeout={_WAITS_MS}")
            return str(next(iter(connection.execute(_NAME).fetchone() or ()), ""))

    def close(self) -> None:
        """Let go of the file."""
        for connection in self._opened:
            connection.close()
        self._opened.clear()
        self._of_thread = threading.local()

    def _connection(self) -> sqlite3.Connection:
        """Return this thread's connection; a new one where another file has come into the place of the one before."""
        connection: sqlite3.Connection | None = getattr(self._of_thread, "connection", None)
        if connection is not None and self._of_thread.file == self._file():
            return connection
        connection = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(connection)
        except sqlite3.Error:  # no store, or one that cannot be written
            connection.close()
            raise
        self._of_thread.connection, self._of_thread.file = connection, self._file()
        self._opened.append(connection)
        return connection

    @staticmethod
    def _prepare(connection: sqlite3.Connection) -> None:
        # A power cut may take the last rows under NORMAL; everything here can be filled again.
        if pragma(connection, "page_count") == 0:  # ahead of all others, which make the file
            connection.execute(RETURNS_ROOM)
        for setting in (
            "journal_mode=WAL",
            "synchronous=NORMAL",
            f"busy_timeout={_WAITS_MS}",
            "wal_autocheckpoint=8000",
        ):
            connection.execute(f"PRAGMA {setting}")
        connection.execute(f"PRAGMA journal_size_limit={_WAL_BYTES}")
        connection.executescript(SCHEMA)

    def _file(self) -> tuple[int, int]:
        """Return what tells the file apart from another of its name."""
        try:
            status = self.path.stat()
        except OSError:
            return (0, 0)
        return (status.st_dev, status.st_ino)


def pragma(connection: sqlite3.Connection, name: str) -> int:
    """Return what a pragma says in a number."""
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
