"""Which run is best, and what happened in one?"""

from collections import Counter
from typing import Any

import msgspec

from loopwright import pipelines, tracking
from loopwright.governance import lineage
from loopwright.kernel.errors import InvalidInput, NotFound
from loopwright.kernel.refs import parse_ref
from loopwright.store.tombstones import missing
from loopwright.tracking import MetricPoint, Run
from loopwright.ui.kit.addresses import address
from loopwright.ui.kit.asking import PAGE_ROWS, Ask
from loopwright.ui.kit.rendering import View, page
from loopwright.ui.kit.svg import Point, Series

MOST_COLUMNS = 4
MOST_BUCKETS = 500
MOST_POINTS = 100_000


class Bucket(msgspec.Struct, frozen=True):
    """Several points of a metric as one: the mean, with the least and the greatest, so that no spike is lost."""

    step: int
    mean: float
    low: float
    high: float
    points: int


def show_experiments(ask: Ask) -> View:
    """Return the experiments, the one that ran last first."""
    return View(
        "tracking/experiments.html", "Experiments", "Experiments", {"experiments": ask(tracking.list_experiments)}
    )


def show_experiment(ask: Ask) -> View:
    """Return a page of runs that match a filter, with the params that differ and the metrics most of them have."""
    name, filter_text, order = ask.part("experiment"), ask.asked("filter"), ask.asked("order")
    problem: dict[str, Any] = {}
    runs: list[Run] = []
    try:
        runs = ask(
            tracking.search_runs,
            experiment=name,
            filter=filter_text,
            order_by=order,
            limit=PAGE_ROWS + 1,
            after=ask.asked("after") or None,
        )
    except InvalidInput as error:
        problem = error.to_dict()
    experiment = next((experiment for experiment in ask(tracking.list_experiments) if experiment.name == name), None)
    if experiment is None:
        step = "see the list of experiments"
        unknown = NotFound("no such experiment", field="experiment", value=name, next_step=step)
        raise missing(ask.tx, "experiment", name, None, unknown)
    shown = runs[:PAGE_ROWS]
    facts = {
        "experiment": experiment,
        "runs": shown,
        "params": _columns([run.params for run in shown], by_difference=True),
        "metrics": _columns([run.metrics for run in shown]),
        "filter": filter_text,
        "order": order,
        "next": shown[-1].run_id if len(runs) > PAGE_ROWS else None,
        "problem": problem,
    }
    return View("tracking/experiment.html", name, "Experiments", facts)


def _columns(documents: list[dict[str, Any]], *, by_difference: bool = False) -> list[str]:
    """Return the keys worth a column: those most rows have, where asked those that differ first."""
    counts = Counter(key for document in documents for key in document)
    if by_difference:
        values = {key: {str(document.get(key)) for document in documents} for key in counts}
        return sorted(counts, key=lambda key: (len(values[key]) < 2, -counts[key], key))[:MOST_COLUMNS]
    return [key for key, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_COLUMNS]]


def show_run(ask: Ask) -> View:
    """Return one run: params, metrics with their course, artifacts, environment, source, what it read and made."""
    run = ask(tracking.get_run, run_id=ask.part("run_id"))
    ref = f"{ask.project}/run:{run.run_id}"
    keys = sorted({*run.metrics, *run.non_finite})
    chosen = ask.asked("metric") or next(iter(keys), "")
    points = decimate(_points(ask, run.run_id, chosen)) if chosen else []
    downstream = ask(lineage.downstream, ref=ref, depth=1)
    facts = {
        "run": run,
        "execution": ask.find(pipelines.get, execution_id=run.execution_id) if run.execution_id else None,
        "metric": chosen,
        "metrics": keys,
        "points": points,
        "upstream": ask(lineage.upstream, ref=ref, depth=1),
        "downstream": downstream,
        "makes_model": any(parse_ref(edge.child).kind == "model" for edge in downstream),
    }
    series = Series(chosen, 1, [Point(bucket.step, bucket.mean, bucket.low, bucket.high) for bucket in points])
    chart = address(ask.project, "runs", run.run_id, "points", metric=chosen)
    return View("tracking/run.html", run.name or run.run_id, "Experiments", facts, {"series": [series], "chart": chart})


def show_points(ask: Ask) -> View:
    """Return the course of one metric of a run, decimated."""
    run_id, metric = ask.part("run_id"), ask.asked("metric")
    ask(tracking.get_run, run_id=run_id)
    found = _points(ask, run_id, metric)
    facts = {"run_id": run_id, "metric": metric, "points": decimate(found), "of": len(found)}
    return View("tracking/points.html", metric, "Experiments", facts)


def _points(ask: Ask, run_id: str, metric: str) -> list[MetricPoint]:
    return ask(tracking.metric_history, run_id=run_id, key=metric, limit=MOST_POINTS)


def decimate(found: list[MetricPoint], most: int = MOST_BUCKETS) -> list[Bucket]:
    """Return at most ``most`` buckets of neighbouring points; what is no number is left out."""
    known = [(metric_point.step, metric_point.value) for metric_point in found if metric_point.value is not None]
    width = max(1, -(-len(known) // most))
    buckets = []
    for start in range(0, len(known), width):
        part = known[start : start + width]
        values = [value for _, value in part]
        buckets.append(Bucket(part[len(part) // 2][0], sum(values) / len(part), min(values), max(values), len(part)))
    return buckets


ROUTES = [
    *page("/experiments", show_experiments),
    *page("/experiments/{experiment}", show_experiment),
    *page("/runs/{run_id}/points", show_points),
    *page("/runs/{run_id}", show_run),
]
