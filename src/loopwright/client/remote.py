"""Using a running project from any program: predict, label, push, append, ask why."""

import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from loopwright.client.caller import HttpCaller
from loopwright.client.datasets import RemoteDataset
from loopwright.client.declarations import Monitor
from loopwright.client.external import Columns, External, declare_external
from loopwright.client.finding import find_caller
from loopwright.client.frames import Table
from loopwright.client.waiting import RemoteBacktest, RemoteExecution, RemoteJob
from loopwright.config import load_settings
from loopwright.kernel.clock import parse_moment
from loopwright.kernel.documents import convert, to_builtins
from loopwright.kernel.errors import InvalidInput
from loopwright.loop import ClosingTable, DeletionPlan, Provenance, Replayed, with_series
from loopwright.monitoring import MonitorSpec
from loopwright.registry import Task
from loopwright.store.types import Tombstone
from loopwright.wire.endpoints import Endpoint

if TYPE_CHECKING:
    import polars as pl

    from loopwright.client.project import Project


Moment = int | str | datetime


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

    def dataset(self, name: str) -> RemoteDataset:
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
        watched = monitor or Monitor()
        return declare_external(
            self, name, task=task, columns=columns, reference=reference, expected=expected or {}, monitor=watched
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

    def advance(self, to: Moment) -> Any:
        """Move a replay project's clock and wait until all that was due is done."""
        return self.call("clock.advance", to=parse_moment(to, "to"))

    def close(self) -> None:
        """Let go of the connections."""
        self.caller.close()

    def __repr__(self) -> str:
        return f"<project {self.project} at {self.caller.url}>"


class RemoteDeployment(Endpoint):
    """An endpoint: predictions and their labels."""

    def __init__(self, remote: Remote, name: str) -> None:
        super().__init__(remote.project, name, remote.caller.gateway)
        self._remote = remote

    def read_log(self, start_at: Moment, end_at: Moment, *, zone: str = "UTC") -> "pl.DataFrame":
        """Return what was served and what ran unseen beside it, with the labels known by now.

        ``series`` is ``served`` or the shadow's name; ``month`` and ``day`` are those of the zone.

        Args:
            start_at: First event time; ISO 8601, or microseconds UTC.
            end_at: First event time that is out.
            zone: Time zone of months and days.
        """
        import polars as pl

        span = {"start_at": parse_moment(start_at, "start_at"), "end_at": parse_moment(end_at, "end_at")}
        job = RemoteJob(self._remote, self._remote.call("loop.start_export", deployment=self.name, **span)).wait()
        assert job.result is not None
        body = self._remote.caller.get_blob(self._remote.project, job.result["digest"])
        return with_series(pl.read_parquet(io.BytesIO(body)), zone)

    def closing_table(
        self, start_at: Moment, end_at: Moment, *, zone: str = "UTC", rows: str = "predictions", short: str = ""
    ) -> ClosingTable:
        """Return what was served in a stretch, month by month, against the aliases that followed it unseen.

        Args:
            start_at: First event time; ISO 8601, or microseconds UTC.
            end_at: First event time that is out.
            zone: Time zone of months and days.
            rows: What the table calls a prediction.
            short: What the table calls the metric, empty for the metric's own name.
        """
        span = {"start_at": parse_moment(start_at, "start_at"), "end_at": parse_moment(end_at, "end_at")}
        words = {"zone": zone, "rows": rows, "short": short}
        job = self._remote.call("loop.start_closing_table", deployment=self.name, **span, **words)
        return convert(RemoteJob(self._remote, job).wait().result, ClosingTable)

    def backtest(
        self,
        start_at: Moment,
        end_at: Moment,
        *,
        policy: "Project | None" = None,
        zone: str = "UTC",
        keep_project: bool = False,
        reason: str = "",
    ) -> RemoteBacktest:
        """Have a stretch of its history played again: ``late.backtest("2013-03-01", "2013-12-31").wait().months``.

        Args:
            start_at: First moment; ISO 8601, or microseconds UTC.
            end_at: First moment that is out.
            policy: A declared project with the policy to try; default the applied one.
            zone: Time zone of the table's months.
            keep_project: True keeps the scratch project in which it is played.
            reason: Why, for the audit trail.

        Raises:
            NotFound: The policy declares no such deployment.
            InvalidInput: The stretch is empty, or nothing trains the deployment's model.
        """
        spec = None
        if policy is not None:
            declared, packed = policy.draft.to_spec()
            spec = to_builtins(declared)
            if packed:
                self._remote.caller.put_blob(self._remote.project, packed)
        record = self._remote.call(
            "loop.start_backtest",
            deployment=self.name,
            start_at=parse_moment(start_at, "start_at"),
            end_at=parse_moment(end_at, "end_at"),
            policy=spec,
            zone=zone,
            keep_project=keep_project,
            reason=reason,
        )
        return RemoteBacktest(self._remote, record)

    def __repr__(self) -> str:
        return f"<deployment {self.name} of {self._remote!r}>"


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
