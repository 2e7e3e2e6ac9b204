"""What Prometheus reads on ``/metrics``: what this process answered, and where the platform stands.

A label comes from a list that the code knows (route templates, names of verbs, kinds), never from what a caller sent:
a path as a label is memory that strangers fill.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from loopwright import serving
from loopwright.governance import EVERY_PROJECT, SYSTEM, Actor, Dispatcher, projects
from loopwright.kernel.verbs import VERBS
from loopwright.loop import find_needs
from loopwright.store import sql as store_sql
from loopwright.store.tx import Tx

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OTHER = "other"
"""The label of what is on no list."""
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"})
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class ServerMetrics:
    """Counters of one server process; every request passes here."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "loopwright_http_requests",
            "Requests that were answered, by route template.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._verbs = Histogram(
            "loopwright_verb_seconds",
            "How long verbs, queries and operations called over HTTP took, the wait for news left out.",
            ("verb",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        # Finding the counter of some labels takes longer than counting.
        self._counters: dict[tuple[str, str, str], Counter] = {}
        self._clocks: dict[str, Histogram] = {}

    def count_request(self, method: str, route: str, status: int) -> None:
        """Count one answered request."""
        labels = (method if method in _METHODS else OTHER, route, str(status))
        counter = self._counters.get(labels)
        if counter is None:
            counter = self._counters[labels] = self._requests.labels(*labels)
        counter.inc()

    def observe_verb(self, name: str, seconds: float) -> None:
        """Count one call; a name that is no verb's counts nothing."""
        if name in VERBS:
            clock = self._clocks.get(name)
            if clock is None:
                clock = self._clocks[name] = self._verbs.labels(name)
            clock.observe(seconds)


class CountRequests:
    """Middleware that counts each answer under the template of the route that gave it."""

    def __init__(self, app: ASGIApp, metrics: ServerMetrics, routes: Sequence[BaseRoute]) -> None:
        self._app, self._metrics = app, metrics
        # The router names the endpoint it chose, and each route here has one of its own.
        self._templates: Mapping[Any, str] = {
            base_route.endpoint: base_route.path for base_route in routes if isinstance(base_route, Route)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the application does."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500  # of an error that nobody caught, which is answered further out

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            route = self._templates.get(scope.get("endpoint"), OTHER)
            self._metrics.count_request(scope["method"], route, status)


class _Snapshot(Collector):
    """Gauges read from the database at one moment."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterator[Metric]:
        """Yield the families, see the base class."""
        yield from self._families


def write_metrics(metrics: ServerMetrics, dispatcher: Dispatcher, actor: Actor) -> bytes:
    """Return what an actor may know in Prometheus' text format, read on one snapshot of the database.

    Args:
        metrics: Of this process.
        dispatcher: Of this server.
        actor: Who reads; what needs a person is told of the projects it has a role in, and of the platform, whose
            numbers are those of all projects together, to whom has one in all.
    """
    is_for_all = EVERY_PROJECT in actor.roles
    snapshot = CollectorRegistry()
    with dispatcher.database.reading() as connection:
        tx = dispatcher.tx(connection, SYSTEM, actor)
        if is_for_all:
            snapshot.register(_Snapshot(_platform(tx)))
        named = [project.name for project in projects.list_projects(tx)]
        snapshot.register(_Snapshot([_needs(dispatcher.tx(connection, name, actor) for name in named)]))
    return (generate_latest(metrics.registry) if is_for_all else b"") + generate_latest(snapshot)


def _platform(tx: Tx) -> Iterator[Metric]:
    queues = store_sql.queue_depths(tx)
    jobs = GaugeMetricFamily("loopwright_jobs", "Jobs that wait or run, by kind.", labels=("kind", "state"))
    oldest = GaugeMetricFamily(
        "loopwright_jobs_oldest_seconds", "Age of the oldest job that waits or runs, by kind.", labels=("kind", "state")
    )
    for queue in queues:
        jobs.add_metric((queue.kind, queue.state), queue.jobs)
        oldest.add_metric((queue.kind, queue.state), max(0.0, (tx.wall_us - queue.oldest_at) / 1e6))
    yield from (jobs, oldest)
    unsealed = store_sql.count_unsealed(tx)
    yield GaugeMetricFamily("loopwright_events_unsealed", "Events that are not in the chain yet.", value=unsealed)
    live = len(serving.list_gateways(tx))
    yield GaugeMetricFamily("loopwright_gateways_live", "Gateways that gave a sign of life just now.", value=live)
    size = store_sql.size_bytes(tx)
    yield GaugeMetricFamily("loopwright_database_bytes", "Size of the metadata database.", value=size)


def _needs(snapshots: Iterable[Tx]) -> Metric:
    family = GaugeMetricFamily(
        "loopwright_needs_attention", "What needs a person, see loop.attention.", labels=("project", "kind", "severity")
    )
    for tx in snapshots:
        counts: dict[tuple[str, str], int] = {}
        for need in find_needs(tx):
            counts[need.kind, need.severity] = counts.get((need.kind, need.severity), 0) + need.count
        for (kind, severity), count in sorted(counts.items()):
            family.add_metric((tx.project, kind, severity), count)
    return family
