"""Using a running project from any program: predict, label, push, append, ask why."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from loopwright.client.caller import HttpCaller, find_caller
from loopwright.client.declarations import Monitor
from loopwright.client.external import Columns, External, declare_external
from loopwright.client.frames import Rows, Table, to_parquet, to_rows
from loopwright.client.waiting import RemoteExecution, RemoteJob
from loopwright.config import load_settings
from loopwright.kernel.clock import parse_moment
from loopwright.kernel.documents import convert
from loopwright.kernel.errors import InvalidInput, TooLarge
from loopwright.loop import DeletionPlan, Provenance, Replayed
from loopwright.monitoring import MonitorSpec
from loopwright.registry import Task
from loopwright.store.types import Tombstone

if TYPE_CHECKING:
    import polars as pl


BATCH_ROWS = 5000
"""Rows of one request; a body that is too large still is halved until it fits."""


class Remote:
    """A project on a running server.

    Args:
        project: Its name.
        caller: How to reach the server.
    """

    def __init__(self, project: str, caller: HttpCaller) -> None:
        self.project = project
        self.caller = caller

    def call(self, verb: str, **args: Any) -> Any:
        """Call any verb or query by name."""
        return self.caller.call(verb, args, self.project)

    def start(self, pipeline: str, *, reason: str = "", **params: Any) -> RemoteExecution:
        """Run a pipeline now: ``p.start("fit", learning_rate=0.1).wait()``.

        Args:
            pipeline: Its name; a training is a pipeline of its function's name.
            reason: Why, for the audit trail.
            params: Values in place of the declared ones.
        """
        return RemoteExecution(self, self.call("pipelines.start", pipeline=pipeline, params=params, reason=reason))

    def execution(self, execution_id: str) -> RemoteExecution:
        """Return an execution by its id."""
        return RemoteExecution(self, self.call("pipelines.get", execution_id=execution_id))

    def job(self, job_id: str) -> RemoteJob:
        """Return a job by its id."""
        return RemoteJob(self, self.call("jobs.get", job_id=job_id))

    def deployment(self, name: str) -> "RemoteDeployment":
        """Return the deployment of that name."""
        return RemoteDeployment(self, name)

    def dataset(self, name: str) -> "RemoteDataset":
        """Return the dataset of that name."""
        return RemoteDataset(self, name)

    def external(
        self,
        name: str,
        *,
        task: Task,
        id: str,
        time: str,
        score: str = "",
        answer: str = "",
        label: str = "",
        label_time: str = "",
        reference: Table | None = None,
        expected: Mapping[str, float] | None = None,
        personal: Sequence[str] = (),
        segments: Sequence[str] = (),
        features: Sequence[str] | None = None,
        monitor: MonitorSpec | None = None,
        zone: str = "UTC",
    ) -> External:
        """Watch a model that is served elsewhere; the project is created if it is missing. The same again is once.

        Args:
            name: The deployment.
            task: binary, multiclass or regression.
            id: Column of the team's own id of a prediction; labels find it by that.
            time: Column with the moment it was made.
            score: Column of P(positive), or of the value.
            answer: Column of the class a multiclass model answers.
            label: Column of the outcome, in files of outcomes.
            label_time: Column with the moment an outcome became known; else it is when it was sent.
            reference: Rows that windows are compared with, a frame or file; best some the model was not fitted on.
            expected: Quality on held-out rows, as ``{"roc_auc": 0.78}``; decay is judged against it.
            personal: Columns that stay here: they are never sent.
            segments: Columns by whose values quality is told too.
            features: Columns to log; default those of the reference, else all that are left.
            monitor: What to watch; default ``lw.Monitor()``.
            zone: Time zone of moments that are stored without one.

        Raises:
            InvalidInput: The columns contradict each other, or the reference lacks one.
        """
        columns = Columns(
            id=id,
            time=time,
            score=score,
            answer=answer,
            label=label,
            label_time=label_time,
            personal=list(personal),
            segments=list(segments),
            features=None if features is None else list(features),
            zone=zone,
        )
        return declare_external(
            self,
            name,
            task=task,
            columns=columns,
            reference=reference,
            expected=expected or {},
            monitor=monitor or Monitor(),
        )

    def why(self, prediction_id: str, *, replay: bool = False) -> Provenance:
        """Return the provenance of one prediction.

        Args:
            prediction_id: Its id, or its ref.
            replay: Let the version that answered compute the answer again, and compare it to the bit.
        """
        provenance: Provenance = self.call("loop.why", prediction_id=prediction_id)
        if not replay:
            return provenance
        done = RemoteJob(self, self.call("loop.start_replay", prediction_id=prediction_id)).wait()
        return msgspec.structs.replace(provenance, replay=convert(done.result, Replayed))

    def delete(self, ref: str, *, reason: str) -> Tombstone:
        """Delete a thing with its parts, as ``p.delete("model:late/3", reason="never used")``; twice is once.

        Args:
            ref: Such as ``dataset:late``, ``dataset:late/2``, ``model:late/3``, ``run:run_01…``, ``experiment:tuning``.
            reason: Why; whoever follows the ref later reads it.

        Returns:
            What is left: when it was deleted, by whom.

        Raises:
            Conflict: Something living needs it; ``details["holds"]`` says what, and how to let it go.
        """
        left: Tombstone = self.call("deletion.delete", ref=ref, reason=reason)
        return left

    def deletion_plan(self, ref: str) -> DeletionPlan:
        """Return what would go with a thing, and what keeps it from going; changes nothing."""
        planned: DeletionPlan = self.call("deletion.plan", ref=ref)
        return planned

    def advance(self, to: int | str | datetime) -> Any:
        """Move a replay project's clock and wait until all that was due is done."""
        return self.call("clock.advance", to=parse_moment(to, "to"))

    def close(self) -> None:
        """Let go of the connections."""
        self.caller.close()

    def __repr__(self) -> str:
        return f"<project {self.project} at {self.caller.url}>"


class RemoteDeployment:
    """An endpoint: predictions and their labels."""

    def __init__(self, remote: Remote, name: str) -> None:
        self._remote = remote
        self.name = name
        self._path = f"/v1/{quote(remote.project, safe='')}/deployments/{quote(name, safe='')}"

    def __repr__(self) -> str:
        return f"<deployment {self.name} of {self._remote!r}>"

    def predict(self, rows: Rows) -> list[dict[str, Any]]:
        """Return one answer a row: prediction_id, variant, model_version, score.

        Args:
            rows: Dicts or a frame with the request's fields and entity ids.
        """
        answer = self._remote.caller.gateway(f"{self._path}/predict", {"rows": to_rows(rows)})
        return list(answer["predictions"])

    def label(self, rows: Rows) -> int:
        """Send observed outcomes: dicts or a frame with prediction_id and label. Any order, any lateness.

        Returns:
            How many labels were taken.
        """
        return self._send("labels", to_rows(rows))

    def log(self, rows: Rows) -> int:
        """Send predictions that were made elsewhere: id, event_at, score or answer, features.

        Returns:
            How many predictions were taken.
        """
        return self._send("predictions", to_rows(rows))

    def _send(self, what: str, rows: list[dict[str, Any]], most: int = BATCH_ROWS) -> int:
        """Send rows in batches; each is taken whole or not at all."""
        if len(rows) > most:
            return sum(self._send(what, rows[first : first + most], most) for first in range(0, len(rows), most))
        try:
            return int(self._remote.caller.gateway(f"{self._path}/{what}", {what: rows})["accepted"]) if rows else 0
        except TooLarge:
            if len(rows) == 1:
                raise
            return self._send(what, rows, -(-len(rows) // 2))


class RemoteDataset:
    """A dataset: appended versions and pushed rows."""

    def __init__(self, remote: Remote, name: str) -> None:
        self._remote = remote
        self.name = name

    def delete(self, version: int | None = None, *, reason: str) -> Tombstone:
        """Delete the dataset with all its versions, or one of them.

        Args:
            version: Its number; None for the whole dataset.
            reason: Why.
        """
        return self._remote.delete(f"dataset:{self.name}" + ("" if version is None else f"/{version}"), reason=reason)

    def push(self, rows: Rows) -> int:
        """Send rows as they become known; the online features see them at once.

        Returns:
            How many rows were taken.
        """
        path = f"/v1/{quote(self._remote.project, safe='')}/datasets/{quote(self.name, safe='')}/push"
        return int(self._remote.caller.gateway(path, {"rows": to_rows(rows)})["accepted"])

    def __repr__(self) -> str:
        return f"<dataset {self.name} of {self._remote!r}>"

    def append(self, rows: "pl.DataFrame | str | Path", *, reason: str = "", replace: bool = False) -> RemoteJob:
        """Upload rows as a new version and return the job that checks and commits it: ``append(rows).wait()``.

        Args:
            rows: A frame, or a Parquet file.
            reason: Why, for the audit trail.
            replace: True if these rows are all there is now.
        """
        blob = self._remote.caller.put_blob(self._remote.project, to_parquet(rows))
        operation = "replace" if replace else "append"
        job = self._remote.call(
            "data.start_import", dataset=self.name, operation=operation, blobs=[blob], reason=reason
        )
        return RemoteJob(self._remote, job)


def connect(url: str = "", *, project: str = "", token: str = "", gateway_url: str = "") -> Remote:
    """Return a project of a running server.

    Args:
        url: The server; default ``LOOPWRIGHT_URL``, else the server that runs on ``./.loopwright``.
        project: Its name; default ``LOOPWRIGHT_PROJECT``.
        token: Access token; default ``LOOPWRIGHT_TOKEN``.
        gateway_url: The gateway, where it is not known to the server.
    """
    settings = load_settings()
    name = project or settings.project
    if not name:
        raise InvalidInput("which project?", field="project", next_step="connect(project=...) or LOOPWRIGHT_PROJECT")
    if not url:
        return Remote(name, find_caller(settings))
    return Remote(name, HttpCaller(url, gateway_url or settings.gateway_url, token or settings.token))
