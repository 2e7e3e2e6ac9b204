"""The contract of an executor: it runs people's functions, and the platform's own, apart from the worker.

Steps, jobs and rooms to the right know this alone. What is behind it is a pool of child processes of the worker
(``pool.py``); another executor runs them elsewhere.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from loopwright.kernel.code import CodeRef
from loopwright.kernel.lanes import Lane
from loopwright.store.work import READ_S


class CallResult(msgspec.Struct, frozen=True):
    """Output document of a call, and the tail of what it printed."""

    output: Any
    log: bytes


class Executor(Protocol):
    """Runs functions by the digest of their code; threads share it.

    The code sees what it was handed and a scratch folder, and nothing of the platform or of another project.
    """

    def most_at_work(self, lane: Lane) -> int:
        """Return how many functions of users may run at once for the jobs of a lane."""
        ...

    def call(
        self,
        target: CodeRef | str,
        inputs: dict[str, Any],
        *,
        timeout_s: float = 3600.0,
        should_stop: Callable[[], bool] | None = None,
        lane: Lane = "work",
        folder: Path | None = None,
        owner: str = "",
    ) -> CallResult:
        """Call a function with documents by parameter name; its output's blobs are in the store when this returns.

        Args:
            target: A user's function, or ``module:qualname`` of one of the platform's.
            inputs: Documents by parameter name; that of the empty name is the first argument, whatever its name.
            timeout_s: Seconds until it is ended.
            should_stop: Asked now and then; it is ended once this says so.
            lane: Of the job that asks; calls of one lane never wait for those of another.
            folder: Where it may read and write beside its scratch space; nothing of the call outlives it then.
            owner: The project whose code it is: what has seen the rows of one project runs nothing of another's.

        Raises:
            StepFailed: It raised, took too long or too much memory; ``details`` hold the user's frames and log.
        """
        ...

    def prepare(self, target: CodeRef | str, inputs: dict[str, Any]) -> None:
        """Call a function in the background, so that calls to come find its libraries loaded."""
        ...

    def transform(
        self,
        code: CodeRef,
        rows: Path,
        out: Path,
        *,
        timeout_s: float = 3600.0,
        should_stop: Callable[[], bool] | None = None,
        lane: Lane = "work",
        owner: str = "",
    ) -> CallResult:
        """Run a function from LazyFrame to LazyFrame over a Parquet file; arguments and errors as of ``call``."""
        ...

    def read(
        self,
        function: str,
        inputs: dict[str, Any],
        files: Mapping[str, Path],
        out: Path,
        *,
        roots: Sequence[Path],
        what: str,
        timeout_s: float = READ_S,
        should_stop: Callable[[], bool] | None = None,
        lane: Lane = "work",
    ) -> Any:
        """Have files read by a function of the platform, which writes what it made of them to ``out``.

        Args:
            function: ``module:qualname``; called with where to write, a scratch folder, ``files`` and ``inputs``.
            inputs: JSON by parameter name.
            files: What it is handed.
            out: Where what it wrote comes.
            roots: Folders below which it reads files beside those.
            what: What is read, for errors.
            timeout_s: Seconds until it is ended.
            should_stop: Asked now and then; it is ended once this says so.
            lane: Of the job that asks.

        Returns:
            What the function returned: JSON.

        Raises:
            LoopwrightError: What the function raised.
            ReaderEnded: It crashed, took too long or too much memory. What the system killed is tried once more.
        """
        ...

    def ask(
        self,
        function: str,
        inputs: dict[str, Any],
        files: Mapping[str, Path],
        folder: Path,
        *,
        file: Path | None,
        what: str,
        timeout_s: float = READ_S,
        should_stop: Callable[[], bool] | None = None,
        lane: Lane = "work",
    ) -> Any:
        """Have a database asked by a function of the platform; arguments and errors else as of ``read``.

        Args:
            function: ``module:qualname``.
            inputs: JSON by parameter name.
            files: What it is handed.
            folder: Where it writes what it was answered.
            file: The database, where it is a file of this machine; others are reached over the network.
            what: What is asked, for errors.
            timeout_s: Seconds until it is ended.
            should_stop: Asked now and then; it is ended once this says so.
            lane: Of the job that asks.
        """
        ...
