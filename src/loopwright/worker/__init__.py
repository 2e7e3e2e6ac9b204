"""The worker: claims jobs from the server and does them; user code runs in its child processes."""

from loopwright.worker.context import WorkerContext
from loopwright.worker.process import Worker, run

__all__ = ["Worker", "WorkerContext", "run"]
