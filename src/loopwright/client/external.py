"""Watching a model that runs elsewhere: its predictions and outcomes come as frames or files, even months later."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import msgspec

from loopwright.client.frames import (
    Table,
    read_classes,
    read_features,
    read_moments,
    read_numbers,
    read_table,
    read_texts,
    require_columns,
    to_parquet,
)
from loopwright.governance import SYSTEM
from loopwright.kernel.documents import to_builtins
from loopwright.kernel.errors import InvalidInput, NotFound, StepFailed, Unavailable
from loopwright.monitoring import Monitor, MonitorSpec, Report, parse_period
from loopwright.registry import Task
from loopwright.serving import DeploymentSpec

if TYPE_CHECKING:
    import polars as pl

    from loopwright.client.remote import Remote

JOB_TIMEOUT_S = 1800.0
_PROFILE_FIELDS = ("every_us", "over_us", "drift")
"""Fields of a monitor that a reference's profile depends on."""


class Columns(msgspec.Struct, frozen=True):
    """What the columns of a team's own files mean. ``features`` None: whatever is left."""

    id: str
    time: str
    score: str = ""
    answer: str = ""
    label: str = ""
    label_time: str = ""
    personal: list[str] = []
    segments: list[str] = []
    features: list[str] | None = None
    zone: str = "UTC"

    def check(self, task: str) -> None:
        """Refuse columns that contradict each other.

        Raises:
            InvalidInput: Names the argument.
        """
        if not (self.score or self.answer):
            raise InvalidInput("what does the model answer?", field="score", rule="a column of scores or of answers")
        if task == "multiclass" and not self.answer:
            raise InvalidInput("which column is the class?", field="answer", rule="multiclass models answer a class")
        if self.id in self.personal:
            rule = "labels find their prediction by it, so it stays as it is"
            hint = "send a pseudonym of your own"
            raise InvalidInput("the id cannot be personal", field="personal", value=self.id, rule=rule, next_step=hint)
        for field, names in (("segments", self.segments), ("features", self.features or [])):
            if hidden := sorted(set(names) & set(self.personal)):
                raise InvalidInput(
                    "a personal column is never logged", field=field, value=hidden[0], rule="not personal"
                )
        try:
            ZoneInfo(self.zone)
        except (KeyError, ValueError, OSError):
            raise InvalidInput("no time zone has this name", field="zone", value=self.zone) from None

    def of_features(self, frame: "pl.DataFrame", where: str) -> list[str]:
        """Return the features among a frame's columns; segments must be there."""
        known = {self.id, self.time, self.score, self.answer, self.label, self.label_time, *self.personal}
        names = [name for name in frame.columns if name not in known] if self.features is None else self.features
        require_columns(frame, [*names, *self.segments], where)
        return list(dict.fromkeys([*names, *self.segments]))


class External:
    """A model that is served elsewhere, as the platform watches it.

    Args:
        remote: Its project.
        name: Its deployment.
        task: What it answers.
        columns: What the columns of the team's files mean.
        numbers: Features that have to be numbers, as they are in the reference.
    """

    def __init__(
        self, remote: "Remote", name: str, task: str, columns: Columns, numbers: frozenset[str] = frozenset()
    ) -> None:
        self.name = name
        self.columns = columns
        self._numbers = numbers
        self._task = task
        self._remote = remote
        self._deployment = remote.deployment(name)

    def log(self, rows: Table) -> int:
        """Send predictions: a frame, or a Parquet or CSV file; the same id again replaces what was sent before.

        Returns:
            How many predictions were taken.

        Raises:
            InvalidInput: A column is absent or holds something else; names the column, and the row where it is one.
        """
        frame, where = read_table(rows)
        told = self.columns
        require_columns(frame, [name for name in (told.id, told.time, told.score, told.answer) if name], where)
        ids = read_texts(frame, told.id)
        if ids.is_duplicated().any():
            twice = ids.filter(ids.is_duplicated())[0]
            raise InvalidInput(f"{where} has an id twice", field=told.id, value=twice, rule="one prediction an id")
        features = read_features(frame, told.of_features(frame, where), self._numbers)
        heads = {"id": ids.to_list(), "event_at": read_moments(frame, told.time, told.zone).to_list()}
        if told.score:
            heads["score"] = _complete(read_numbers(frame, told.score), told.score)
        if told.answer:
            heads["answer"] = read_classes(frame, told.answer).to_list()
        names = list(heads)
        heading = zip(*heads.values(), strict=True)
        bodies = features.iter_rows(named=True) if features.width else ({} for _ in ids)
        return self._deployment.log(
            [
                {**dict(zip(names, head, strict=True)), "features": body}
                for head, body in zip(heading, bodies, strict=True)
            ]
        )

    def label(self, rows: Table) -> int:
        """Send outcomes: a frame, or a Parquet or CSV file with id and label. Any order, months later; null: not yet.

        Returns:
            How many labels were taken.
        """
        frame, where = read_table(rows)
        told = self.columns
        if not told.label:
            raise InvalidInput("which column is the label?", field="label", next_step='p.external(..., label="...")')
        require_columns(frame, [name for name in (told.id, told.label, told.label_time) if name], where)
        outcomes = frame.get_column(told.label)
        frame = frame.filter(
            outcomes.fill_nan(None).is_not_null() if outcomes.dtype.is_float() else outcomes.is_not_null()
        )
        ids = read_texts(frame, told.id).to_list()
        if told.label_time:
            moments: list[int | None] = read_moments(frame, told.label_time, told.zone).to_list()
        else:
            moments = [self._known_at()] * len(ids)
        labels = self._labels(frame)
        return self._deployment.label(
            [
                {"prediction_id": name, "label": label, "event_at": at}
                for name, label, at in zip(ids, labels, moments, strict=True)
            ]
        )

    def report(self, period: str = "") -> Report:
        """Measure the windows of a period with what is known by now, and return them; printed, it is a table.

        Args:
            period: A year, month or day in UTC, such as ``2026-10``; empty returns what was measured before.
        """
        if period:
            start_at, end_at = parse_period(period)
            for job in self._reference_jobs()[:1]:
                self._finish(job.job_id)
            asked = {"deployment": self.name, "start_at": start_at, "end_at": end_at}
            self._finish(self._remote.call("monitoring.evaluate_range", **asked).job_id)
        found: Report = self._remote.call("monitoring.report", deployment=self.name, period=period)
        return found

    def _labels(self, frame: "pl.DataFrame") -> list[Any]:
        name = self.columns.label
        if self._task == "multiclass":
            return read_classes(frame, name).to_list()
        labels = read_numbers(frame, name)
        if self._task == "binary":
            for row, value in enumerate(labels):
                if value not in (0.0, 1.0):
                    raise InvalidInput("a binary label is 0 or 1", field=f"rows[{row}].{name}", value=value)
        return labels.to_list()

    def _known_at(self) -> int | None:
        """Return the moment that labels without one became known: now, which replay projects have to be told."""
        project = self._remote.call("projects.get", name=self._remote.project)
        return project.clock_at if project.clock == "replay" else None

    def start_reference(self, rows: Table, expected: Mapping[str, float], *, anew: bool) -> None:
        """Upload the rows that windows are compared with, and start the job that profiles them, unless it has run.

        Args:
            rows: A frame or a file; personal columns stay here.
            expected: Quality as the team measured it on held-out rows.
            anew: True if the profile has to be made again in any case.
        """
        import polars as pl

        frame, where = read_table(rows)
        told = self.columns
        names = told.of_features(frame, where)
        kept = read_features(frame, names)
        has_time, has_score = told.time in frame.columns, bool(told.score) and told.score in frame.columns
        if has_score:
            kept = kept.with_columns(read_numbers(frame, told.score))
        if has_time:
            kept = kept.with_columns(read_moments(frame, told.time, told.zone).cast(pl.Datetime("us", "UTC")))
        blob = self._remote.caller.put_blob(self._remote.project, to_parquet(kept))
        args = {
            "columns": names,
            "time": told.time if has_time else "",
            "score": told.score if has_score else "",
            "metrics": dict(expected),
        }
        before = {**args, "digest": blob["digest"]}
        for job in self._reference_jobs()[:1]:
            if not anew and job.state != "failed" and {name: job.args.get(name) for name in before} == before:
                return
        self._remote.call("monitoring.start_reference", deployment=self.name, blob=blob, **args)

    def _reference_jobs(self) -> list[Any]:
        jobs = self._remote.call("jobs.list", kind="monitoring.build_reference", limit=1000)
        return [job for job in jobs if job.args["deployment"] == self.name]

    def _finish(self, job_id: str) -> None:
        """Wait for a job.

        Raises:
            StepFailed: It failed.
            Unavailable: It does not end.
        """
        deadline = time.monotonic() + JOB_TIMEOUT_S
        while True:
            job = self._remote.call("jobs.get", job_id=job_id)
            if job.state == "done":
                return
            if job.state == "failed":
                raise StepFailed(
                    (job.error or {}).get("message", f"{job.kind} failed"), next_step="loopwright logs worker"
                )
            if time.monotonic() > deadline:
                raise Unavailable(f"{job.kind} does not end", value=job.state, next_step="loopwright status")
            time.sleep(0.1)


def declare_external(
    remote: "Remote",
    name: str,
    *,
    task: Task,
    columns: Columns,
    reference: Table | None,
    expected: Mapping[str, float],
    monitor: MonitorSpec,
) -> External:
    """Declare a model that is served elsewhere, what its columns mean and what is watched; the same again is once."""
    columns.check(task)
    if expected and reference is None:
        raise InvalidInput("what was expected belongs to a reference", field="expected", next_step="reference=...")
    numbers = frozenset[str]()
    if reference is not None:
        frame, where = read_table(reference)
        names = columns.of_features(frame, where)
        columns = msgspec.structs.replace(columns, features=names)
        kinds = read_features(frame, names).schema
        numbers = frozenset(feature for feature, dtype in kinds.items() if dtype.is_numeric())
    external = External(remote, name, task, columns, numbers)
    _ensure_project(remote)
    spec = DeploymentSpec(name, name, task, personal=columns.personal, is_external=True)
    remote.call("serving.declare", spec=to_builtins(spec))
    wanted = msgspec.structs.replace(monitor, segments=columns.segments or monitor.segments)
    try:
        before: Monitor | None = remote.call("monitoring.get", deployment=name)
    except NotFound:
        before = None
    after: Monitor = remote.call("monitoring.declare", deployment=name, spec=to_builtins(wanted))
    if reference is not None:
        anew = before is None or _profile_parts(before) != _profile_parts(after)
        external.start_reference(reference, expected, anew=anew)
    return external


def _profile_parts(monitor: Monitor) -> Sequence[Any]:
    return [getattr(monitor.spec, field) for field in _PROFILE_FIELDS]


def _ensure_project(remote: "Remote") -> None:
    """Create the project if it is not there; an actor of that project alone may not, and need not."""
    known = remote.caller.call("projects.list", {}, SYSTEM)
    if all(project.name != remote.project for project in known):
        remote.caller.call("projects.create", {"name": remote.project}, SYSTEM)


def _complete(numbers: "pl.Series", name: str) -> list[float]:
    missing = numbers.is_null()
    if missing.any():
        row = missing.arg_max()
        raise InvalidInput("a score is missing", field=f"rows[{row}].{name}", rule="every row has one")
    return numbers.to_list()
