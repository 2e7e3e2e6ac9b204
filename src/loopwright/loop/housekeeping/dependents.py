"""What depends on what: which living things need a thing, so that it cannot go.

Life begins at ``LIFE``: an alias, a release, a job that runs, a declaration that reads. It is handed on along lineage
(``CARRIES``): the training set of a version that serves is needed because the version is, and so are the dataset
versions that the set was joined from. What nothing alive leads to may go; what was made of it keeps its ref.
"""

from collections.abc import Callable, Iterator, Mapping

from loopwright import data, features, pipelines, registry, serving, tracking
from loopwright.governance import lineage
from loopwright.kernel.refs import Ref, parse_ref
from loopwright.loop import sql
from loopwright.loop.housekeeping.nouns import noun_key
from loopwright.loop.training.commands import command_spec, is_command
from loopwright.loop.types import Hold
from loopwright.store import jobs
from loopwright.store.tx import Tx

CARRIES = ("trained_on", "made_by", "refit_of", "joined_from", "read")
"""Relations of lineage along which a thing that is needed needs another."""
_MOST_JOBS = 1000
_OPEN = ["queued", "running"]


Refs = Mapping[str, Ref]
"""Things by their refs as text."""


def find_holds(tx: Tx, targets: Refs) -> tuple[list[Hold], list[str]]:
    """Return what keeps things from being deleted, and what was made of them that lives on without.

    Args:
        tx: The open transaction.
        targets: All that is to go; what holds only another one of them does not count.
    """
    made_from = _reached(tx, targets)
    reached = {**targets, **{ref: parse_ref(ref) for ref in made_from}}
    holds: dict[tuple[str, str], Hold] = {}
    alive: set[str] = set()
    for hold in _alive(tx, reached):
        if hold.by in targets and hold.by != hold.ref:
            continue  # it goes too
        for target, first in _origins(hold.ref, made_from, targets):
            needed = hold
            if first:
                way = "" if hold.ref == first else f" by way of {first}"
                needed = Hold(target, first, f"{hold.ref} was made of it{way}; {hold.why}", hold.next_step)
                alive |= _between(hold.ref, made_from)
            holds.setdefault((needed.ref, needed.by), needed)
    return list(holds.values()), [ref for ref in made_from if ref not in alive]


def _reached(tx: Tx, targets: Refs) -> dict[str, set[str]]:
    """Return what was made of things, directly or not, each with all that it was made of."""
    made_from: dict[str, set[str]] = {}
    frontier = list(targets)
    for _ in range(lineage.MOST_STEPS):
        edges = lineage.made_of(tx, frontier, CARRIES) if frontier else []
        frontier = list({edge.child for edge in edges} - made_from.keys() - targets.keys())
        for edge in edges:
            if edge.child not in targets:
                made_from.setdefault(edge.child, set()).add(edge.parent)
    return made_from


def _origins(ref: str, made_from: Mapping[str, set[str]], targets: Refs) -> Iterator[tuple[str, str]]:
    """Yield the targets that a thing was made from, each with what was made of the target first, empty for itself."""
    waiting, seen = [(ref, "")], {ref}
    while waiting:
        here, first = waiting.pop()
        if here in targets:
            yield here, first
        for parent in sorted(made_from.get(here, ())):
            if parent in targets:
                yield parent, here
            elif parent not in seen:
                seen.add(parent)
                waiting.append((parent, ""))


def _between(ref: str, made_from: Mapping[str, set[str]]) -> set[str]:
    """Return a thing that was made of targets, with all on the way to it."""
    waiting, seen = [ref], {ref}
    while waiting:
        new = (made_from.get(waiting.pop(), set()) & made_from.keys()) - seen
        waiting += new
        seen |= new
    return seen


def _alive(tx: Tx, refs: Refs) -> Iterator[Hold]:
    by_noun: dict[str, dict[str, Ref]] = {}
    for text, ref in refs.items():
        by_noun.setdefault(noun_key(ref), {})[text] = ref
    for key, named in by_noun.items():
        for find in LIFE.get(key, ()):
            yield from find(tx, named)
    yield from _jobs(tx, refs)


def _jobs(tx: Tx, refs: Refs) -> Iterator[Hold]:
    for job in jobs.list_jobs(tx, states=_OPEN, limit=_MOST_JOBS):
        if job.ref in refs:
            step = f"wait for it, or loopwright call jobs.cancel job_id={job.job_id}"
            yield Hold(job.ref, tx.ref("job", job.job_id), f"job {job.job_id} ({job.kind}) works on it", step)


def _views_of_datasets(tx: Tx, refs: Refs) -> Iterator[Hold]:
    for view in features.list_definitions(tx, kind="view"):
        ref = tx.ref("dataset", str(view.spec["dataset"]))
        if ref in refs:
            yield _declared(tx, ref, "feature_view", view.name, "reads it")


def _labels_of_datasets(tx: Tx, refs: Refs) -> Iterator[Hold]:
    for service in features.list_definitions(tx, kind="service"):
        ref = tx.ref("dataset", str(service.spec["label"]["dataset"]))
        if ref in refs:
            yield _declared(tx, ref, "feature_service", service.name, "takes its label from it")


def _later_versions(tx: Tx, refs: Refs) -> Iterator[Hold]:
    for text, ref in refs.items():
        for number in data.built_on(tx, dataset=ref.name, version=ref.version or 0):
            by = tx.ref("dataset", ref.name, number)
            yield Hold(text, by, f"version {number} was built on it and holds its rows", f"delete {by} first")


def _tagged_versions(tx: Tx, refs: Refs) -> Iterator[Hold]:
    for name in {ref.name for ref in refs.values()}:
        for tag in data.list_tags(tx, dataset=name):
            if (text := tx.ref("dataset", name, tag.version)) in refs:
                step = f"loopwright call data.untag dataset={name} tag={tag.tag}"
                yield Hold(text, tx.ref("dataset", name), f"tag {tag.tag} names it", step)


def _newest_content(tx: Tx, refs: Refs) -> Iterator[Hold]:
    """The newest version is what views are filled from: without it the online store would hold what no version does."""
    newest = {
        tx.ref("dataset", dataset.name, dataset.newest): dataset.name
        for dataset in data.list_datasets(tx)
        if dataset.newest
    }
    reads = {str(view.spec["dataset"]): view.name for view in features.list_definitions(tx, kind="view")}
    for text in refs:
        if text in newest and newest[text] in reads:
            view = reads[newest[text]]
            step = "import what is to stand in its place (operation replace); then this version can go"
            yield Hold(text, tx.ref("feature_view", view), f"feature view {view} is filled from it", step)


def _services_of(kind: str) -> Callable[[Tx, Refs], Iterator[Hold]]:
    field = {"feature_view": "views", "feature_request": "requests"}[kind]

    def find(tx: Tx, refs: Refs) -> Iterator[Hold]:
        for service in features.list_definitions(tx, kind="service"):
            for name in service.spec[field]:
                if (ref := tx.ref(kind, name)) in refs:
                    yield _declared(tx, ref, "feature_service", service.name, "is made of it")

    return find


def _served_features(tx: Tx, refs: Refs) -> Iterator[Hold]:
    for deployment, _, plan in serving.served_plans(tx):
        read = [("feature_view", view.name) for view in plan.views]
        read += [("feature_request", request.name) for request in plan.requests]
        for kind, name in [*read, ("feature_service", plan.service)]:
            if (ref := tx.ref(kind, name)) in refs:
                step = f"release a version without it, or loopwright retire {deployment} --reason WHY"
                yield Hold(ref, tx.ref("deployment", deployment), f"deployment {deployment} answers by it", step)


def _trainings(tx: Tx, refs: Refs) -> Iterator[Hold]:
    for pipeline in pipelines.list_pipelines(tx):
        trains = [step.inputs.get("train", {}).get("value") or {} for step in pipeline.spec.steps]
        for ref in {tx.ref("feature_service", train["service"]) for train in trains if "service" in train}:
            if ref in refs:
                yield _declared(tx, ref, "pipeline", pipeline.name, "trains on it")


def _commands(tx: Tx, refs: Refs) -> Iterator[Hold]:
    for pipeline in pipelines.list_pipelines(tx):
        names = command_spec(pipeline.spec).inputs.values() if is_command(pipeline.spec) else []
        for ref in {tx.ref("dataset", name) for name in names}:
            if ref in refs:
                yield _declared(tx, ref, "pipeline", pipeline.name, "reads it")


def _policies(tx: Tx, refs: Refs) -> Iterator[Hold]:
    found = sql.newest_spec(tx)
    for policy in [] if found is None else found[2].retrains:
        if (ref := tx.ref("pipeline", policy.train)) in refs:
            by = tx.ref("retrain_policy", policy.deployment)
            step = "leave the policy out of the project file, then loopwright apply FILE"
            yield Hold(ref, by, f"the policy of deployment {policy.deployment} retrains by it", step)


def _aliases(tx: Tx, refs: Refs) -> Iterator[Hold]:
    for model in sorted({ref.name for ref in refs.values()}):
        for alias in registry.list_aliases(tx, model=model):
            if (ref := tx.ref("model", model, alias.version)) in refs:
                step = f'loopwright call registry.remove_alias model={model} alias={alias.alias} reason="..."'
                yield Hold(ref, tx.ref("alias", f"{model}.{alias.alias}"), f"alias {alias.alias} names it", step)


def _endpoints(tx: Tx, refs: Refs) -> Iterator[Hold]:
    for use in serving.list_uses(tx):
        if (ref := tx.ref("model", use.model, use.version)) in refs:
            step = f"promote another version, or loopwright retire {use.deployment} --reason WHY"
            yield Hold(ref, tx.ref("deployment", use.deployment), f"deployment {use.deployment} {use.how}", step)


def _running(tx: Tx, refs: Refs) -> Iterator[Hold]:
    names = {ref.name: text for text, ref in refs.items()}
    for run_id in tracking.running_among(tx, list(names)):
        step = f"wait for its end, or loopwright call tracking.finish_run run_id={run_id} state=killed"
        yield Hold(names[run_id], names[run_id], f"run {run_id} goes on", step)


def _open_executions(tx: Tx, refs: Refs) -> Iterator[Hold]:
    for execution in pipelines.list_executions(tx, states=_OPEN, limit=_MOST_JOBS):
        if (ref := tx.ref("execution", execution.execution_id)) in refs:
            step = f"wait for its end, or loopwright cancel {execution.execution_id}"
            yield Hold(ref, ref, f"execution {execution.execution_id} is {execution.state}", step)


def _open_retrains(tx: Tx, refs: Refs) -> Iterator[Hold]:
    for retrain in sql.list_retrains(tx, states=["training", "rolling_out"]):
        if (ref := tx.ref("execution", retrain.execution_id)) in refs:
            why = f"retrain {retrain.retrain_id} of {retrain.deployment} is {retrain.state.replace('_', ' ')}"
            yield Hold(ref, tx.ref("retrain", retrain.retrain_id), why, "wait for its end")


def _declared(tx: Tx, ref: str, kind: str, name: str, how: str) -> Hold:
    by = tx.ref(kind, name)
    return Hold(ref, by, f"{kind.replace('_', ' ')} {name} {how}", f"delete {by} first")


LIFE: dict[str, tuple[Callable[[Tx, Refs], Iterator[Hold]], ...]] = {
    "dataset": (_views_of_datasets, _labels_of_datasets, _commands),
    "dataset/": (_later_versions, _newest_content, _tagged_versions),
    "feature_view": (_services_of("feature_view"), _served_features),
    "feature_request": (_services_of("feature_request"), _served_features),
    "feature_service": (_trainings, _served_features),
    "run": (_running,),
    "model/": (_aliases, _endpoints),
    "pipeline": (_policies,),
    "execution": (_open_executions, _open_retrains),
}
"""What gives life to a thing itself, by its noun; whatever it is, a job that works on it does."""
