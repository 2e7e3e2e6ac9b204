"""What drivers raise, in our own words: which failures are worth another try, and what each tells the caller."""

from sqlalchemy import exc

from loopwright.kernel.errors import Conflict, Corrupt, InvalidInput, LoopwrightError, StorageFull, Unavailable
from loopwright.store.unwritable import HOW_TO_FREE

LOST_A_RACE = ("40001", "40P01")
"""SQLSTATE of a transaction that would not have been serial, and of a deadlock: nothing was written."""
UNIQUE_VIOLATION = "23505"
_LOCK_TIMEOUT = "55P03"
_READ_ONLY = "25006"
_CANCELLED = "57014"
_FULL = ("disk is full", "No space left")
_UNWRITABLE = ("readonly database", "unable to open database", "disk I/O error")
"""How SQLite tells of a database, or a disk under it, that cannot be written."""
_DAMAGED = ("database disk image is malformed", "file is not a database")
"""How SQLite tells of a file that somebody or something else than SQLite has written to."""


class OverBudget(Exception):
    """A query that was to be brief took too long and was broken off; nothing is wrong with it."""


def sqlstate(error: BaseException) -> str | None:
    """Return the code PostgreSQL gave an error, None where it has none."""
    state: str | None = getattr(getattr(error, "orig", None), "sqlstate", None)
    return state


def is_lost(error: BaseException) -> bool:
    """Say whether the connection is gone with the error."""
    return isinstance(error, exc.DBAPIError) and error.connection_invalidated


def is_locked_out(error: BaseException) -> bool:
    """Say whether another session held a lock for longer than this one waits."""
    return sqlstate(error) == _LOCK_TIMEOUT


def keeps_from_writing(error: BaseException) -> bool:
    """Say whether a driver's error tells of a database that takes no writes at all, not of one call alone."""
    if not isinstance(error, exc.DBAPIError):
        return False
    message = str(error.orig)
    return sqlstate(error) == _READ_ONLY or any(sign in message for sign in (*_UNWRITABLE, *_FULL, *_DAMAGED))


def does_not_answer(error: BaseException) -> bool:
    """Say whether PostgreSQL was not there for a call, or went away in the middle of it."""
    if not isinstance(error, exc.OperationalError | exc.InterfaceError):
        return False
    state = sqlstate(error)
    return is_lost(error) or state is None or state.startswith(("08", "57P"))


def translate(error: Exception) -> Exception:
    """Turn driver errors into our own; leave our own and programming errors as they are."""
    if isinstance(error, LoopwrightError):
        return error
    message = " ".join(str(getattr(error, "orig", error)).split())  # drivers speak in several lines
    if message == "interrupted":
        return OverBudget()
    if isinstance(error, OverflowError | exc.DataError):
        return InvalidInput(
            "a value does not fit its column", value=message, rule="whole numbers of 64 bits, text without NUL"
        )
    if any(sign in message for sign in _FULL):
        return StorageFull("the disk is full; nothing was written", next_step=f"{HOW_TO_FREE}, then repeat the call")
    if any(sign in message for sign in _UNWRITABLE) or sqlstate(error) == _READ_ONLY:
        step = "check the folder's owner and permissions, and whether its disk or the database has become read-only"
        return Unavailable("the database cannot be written", value=message, next_step=step)
    if any(sign in message for sign in _DAMAGED):
        return Corrupt("the database file is damaged", value=message, next_step="stop, and restore the newest backup")
    if isinstance(error, exc.IntegrityError):
        return Conflict("this already exists or is still referred to", value=message)
    return _waited_in_vain(error, message) or error


def _waited_in_vain(error: Exception, message: str) -> Unavailable | None:
    """Return what to tell of a database that did not answer, None of an error of another kind."""
    state = sqlstate(error)
    if state in LOST_A_RACE:
        what = "too many calls changed the same rows at once; nothing was written"
        return Unavailable(what, value=message, next_step="repeat the call")
    if state == _LOCK_TIMEOUT:
        what = "another session of the database holds what this call needs; nothing was written"
        step = "repeat the call; where it stays so, end that session (pg_stat_activity and pg_locks name it)"
        return Unavailable(what, value=message, next_step=step)
    if state == _CANCELLED:
        return too_long(error)
    if isinstance(error, exc.TimeoutError):
        what = "every connection to the database is taken"
        return Unavailable(what, value=message, next_step="repeat the call; loopwright doctor looks at the database")
    if isinstance(error, exc.OperationalError | exc.InterfaceError):
        return Unavailable("the database did not answer", value=message, next_step="run loopwright doctor")
    return None


def too_long(error: Exception) -> Unavailable:
    """Return the error of a call that the database was stopped over."""
    what = "the database took too long over this call, which was stopped; nothing was written"
    step = "ask for less at once, or repeat the call later"
    return Unavailable(what, value=str(getattr(error, "orig", error)), next_step=step)


def closed() -> Unavailable:
    """Return the error of a call that comes after the end."""
    return Unavailable("the database is closed", next_step="start the server again")


def unknown_outcome(error: Exception) -> Unavailable:
    """Return the error of a commit that was sent and never answered."""
    message = "the database went away while it committed: the call was carried out whole, or not at all"
    step = "look whether it was, or repeat it under the same Idempotency-Key"
    return Unavailable(message, value=str(getattr(error, "orig", error)), next_step=step)
