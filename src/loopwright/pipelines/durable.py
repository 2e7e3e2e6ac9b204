"""The durable engine behind executions: DBOS Transact, and the only module that knows it.

The engine only resumes: after a crash it starts the interpreter again for every execution that had not ended here, and
remembers which steps answered. Outputs, states and errors are our rows. Each worker has its own engine file; where that
file is lost, or another worker takes over, the rows alone say which steps are left.
"""

import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from loopwright.pipelines.interpreter import Checkpoint, interpret
from loopwright.pipelines.steps import PipelineContext

VERSION = "1"
"""Version of the interpreter as the engine knows it; a hash of the code would strand executions after an edit."""
POLL_S = 0.05

_lock = threading.Lock()
_engines: "list[Engine]" = []


class Engine:
    """One engine in this process; DBOS allows no second.

    Args:
        folder: Where ``engine.sqlite`` lies.
        context: What the steps of resumed executions may use.
    """

    def __init__(self, folder: Path, context: PipelineContext) -> None:
        self._folder = folder
        self._context = context
        self._contexts: dict[str, PipelineContext] = {}
        self._workflow: Callable[[str, str, str], dict[str, Any]] = self._launch()

    def run(self, context: PipelineContext, project: str, execution_id: str, round_number: int) -> dict[str, Any]:
        """Start an execution, or attach to it where it runs already, and wait until it ends."""
        from dbos import DBOS, SetWorkflowID

        workflow_id = execution_id if round_number == 1 else f"{execution_id}.{round_number}"
        self._contexts[workflow_id] = context
        try:
            with SetWorkflowID(workflow_id):
                handle = DBOS.start_workflow(self._workflow, project, execution_id, workflow_id)
            result = handle.get_result(polling_interval_sec=POLL_S)
            # Our rows say how it ended; kept here, it would only make the file grow.
            DBOS.delete_workflow(workflow_id)
            return result
        finally:
            self._contexts.pop(workflow_id, None)

    def close(self) -> None:
        """Let go; what has not ended resumes at the next launch."""
        from dbos import DBOS

        DBOS.destroy(destroy_registry=True)

    def _launch(self) -> Callable[[str, str, str], dict[str, Any]]:
        from dbos import DBOS, DBOSPortableJSONSerializer

        self._folder.mkdir(parents=True, exist_ok=True)
        file = engine_file(self._folder)
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        DBOS(
            config={
                "name": "loopwright",
                "system_database_url": f"sqlite:///{file}",
                "serializer": DBOSPortableJSONSerializer(),
                "application_version": VERSION,
                "executor_id": "worker",
                "enable_otlp": False,
                "console_log_level": "ERROR",
                "notification_listener_polling_interval_sec": POLL_S,
                "sys_db_pool_size": 5,
            }
        )

        @DBOS.workflow(name="run_execution")
        def run_execution(project: str, execution_id: str, workflow_id: str) -> dict[str, Any]:
            return self._interpret(project, execution_id, workflow_id)

        DBOS.launch()
        return run_execution

    def _interpret(self, project: str, execution_id: str, workflow_id: str) -> dict[str, Any]:
        """Interpret the DAG of one execution, each step at a place the engine remembers."""
        from dbos import DBOS

        def reserve(name: str) -> Checkpoint:
            place = DBOS.reserve_step()
            return lambda work: place.run({"name": name}, work)

        context = self._contexts.get(workflow_id, self._context)
        return interpret(context, project, execution_id, reserve)


def engine_file(folder: Path) -> Path:
    """Return the engine's database file."""
    return folder / "engine.sqlite"


def engine_for(context: PipelineContext) -> Engine:
    """Return the engine of this process, launched at first use."""
    with _lock:
        if not _engines:
            _engines.append(Engine(context.state_dir / "worker", context))
        return _engines[0]


def resume(context: PipelineContext) -> None:
    """Launch the engine if it ever ran here, so that executions of a killed worker go on at once."""
    if engine_file(context.state_dir / "worker").exists():
        engine_for(context)


def close() -> None:
    """End the engine of this process, if it was launched."""
    with _lock:
        while _engines:
            _engines.pop().close()
