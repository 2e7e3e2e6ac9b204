"""What the platform's processes have alike: logging, an error that ends one and is told."""

import logging
import os
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from loopwright.config import Settings, take_settings, unknown_settings
from loopwright.kernel.errors import LoopwrightError
from loopwright.kernel.plain import plain_line, plain_lines
from loopwright.store.unwritable import TAKES_NOTHING, unwritable
from loopwright.wire.lifeline import end_with_parent

log = logging.getLogger("loopwright.process")

MOST_FILES = 65_536


def tell_unknown_settings() -> None:
    """Warn of variables that nobody reads: a misspelt one protects nothing."""
    for name, meant in unknown_settings().items():
        log.warning("nothing reads %s%s", name, f"; did you mean {meant}?" if meant else "")


def raise_file_limit() -> None:
    """Let this process open as many files as it may: each connection is one, and each stream of a spool."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class PlainFormatter(logging.Formatter):
    """Writes a record on a line of its own, whatever names and messages of others it tells; a trace follows."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base class names it
        """Return the line."""
        return plain_line(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the trace where there is one."""
        return plain_lines(super().format(record))


def run_process(run: Callable[[Settings], None], level: int = logging.INFO) -> None:
    """Run a process on the environment's settings.

    An error of ours, or of a disk that takes nothing, is one sentence on standard error and status 2.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(PlainFormatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
    logging.getLogger("httpx").setLevel(logging.WARNING)
    raise_file_limit()
    settings = take_settings()
    tell_unknown_settings()
    # What lies for a moment in a folder of the whole machine, every program of this user reads.
    path = settings.state_dir / "tmp"
    tempfile.tempdir = str(path)
    if settings.is_supervised:
        end_with_parent()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        run(settings)
    except LoopwrightError as error:
        _end(error)
    except OSError as error:
        if error.errno not in TAKES_NOTHING:
            raise
        _end(unwritable(error, Path(error.filename or settings.state_dir)))


def _end(error: LoopwrightError) -> None:
    sys.stderr.write(f"{error}\n")
    sys.stderr.flush()
    os._exit(2)
