"""Feature plans: how a request becomes a model's columns, frozen under a digest."""

from collections.abc import Sequence

from loopwright import data
from loopwright.data import KnownAt, known
from loopwright.features import sql
from loopwright.features.events import PlanFrozen
from loopwright.features.meanings import ViewSpecs, meaning_of, plan_columns, used_columns
from loopwright.features.types import (
    DatasetPushSpec,
    FeaturePlan,
    LabelSpec,
    RequestSpec,
    ServiceSpec,
)
from loopwright.features.views import check_columns, find, find_view
from loopwright.kernel.clock import format_duration
from loopwright.kernel.digests import Digest
from loopwright.kernel.documents import convert, digest_of, to_builtins
from loopwright.kernel.errors import InvalidInput, NotFound
from loopwright.kernel.verbs import query, verb
from loopwright.store.tx import Tx


@verb("features.freeze_plan", changes=FeaturePlan)
def freeze_plan(tx: Tx, *, service: str) -> str:
    """Freeze what a service means now and return the plan's digest; the same meaning gives the same digest.

    Raises:
        NotFound: The service, or something it names, is not declared.
        InvalidInput: Two features have one name, or a feature would read what its row does not know yet, as its label.
    """
    spec = convert(find(tx, "service", service).spec, ServiceSpec)
    requests = [convert(find(tx, "request", name).spec, RequestSpec) for name in spec.requests]
    views = [find_view(tx, name) for name in spec.views]
    names = dict.fromkeys([spec.label.dataset, *(view.dataset for view in views)])
    datasets = [push_spec(tx, name) for name in names]
    spine = datasets[0]
    _check_asked(spec.label, spine, requests, views)
    _check_label(spec.label, spine, views)
    if spine.dtypes:
        wanted = [spec.label.column, *(name for request in requests for name in request.inputs)]
        wanted += [view.entity for view in views]
        check_columns(wanted, spine.dtypes, f"dataset {spine.name}", "columns")
    codes = [request.function.digest for request in requests]
    codes += [dataset.transform.digest for dataset in datasets if dataset.transform is not None]
    plan = FeaturePlan(
        service=service,
        time=spine.time,
        key=spine.key,
        requests=requests,
        views=views,
        datasets=datasets,
        columns=plan_columns(requests, views),
        label=spec.label,
        task=spec.task,
        code_digest=codes[0] if codes else "",
    )
    return _keep(tx, plan)


@query("features.plan")
def plan(tx: Tx, *, digest: Digest) -> FeaturePlan:
    """Return a frozen plan."""
    frozen = sql.find_plan(tx, digest)
    if frozen is None:
        raise NotFound(
            "no plan has this digest", field="digest", value=digest, next_step="features.freeze_plan makes one"
        )
    return frozen


def push_spec(tx: Tx, name: str) -> DatasetPushSpec:
    """Return what taking rows of a dataset needs: its declaration, and the dtypes of its newest version."""
    dataset = data.get(tx, dataset=name)
    if dataset.spec.time is None:
        rule = "features need a dataset with time"
        raise InvalidInput(f"dataset {name} has no time", field="dataset", value=name, rule=rule)
    schema = [] if dataset.newest is None else data.get_version(tx, dataset=name, version=dataset.newest).schema
    return DatasetPushSpec(
        name,
        dataset.spec.key,
        dataset.spec.time,
        dataset.spec.known_at,
        dataset.spec.transform,
        {column.name: column.dtype for column in schema},
        dataset.spec.source.zone,
    )


def _check_asked(label: LabelSpec, spine: DatasetPushSpec, requests: Sequence[RequestSpec], views: ViewSpecs) -> None:
    """Refuse what a request cannot carry: the label, and columns that become known later than their row's time.

    Training reads them from the finished row, so a model would learn from the future.
    """
    asked = [("request", request.name, name) for request in requests for name in request.inputs]
    asked += [("view", view.name, view.entity) for view in views]
    for kind, reader, column in asked:
        moment = _asked_moment(spine, column)
        if column == label.column:
            why, step = "is the label", "leave it out"
        elif moment != KnownAt(spine.time):
            delay = f"{format_duration(moment.after_us)} after " if moment.after_us else "at "
            why = f"is known only {delay}{moment.column}"
            step = f'leave it out; or, if it is known by then, say known_at={{"{column}": "{spine.time}"}}'
        else:
            continue
        rule = f"a request is answered at {spine.time}, with what its row knows by then"
        message = f"{kind} {reader} reads {column}, which {why}"
        raise InvalidInput(message, field=f"{kind}.{reader}", value=column, rule=rule, next_step=step)


def _asked_moment(spine: DatasetPushSpec, column: str) -> KnownAt:
    """Return when a row's own value of a column is known; a moment that tells when others are known is known then."""
    if column not in spine.known_at:
        if column in (spine.time, *spine.key):
            return KnownAt(spine.time)
        if any(moment.column == column for moment in spine.known_at.values()):
            return KnownAt(column)
    return known.known_moment(spine, column)


def _check_label(label: LabelSpec, spine: DatasetPushSpec, views: ViewSpecs) -> None:
    """Refuse a label that would be seen by features of its own row because it counts as known at once."""
    if known.known_moment(spine, label.column) != KnownAt(spine.time):
        return
    for view in views:
        if view.dataset == label.dataset and label.column in used_columns(view):
            raise InvalidInput(
                f"view {view.name} would tell each row its own label",
                field=f"known_at.{label.column}",
                rule=f"dataset {label.dataset} says when {label.column} becomes known",
                next_step=f'known_at={{"{label.column}": "<column with that moment>"}}',
            )


def _keep(tx: Tx, plan: FeaturePlan) -> str:
    document = to_builtins(plan)
    document.pop("code_digest")
    meaning = digest_of(meaning_of(document))
    kept = sql.find_plan_by_meaning(tx, meaning)
    if kept is not None:
        return kept
    digest = digest_of(plan)
    sql.insert_plan(tx, digest, meaning, plan, tx.wall_us)
    tx.emit(PlanFrozen(digest=digest, columns=plan.columns), tx.ref("feature_service", plan.service))
    return digest
