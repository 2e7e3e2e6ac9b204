"""Apply: compare what is declared with what was applied, show the plan, and make it so in one transaction."""

from collections.abc import Callable, Iterable
from itertools import zip_longest
from typing import Any

import msgspec

from loopwright import data, features, monitoring, pipelines, registry, serving
from loopwright.features import ServiceSpec
from loopwright.kernel.bounds import check_count, first_repeated
from loopwright.kernel.clock import format_duration
from loopwright.kernel.digests import MaybeDigest
from loopwright.kernel.documents import convert, digest_of, to_builtins
from loopwright.kernel.errors import Conflict, InvalidInput
from loopwright.kernel.refs import check_name
from loopwright.kernel.suggestions import suggest
from loopwright.kernel.verbs import Role, query, verb
from loopwright.loop import sql
from loopwright.loop.events import ProjectApplied
from loopwright.loop.housekeeping import declared_retention
from loopwright.loop.label_feed import plan_feeds
from loopwright.loop.loosening import needs_approver, require_policies
from loopwright.loop.push_feed import plan_push_feeds
from loopwright.loop.retrain import answers_of, check_policy
from loopwright.loop.training.commands import check_command, command_spec, is_command
from loopwright.loop.training.pipeline import training_pipeline
from loopwright.loop.types import Plan, PlannedChange, ProjectSpec, RetrainSpec
from loopwright.pipelines import PipelineSpec
from loopwright.store import jobs
from loopwright.store.tx import Tx

MOST_CHECKS = 5_000
"""Of all datasets together."""
_KINDS = ("datasets", "views", "requests", "services", "pipelines", "trains", "deployments", "retrains")
_REF_KIND = {
    "datasets": "dataset",
    "views": "view",
    "requests": "request",
    "services": "feature_service",
    "pipelines": "pipeline",
    "trains": "train",
    "deployments": "deployment",
    "retrains": "retrain_policy",
    "monitors": "monitor",
}


@query("loop.plan", role=Role.EDITOR)
def plan(tx: Tx, *, spec: ProjectSpec) -> Plan:
    """Return what ``apply`` would change; changes nothing."""
    check_spec(spec)
    spec = _shown(spec)
    found = sql.newest_spec(tx)
    before = ProjectSpec(spec.name) if found is None else _without_deleted(tx, found[2])
    changes: list[PlannedChange] = []
    for kind in _KINDS:
        changes += _compare(tx, kind, _named(getattr(before, kind)), _named(getattr(spec, kind)))
    changes += _compare(tx, "monitors", to_builtins(before.monitors), to_builtins(spec.monitors))
    declared_retention.check_streams(tx, spec)
    changes += declared_retention.compare(tx, before.retentions, spec.retentions)
    changes = _with_more(changes, {**_moved_services(tx, spec, changes), **_moved_trainings(tx, spec)})
    barred = needs_approver(tx, spec)
    changes = [
        msgspec.structs.replace(change, needs_approver=barred[change.ref]) if change.ref in barred else change
        for change in changes
    ]
    base = "" if found is None else digest_of(to_builtins(before))
    return Plan(tx.project, digest_of([base, to_builtins(spec)]), changes)


@verb("loop.apply", changes=ProjectSpec)
def apply(tx: Tx, *, spec: ProjectSpec, plan_digest: MaybeDigest = "") -> Plan:
    """Make a spec so: declare every dataset, view, pipeline and deployment; import files that were never imported.

    Raises:
        Conflict: ``plan_digest`` is not the digest of the plan as it is now.
        PermissionDenied: It would loosen a rule, and the caller is no approver and has no approval of this very change.
    """
    planned = plan(tx, spec=spec)
    for monitor in spec.monitors.values():
        monitoring.keep_targets(tx, monitor.channels)
    spec = _shown(spec)
    if plan_digest and planned.digest != plan_digest:
        raise Conflict(
            "the project changed since the plan was shown",
            field="plan_digest",
            next_step="look at it again: loopwright apply FILE",
        )
    found = sql.newest_spec(tx)
    is_same = found is not None and found[1] == digest_of(to_builtins(spec))
    if is_same and all(change.change == "unaffected" for change in planned.changes):
        _import_first(tx, spec)
        return planned
    if found is not None and _declares_nothing(spec):
        # A project that is only named, as by lw.Project("churn").apply(), is not one that gives up what it declared.
        declared_retention.make_so(tx, spec.retentions)
        return planned
    tx.require_blobs(*named_blobs(spec))
    require_policies(tx, spec)
    _declare_everything(tx, spec)
    number = 1 if found is None else found[0] + 1
    digest = digest_of(to_builtins(spec))
    sql.insert_spec(tx, number, digest, spec)
    plan_feeds(tx, spec)
    plan_push_feeds(tx, spec)
    for dataset in spec.datasets:
        data.plan_import(tx, dataset=dataset.name)
    new, changed = (sum(change.change == kind for change in planned.changes) for kind in ("new", "changed"))
    ref = tx.ref("project", tx.project, number)
    tx.emit(ProjectApplied(spec.code_digest, new, changed, digest), ref)
    return planned


@query("loop.spec")
def current_spec(tx: Tx) -> ProjectSpec:
    """Return the spec that was applied last."""
    found = sql.newest_spec(tx)
    if found is None:
        raise InvalidInput("nothing was applied to this project yet", next_step="loopwright apply FILE")
    return found[2]


def _without_deleted(tx: Tx, spec: ProjectSpec) -> ProjectSpec:
    """Return what was applied without what was deleted since: where it is declared still it is new again."""
    there = {"datasets": {dataset.name for dataset in data.list_datasets(tx)}}
    there["pipelines"] = there["trains"] = {pipeline.name for pipeline in pipelines.list_pipelines(tx)}
    for kind, field in (("view", "views"), ("request", "requests"), ("service", "services")):
        there[field] = {definition.name for definition in features.list_definitions(tx, kind=kind)}
    kept = {
        field: [declared for declared in getattr(spec, field) if declared.name in names]
        for field, names in there.items()
    }
    return msgspec.structs.replace(spec, **kept)


def _declares_nothing(spec: ProjectSpec) -> bool:
    return not any(getattr(spec, kind) for kind in _KINDS)


def _shown(spec: ProjectSpec) -> ProjectSpec:
    """Return a spec as it is kept and shown: without secrets."""
    monitors = {name: monitoring.shown_spec(monitor) for name, monitor in spec.monitors.items()}
    return msgspec.structs.replace(spec, monitors=monitors)


def named_blobs(spec: ProjectSpec) -> list[str]:
    """Return the digests of all that a spec would open: code, and values of pipelines."""
    code = [spec.code_digest, *(train_spec.function.digest for train_spec in spec.trains)]
    code += [command_spec(pipeline).code_digest for pipeline in spec.pipelines if is_command(pipeline)]
    inside = [digest for pipeline in spec.pipelines for digest in pipelines.named_blobs(pipeline)]
    return sorted({digest for digest in [*code, *inside] if digest})


def _declare_everything(tx: Tx, spec: ProjectSpec) -> None:
    """Declare in the order in which one thing names another; then import files that were never imported."""
    for declare, specs in (
        (data.declare, spec.datasets),
        (features.declare_view, spec.views),
        (features.declare_request, spec.requests),
        (features.declare_service, spec.services),
        (pipelines.declare_built, [*spec.pipelines, *(training_pipeline(train, spec) for train in spec.trains)]),
        (serving.declare, spec.deployments),
    ):
        _declare_each(tx, declare, specs)
    policies = {policy.deployment: policy for policy in spec.retrains}
    for name, monitor in spec.monitors.items():
        monitoring.declare(tx, deployment=name, spec=monitor, policy=answers_of(policies.get(name)))
    declared_retention.make_so(tx, spec.retentions)
    _import_first(tx, spec)


def _import_first(tx: Tx, spec: ProjectSpec) -> None:
    """Import the files of datasets without a version, unless that is under way: an import before may have failed."""
    under_way = {job.ref for job in jobs.list_jobs(tx, states=["queued", "running"], kind="data.import")}
    for dataset in spec.datasets:
        if dataset.source.is_sent or tx.ref("dataset", dataset.name) in under_way:
            continue
        if not data.list_versions(tx, dataset=dataset.name, limit=1):
            data.start_import(tx, dataset=dataset.name, operation="replace", reason="first import")


def _declare_each(tx: Tx, declare: Callable[..., object], specs: Iterable[object]) -> None:
    for spec in specs:
        declare(tx, spec=spec)


def _named(specs: Iterable[Any]) -> dict[str, Any]:
    return {_name(spec): to_builtins(spec) for spec in specs}


def _name(spec: Any) -> str:
    name: str = spec.deployment if isinstance(spec, RetrainSpec) else spec.name
    return name


def _compare(tx: Tx, kind: str, before: dict[str, Any], after: dict[str, Any]) -> list[PlannedChange]:
    changes = []
    for name in [*after, *(name for name in before if name not in after)]:
        ref = tx.ref(_REF_KIND[kind], name)
        if name not in before:
            changes.append(PlannedChange(ref, "new"))
        elif name not in after:
            changes.append(PlannedChange(ref, "undeclared", [_stays(kind, name)]))
        else:
            details = _differences(_without_code(before[name]), _without_code(after[name]))
            if kind == "datasets" and any(told.startswith(("source", "transform")) for told in details):
                details += _unread(tx, name, after[name]["source"])
            changes.append(PlannedChange(ref, "changed" if details else "unaffected", details))
    return changes


def _unread(tx: Tx, dataset: str, source: dict[str, Any]) -> list[str]:
    """Say that rows which were read before stay as they were read, and how files are read again."""
    if not data.list_versions(tx, dataset=dataset, limit=1):
        return []  # they are read for the first time as this is applied
    is_sent = convert(source, data.SourceSpec).is_sent
    again = "" if is_sent else f"; afterwards: loopwright import {dataset} --as replace -p {tx.project}"
    return [f"rows that are there stay as they were read{again}"]


def _stays(kind: str, name: str) -> str:
    """Say that what is no longer declared stays, and how it would go where it can."""
    if kind == "retrains":
        return "ends: nothing is trained again by itself"
    stays = "stays as it is; nothing is deleted"
    if kind in ("deployments", "monitors"):
        return stays
    return f"{stays} (loopwright delete {_REF_KIND[kind]}:{name} does that)"


def _moved_services(tx: Tx, spec: ProjectSpec, changes: list[PlannedChange]) -> dict[str, list[str]]:
    """Return the feature services whose views or on-request functions change, with why."""
    changed = {planned_change.ref for planned_change in changes if planned_change.change == "changed"}
    moved = {}
    for service in spec.services:
        read = [("view", name) for name in service.views] + [("request", name) for name in service.requests]
        details = [f"{kind} {name} changes" for kind, name in read if tx.ref(kind, name) in changed]
        if details:
            moved[tx.ref("feature_service", service.name)] = details
    return moved


def _moved_trainings(tx: Tx, spec: ProjectSpec) -> dict[str, list[str]]:
    """Return the trainings whose steps change although they do not: with gates, or with the platform."""
    known = {pipeline.name: pipeline.spec for pipeline in pipelines.list_pipelines(tx)}
    moved = {}
    for train in spec.trains:
        if train.name in known:
            before, after = (
                _steps(pipeline_spec) for pipeline_spec in (known[train.name], training_pipeline(train, spec))
            )
            names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
            if names:
                moved[tx.ref(_REF_KIND["trains"], train.name)] = [f"steps that change: {', '.join(names)}"]
    return moved


def _steps(spec: PipelineSpec) -> dict[str, Any]:
    return {step.name: _without_code(to_builtins(step)) for step in spec.steps}


def _with_more(changes: list[PlannedChange], moved: dict[str, list[str]]) -> list[PlannedChange]:
    """Return the plan with what changes because something else does."""
    return [
        PlannedChange(planned_change.ref, "changed", planned_change.details or moved[planned_change.ref])
        if planned_change.ref in moved and planned_change.change in ("changed", "unaffected")
        else planned_change
        for planned_change in changes
    ]


def _without_code(document: Any) -> Any:
    """Drop the digest of the whole package, so that only functions that changed count as changed."""
    if isinstance(document, dict):
        is_code = {"digest", "function_digest"} <= set(document)
        return {name: _without_code(value) for name, value in document.items() if not (is_code and name == "digest")}
    return [_without_code(value) for value in document] if isinstance(document, list) else document


def _differences(before: Any, after: Any, path: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        found: list[str] = []
        for name in sorted({*before, *after}):
            found += _differences(before.get(name), after.get(name), f"{path}.{name}" if path else name)
        return found
    if isinstance(before, list) and isinstance(after, list) and any(isinstance(one, dict) for one in before + after):
        pairs = zip_longest(before, after)
        return [one for index, pair in enumerate(pairs) for one in _differences(*pair, f"{path}[{index}]")]
    if before == after:
        return []
    # Declared as durations, so told as durations.
    told = path.removesuffix("_us")
    return [f"{told}: {_short(before, told != path)} -> {_short(after, told != path)}"]


def _short(value: Any, is_duration: bool = False) -> str:
    text = "nothing" if value is None else format_duration(value) if is_duration and type(value) is int else str(value)
    return text if len(text) <= 60 else text[:59] + "…"


def check_spec(spec: ProjectSpec) -> None:
    """Check that everything a declaration names is declared too, and may be named so."""
    for kind in (*_KINDS, "monitors", "retentions"):
        check_count(getattr(spec, kind), kind)
    check_count([check for dataset in spec.datasets for check in dataset.checks], "datasets.checks", MOST_CHECKS)
    for kind in _KINDS:
        for index, declared in enumerate(getattr(spec, kind)):
            check_name(_name(declared), f"{kind}[{index}].name")
    names: dict[str, set[str]] = {kind: set(_named(getattr(spec, kind))) for kind in _KINDS}
    _require(((view.dataset, f"views.{view.name}.dataset") for view in spec.views), names["datasets"], "dataset")
    for service in spec.services:
        field = f"services.{service.name}"
        _require([(service.label.dataset, f"{field}.label")], names["datasets"], "dataset")
        _require(((name, f"{field}.views") for name in service.views), names["views"], "view")
        _require(((name, f"{field}.requests") for name in service.requests), names["requests"], "on-request function")
    _require(
        ((train_spec.service, f"trains.{train_spec.name}.inputs") for train_spec in spec.trains),
        names["services"],
        "feature service",
    )
    _require(
        ((retrain_spec.train, f"retrains.{retrain_spec.deployment}.train") for retrain_spec in spec.retrains),
        names["trains"],
        "training",
    )
    _require(
        ((retrain_spec.deployment, "retrains") for retrain_spec in spec.retrains), names["deployments"], "deployment"
    )
    _require(((name, "monitors") for name in spec.monitors), names["deployments"], "deployment")
    for pipeline in spec.pipelines:
        (check_command if is_command(pipeline) else pipelines.check_declarable)(pipeline)
    for deployment_spec in spec.deployments:
        registry.check_specs(
            deployment_spec.gates, f"deployments.{deployment_spec.name}.gates", task=deployment_spec.task
        )
    _require_once(spec)
    _require_segments(spec)
    for policy in spec.retrains:
        check_policy(policy, spec)
    declared_retention.check(spec.retentions)
    for train in spec.trains:
        if train.alias in (serving.CHAMPION, serving.CANDIDATE):
            raise InvalidInput(
                "a training does not set this alias",
                field=f"trains.{train.name}.alias",
                value=train.alias,
                rule=f"not {serving.CHAMPION} or {serving.CANDIDATE}: rollouts move them, past gates and approvals",
            )


def _require_once(spec: ProjectSpec) -> None:
    """Refuse two declarations of one name: which of them holds would be a question of who reads them."""
    for kind in _KINDS:
        if twice := first_repeated(_name(each) for each in getattr(spec, kind)):
            raise InvalidInput(f"{kind} declares {twice} twice", field=kind, value=twice, rule="each name once")


def _require_segments(spec: ProjectSpec) -> None:
    """Refuse a segment of a model that is trained here which no feature service has: it would never be told."""
    trained = {train.model for train in spec.trains}
    watched = [one for one in spec.deployments if one.model in trained and one.name in spec.monitors]
    segments = [
        (f"deployments.{one.name}.monitor.segments[{index}]", name)
        for one in watched
        for index, name in enumerate(spec.monitors[one.name].segments)
    ]
    columns = {name for service in spec.services for name in _columns(service, spec)} if segments else set()
    for field, name in segments:
        if name not in columns:
            raise InvalidInput(
                f"no feature service has a column {name}, so it is not in the log of predictions",
                field=field,
                value=name,
                rule="a feature of the model",
                next_step=suggest(name, columns),
            )


def _columns(service: ServiceSpec, spec: ProjectSpec) -> list[str]:
    requests, views = {each.name: each for each in spec.requests}, {each.name: each for each in spec.views}
    return features.plan_columns([requests[name] for name in service.requests], [views[name] for name in service.views])


def _require(named: Iterable[tuple[str, str]], known: set[str], what: str) -> None:
    for name, field in named:
        if name not in known:
            raise InvalidInput(
                f"no {what} named {name} is declared",
                field=field,
                value=name,
                rule=f"known: {', '.join(sorted(known))}",
            )
