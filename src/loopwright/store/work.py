"""Jobs from the inside: the functions that do them, and what a worker hands to each."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from loopwright.kernel.clock import Clock
from loopwright.kernel.code import CodeRef
from loopwright.store.blobs import BlobStore
from loopwright.store.types import EVERY_STREAM, Job, Streams


class JobContext(Protocol):
    """What a job may use. It never opens the metadata database: it calls verbs over HTTP."""

    blobs: BlobStore
    state_dir: Path
    wall: Clock

    def call(self, verb: str, args: dict[str, Any], project: str) -> Any:
        """Call a verb or query with the worker's service token; the result has the verb's return type."""
        ...

    def progress(self, text: str) -> None:
        """Say how far the job is, for the person who waits."""
        ...

    def transform(self, code: CodeRef, rows: Path, out: Path) -> None:
        """Run a user's LazyFrame -> LazyFrame function over a Parquet file in a child process.

        Raises:
            StepFailed: The function raised; the message carries the user's error without our frames.
        """
        ...

    def seal(self, streams: Streams = EVERY_STREAM) -> None:
        """Ask every live gateway to seal streams of its spool, so that what it took until now can be read.

        Raises:
            Unavailable: One is there and did not.
        """
        ...


JobFunction = Callable[[JobContext, Job], dict[str, Any] | None]

JOBS: dict[str, JobFunction] = {}
"""Job functions by kind, filled as rooms are imported.

Each is idempotent by job id: it may run again after a crash, and does so where it raised ``Unavailable``.
"""


def job(kind: str) -> Callable[[JobFunction], JobFunction]:
    """Mark a function as the one that does jobs of a kind, such as ``data.ingest``."""

    def keep(function: JobFunction) -> JobFunction:
        JOBS[kind] = function
        return function

    return keep
