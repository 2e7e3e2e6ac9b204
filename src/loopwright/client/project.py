"""A project as its file declares it. Declaring does nothing; ``apply`` shows the plan and makes it so."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from loopwright import client
from loopwright.client.drafts import Draft
from loopwright.client.handles import Column, Command, Dataset, Deployment, RequestFeatures, Service, Step, Train, View
from loopwright.data import CheckSpec, DatasetSpec, KnownAt, SourceSpec
from loopwright.features import RIPE_SHARES, Aggregate, AggregateViewSpec, ColumnViewSpec
from loopwright.kernel.clock import parse_duration, parse_moment
from loopwright.kernel.errors import InvalidInput
from loopwright.kernel.refs import check_name
from loopwright.loop import CommandSpec, ModelOutput, ProjectSpec, RetrainSpec, TrainSpec, When, commands
from loopwright.monitoring import MonitorSpec
from loopwright.registry import GateSpec
from loopwright.serving import ApproveSpec, CanaryStep, DeploymentSpec, RolloutStep, ShadowStep
from loopwright.store.keeping import check_declared, read_keep
from loopwright.store.types import Retention

_OWN = Path(__file__).resolve().parents[1]
D = TypeVar("D")
F = TypeVar("F", bound=Callable[..., Any])
Named = str | Sequence[str]


class Project:
    """Isolation and permission scope, and everything declared in it.

    Args:
        name: Unique for ever; letters, digits, ``_ . -``.
        owner: Team or person that answers for it.
        risk: Read by policies.
        clock: ``replay`` for a project whose time is moved by hand over history.
        clock_at: Where a replay clock starts.
        files: Files of the folder that the code reads beside Python, such as ``["config.json", "sql/*.sql"]``. They
            travel with the code, and a change of one is a change of the code; nothing else of the folder does.
        retention: How long rows are kept, by kind: ``{"predictions": "180d", "labels": "180d", "pushes": "30d",
            "points": "90d"}``, the last of metrics of runs that ended. ``"predictions:late": "forever"`` is for one
            deployment, dataset or experiment alone. What is not said stays; an admin applies a change of it.
    """

    def __init__(
        self,
        name: str,
        *,
        owner: str = "",
        risk: Literal["low", "medium", "high"] = "low",
        clock: Literal["wall", "replay"] = "wall",
        clock_at: str | int = 0,
        files: Sequence[str] = (),
        retention: Mapping[str, str] | None = None,
    ) -> None:
        self.name = check_name(name, "project")
        head = ProjectSpec(name, owner, risk, clock, parse_moment(clock_at, "clock_at"))
        head = msgspec.structs.replace(head, retentions=_read_retention(retention or {}))
        self.draft = Draft(head, _calling_folder(), files)

    def dataset(
        self,
        name: str,
        source: SourceSpec,
        *,
        key: Named,
        time: str | None = None,
        known_at: Mapping[str, str | KnownAt] | KnownAt | None = None,
        transform: Callable[..., Any] | None = None,
        checks: Sequence[CheckSpec] = (),
        personal: Sequence[str] = (),
        takes_labels: bool = False,
        takes_pushes: bool | None = None,
        every: str | None = None,
    ) -> Dataset:
        """Declare a dataset.

        Args:
            name: Its name.
            source: ``lw.source.parquet(...)`` and the like.
            key: Columns that name a row.
            time: The event-time column, a Datetime with a time zone.
            known_at: When values became known: ``{"is_late": "landed_at"}``, or ``lw.after("seen_at", "1h")`` for all.
            transform: A function from a Polars LazyFrame to a LazyFrame, run on ingest and on push.
            checks: Assertions; a failing blocking one quarantines the version.
            personal: Columns that no log of predictions or pushes holds, as inputs, keys or features.
            takes_labels: Outcomes that are sent to the deployments trained on it complete its rows, every hour, by the
                keys that came with the requests: nobody has to send them twice.
            takes_pushes: Rows that are pushed become a version, every hour, each once: nobody has to append them too.
                None for yes where they come from a topic.
            every: How often the source is read again, such as ``1h``; None where somebody asks for it.
        """
        known = {"*": known_at} if isinstance(known_at, KnownAt) else dict(known_at or {})
        spec = DatasetSpec(
            name=check_name(name, "dataset"),
            source=source,
            key=[key] if isinstance(key, str) else list(key),
            time=time,
            known_at={column: KnownAt(at) if isinstance(at, str) else at for column, at in known.items()},
            checks=list(checks),
            personal=list(personal),
            takes_labels=takes_labels,
            takes_pushes=source.kind == "topic" if takes_pushes is None else takes_pushes,
            every_us=None if every is None else parse_duration(every, "every"),
        )
        return self._declare("dataset", name, Dataset(self, spec, transform))

    def features(
        self, dataset: Dataset, *, entity: str, columns: Sequence[str], ttl: str | None = None, name: str = ""
    ) -> View:
        """Declare features that are the latest known values of columns, by entity; older than ``ttl`` is missing."""
        name = name or f"{dataset.spec.name}_by_{entity}"
        ttl_us = None if ttl is None else parse_duration(ttl, "ttl")
        return self._declare("view", name, View(ColumnViewSpec(name, dataset.spec.name, entity, list(columns), ttl_us)))

    def aggregates(
        self,
        dataset: Dataset,
        *,
        entity: str,
        over: Sequence[str],
        counts: Literal["event", "known"] = "event",
        name: str = "",
        **aggregates: Aggregate,
    ) -> View:
        """Declare windowed aggregates by entity: ``over=["3h", "24h"], late_share=lw.agg.mean("is_late")``.

        ``counts="known"`` cuts the windows by when a value became known instead of when it happened.
        """
        if not aggregates:
            raise InvalidInput("which aggregates?", field="aggregates", next_step='late_share=lw.agg.mean("is_late")')
        name = name or f"{dataset.spec.name}_by_{entity}"
        windows = [parse_duration(window, "over") for window in over]
        named = [msgspec.structs.replace(aggregate, name=label) for label, aggregate in aggregates.items()]
        return self._declare(
            "view", name, View(AggregateViewSpec(name, dataset.spec.name, entity, windows, named, counts))
        )

    def on_request(
        self, *, inputs: Sequence[str], outputs: Sequence[str] | None = None
    ) -> Callable[[Callable[..., Any]], RequestFeatures]:
        """Declare features computed from a request: a function from a Polars frame of ``inputs`` to a frame.

        The same function serves and trains. ``outputs`` are found by a dry run unless given.
        """

        def keep(function: Callable[..., Any]) -> RequestFeatures:
            made = RequestFeatures(function.__name__, function, list(inputs), list(outputs) if outputs else None)
            return self._declare("request", function.__name__, made)

        return keep

    def feature_service(
        self, name: str, parts: Sequence[View | RequestFeatures], *, label: Column, task: str
    ) -> Service:
        """Declare the features one model uses, in order, and the column it predicts."""
        return self._declare("service", name, Service(check_name(name, "feature_service"), list(parts), label, task))

    def train(
        self,
        *,
        model: str,
        inputs: Service,
        window: str = "all",
        holdout: str | None = "14d",
        refit: bool = True,
        mature: str | None = None,
        name: str = "",
        alias: str = "",
        every: str | None = None,
        **params: Any,
    ) -> Callable[[Callable[..., Any]], Train]:
        """Declare the standard training pipeline around a function ``fit(rows, **params) -> model``.

        Args:
            model: Name of the model its versions are registered under.
            inputs: The feature service.
            window: How far back rows go: ``all`` or a duration.
            holdout: The newest stretch, kept out of the fit and used to evaluate; None for no evaluation.
            refit: Fit the same recipe again on everything after the gates passed.
            mature: Rows so young that their labels are not ripe are used for nothing: ``99%`` leaves out those of which
                fewer labels are known, of each class, as learned from the labels so far (``50%``, ``90%``, ``99%``); a
                duration those younger than it. Without it the quick labels of the newest rows stand for all.
            name: Default the function's name.
            alias: Set on the result at once, without gates: a blind retrain.
            every: Start it again and again in the project's time.
            params: Defaults of the function's parameters.
        """

        def keep(function: Callable[..., Any]) -> Train:
            function = function.function if isinstance(function, Train) else function
            spec = TrainSpec(
                name=check_name(name or function.__name__, "train"),
                model=check_name(model, "model"),
                service=inputs.name,
                function=None,  # type: ignore[arg-type]
                window_us=None if window == "all" else parse_duration(window, "window"),
                holdout_us=None if holdout is None else parse_duration(holdout, "holdout"),
                refit=refit and holdout is not None,
                params={**_defaults(function), **params},
                alias=alias,
                schedule_us=None if every is None else parse_duration(every, "every"),
                **_maturity(mature),
            )
            return self._declare("train", spec.name, Train(spec, function))

        return keep

    def step(self, function: F | None = None, *, retries: int = 0, timeout: str = "1h", cache: bool = True) -> Any:
        """Declare a step: ``@p.step`` or ``@p.step(retries=2, timeout="10m")``; call it inside ``@p.pipeline``."""

        def keep(inner: Callable[..., Any]) -> Step:
            timeout_s = parse_duration(timeout, "timeout") / 1e6
            return Step(inner.__name__, inner, retries, timeout_s, cache)

        return keep if function is None else keep(function)

    def pipeline(self, function: F | None = None, *, every: str | None = None) -> Any:
        """Declare a pipeline: a function that calls steps; it is traced into a DAG when the project is applied."""

        def keep(inner: Callable[..., Any]) -> Callable[..., Any]:
            schedule = None if every is None else parse_duration(every, "every")
            self._declare("pipeline", inner.__name__, (inner, schedule))
            return inner

        return keep if function is None else keep(function)

    def command(
        self,
        name: str,
        command: str,
        *,
        inputs: Mapping[str, Dataset],
        outputs: Mapping[str, ModelOutput],
        env: str = "",
        params: Mapping[str, Any] | None = None,
        timeout: str = "1h",
        every: str | None = None,
    ) -> Command:
        """Declare an existing script as a pipeline: ``"python train.py --data {data} --out {out}"``. No shell runs it.

        Args:
            name: Of the pipeline and of the experiment its runs belong to.
            command: Words; ``{name}`` stands for an input's Parquet file, an output's file or a param.
            inputs: Datasets by name; their newest version is read.
            outputs: Models by name, ``lw.model(...)``: files the command writes.
            env: The lock file of its environment, kept with each run.
            params: Defaults of params.
            timeout: The command and all it started are ended after that.
            every: Run it again and again in the project's time.
        """
        params = dict(params or {})
        if clash := sorted({*inputs} & {*outputs} | {*params} & {*inputs, *outputs}):
            raise InvalidInput("this name is used twice", field="command", value=clash[0])
        for kind, rule, given in (
            (Dataset, "inputs are datasets of p.dataset(...)", inputs),
            (ModelOutput, "outputs are made by lw.model(...)", outputs),
        ):
            if wrong := [one for one, value in given.items() if not isinstance(value, kind)]:
                raise InvalidInput("this cannot be an input or output", field=wrong[0], rule=rule)
        words = commands.read_words(command, {*inputs, *outputs, *params}, {*outputs})
        named = {one: dataset.spec.name for one, dataset in inputs.items()}
        spec = CommandSpec(check_name(name, "command"), words, named, dict(outputs))
        schedule = None if every is None else parse_duration(every, "every")
        made = Command(spec, params, parse_duration(timeout, "timeout") / 1e6, schedule, env)
        return self._declare("command", name, made)

    def deployment(
        self,
        name: str,
        *,
        model: str,
        task: str = "",
        gates: Sequence[GateSpec] = (),
        rollout: Sequence[ShadowStep | list[CanaryStep]] = (),
        approve: ApproveSpec = ApproveSpec(),  # noqa: B008 - frozen
        follow: Sequence[str] = (),
        sticky: str = "",
        personal: Sequence[str] = (),
        timeout: str | None = None,
        monitor: MonitorSpec | None = None,
        retrain: "RetrainDraft | None" = None,
    ) -> Deployment:
        """Declare an addressable endpoint with its gates, rollout, approvals, monitoring and retrain policy.

        ``follow`` names aliases that always run as unseen shadows beside the served version. ``personal`` names
        features that are left out of the prediction log, beside the personal columns of the datasets they come from.
        ``timeout`` is how long one request may take, such as ``"2s"``; 10 seconds where it is not said.
        """
        steps: list[RolloutStep] = []
        for one in rollout:
            steps += one if isinstance(one, list) else [one]
        spec = DeploymentSpec(
            name=check_name(name, "deployment"),
            model=model,
            task=task,
            gates=list(gates),
            rollout=steps,
            approve=approve,
            follow=list(follow),
            sticky=sticky,
            personal=list(personal),
            timeout_us=None if timeout is None else parse_duration(timeout, "timeout"),
        )
        policy = None
        if retrain is not None:
            policy = RetrainSpec(name, retrain.train.spec.name, list(retrain.when), retrain.most, retrain.per_us)
        return self._declare("deployment", name, Deployment(self, spec, monitor, policy))

    def external(
        self, name: str, *, task: str, monitor: MonitorSpec | None = None, personal: Sequence[str] = ()
    ) -> Deployment:
        """Declare a model that is served elsewhere: it gets predictions, labels, windows and incidents alike."""
        spec = DeploymentSpec(
            name=check_name(name, "deployment"), model=name, task=task, personal=list(personal), is_external=True
        )
        return self._declare("deployment", name, Deployment(self, spec, monitor, None))

    def apply(self, *, confirm: "Callable[[Any], bool] | None" = None) -> "client.Applied":
        """Show the server what is declared, and make it so; ``confirm`` sees the plan and may refuse it."""
        return client.apply_project(self, confirm)

    def _declare(self, kind: str, name: str, made: D) -> D:
        self.draft.keep(kind, name, made)
        return made


class RetrainDraft(msgspec.Struct, frozen=True):
    """A retrain policy as written: which training, when, and how often at most."""

    train: Train
    when: list[When]
    most: int
    per_us: int


def Retrain(train: Train, *, when: Sequence[When], at_most: str = "1 per 30d") -> RetrainDraft:  # noqa: N802
    """Say when the platform trains again by itself, at most ``1 per 30d`` of event time."""
    count, _, period = at_most.partition(" per ")
    if not count.isdigit() or not period:
        raise InvalidInput("this is not a budget", field="at_most", value=at_most, rule="a number, 'per', a duration")
    if not isinstance(train, Train):
        raise InvalidInput("which training?", field="train", value=train, next_step="a function under @p.train")
    return RetrainDraft(train, list(when), int(count), parse_duration(period, "at_most"))


def _read_retention(declared: Mapping[str, str]) -> list[Retention]:
    """Return declarations as written, such as ``{"predictions:late": "90d"}``.

    Raises:
        InvalidInput: A kind is not known, or a time no duration of a day or more.
    """
    found = []
    for name, keep in declared.items():
        kind, _, stream = name.partition(":")
        made = Retention(kind, stream, read_keep(keep, f"retention.{name}"))
        check_declared(made, f"retention.{name}")
        found.append(made)
    return found


def _maturity(mature: str | None) -> dict[str, Any]:
    """Return when labels are ripe, as a training keeps it: by a share of them, or by the age of their rows."""
    if mature is None:
        return {}
    if not mature.endswith("%"):
        return {"embargo_us": parse_duration(mature, "mature")}
    shares = {f"{share:.0%}": share for share in RIPE_SHARES}
    if mature not in shares:
        rule = f"{', '.join(shares)}, or a duration such as 30d"
        raise InvalidInput("this is no share of the labels", field="mature", value=mature, rule=rule)
    return {"mature": shares[mature]}


def _defaults(function: Callable[..., Any]) -> dict[str, Any]:
    parameters = list(inspect.signature(function).parameters.values())[1:]
    return {parameter.name: parameter.default for parameter in parameters if parameter.default is not parameter.empty}


def _calling_folder() -> Path:
    """Return the folder of the file that makes the project; the working folder in a notebook."""
    for frame in inspect.stack()[2:]:
        path = Path(frame.filename)
        if path.exists() and _OWN not in path.resolve().parents:
            return path.resolve().parent
    return Path.cwd()
