"""What Prometheus reads on /metrics. Counted in plain numbers, because every request passes here; told when asked."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

_LATENCY_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_BATCH_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 512, 2048, 10_000)
MOST_TARGETS = 1_000
"""How many deployments and datasets have lines of their own; further ones share those without a target."""
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class Gauge(NamedTuple):
    """A value of the moment: its name, what it means, and how to find it out."""

    name: str
    meaning: str
    read: Callable[[], float]


class Histogram:
    """Counts of values at or below each bound.

    Args:
        bounds: Upper bounds, growing; values above the last are counted too.
    """

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds, self.counts, self.total = bounds, [0] * (len(bounds) + 1), 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Return each bound with how many values lie at or below it."""
        running = 0
        buckets = []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            running += count
            buckets.append((bound, float(running)))
        return buckets


class Metrics(Collector):
    """Requests, latencies and batch sizes of one gateway.

    Labels take a bounded number of values: routes and statuses are this gateway's own, and a target is named only by
    who was let in and asked for one that is there.
    """

    def __init__(self) -> None:
        self._requests: dict[tuple[str, str, int], int] = {}
        self._targets: set[str] = set()
        self._latency: dict[str, Histogram] = {}
        self._batches = Histogram(_BATCH_ROWS)
        self._lost_shadows = 0
        self._gauges: list[Gauge] = []
        self._troubles: Callable[[], Mapping[str, int]] = dict
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def watch(self, gauges: Iterable[Gauge]) -> None:
        """Tell these values too from now on."""
        self._gauges += gauges

    def watch_troubles(self, counts: Callable[[], Mapping[str, int]]) -> None:
        """Tell how many troubles of each kind last, from now on."""
        self._troubles = counts

    def observe(self, route: str, target: str, status: int, seconds: float) -> None:
        """Count one answered request of a route on a known deployment or dataset; ``target`` is empty for any other."""
        if target and target not in self._targets:
            if len(self._targets) < MOST_TARGETS:
                self._targets.add(target)
            else:
                target = ""
        key = (route, target, status)
        self._requests[key] = self._requests.get(key, 0) + 1
        latency = self._latency.get(route)
        if latency is None:
            latency = self._latency[route] = Histogram(_LATENCY_S)
        latency.observe(seconds)

    def observe_batch(self, rows: int) -> None:
        """Count one batch."""
        self._batches.observe(rows)

    def count_lost_shadow(self) -> None:
        """Count a batch of shadow answers that could not be kept."""
        self._lost_shadows += 1

    def collect(self) -> Iterator[Metric]:
        """Yield every metric as the client library has it."""
        requests = CounterMetricFamily(
            "loopwright_gateway_requests", "Requests answered", labels=["route", "target", "status"]
        )
        for (route, target, status), count in sorted(self._requests.items()):
            requests.add_metric([route, target, str(status)], count)
        yield requests
        latency = HistogramMetricFamily("loopwright_gateway_latency_seconds", "Time to an answer", labels=["route"])
        for route, histogram in sorted(self._latency.items()):
            latency.add_metric([route], histogram.buckets(), histogram.total)
        yield latency
        batches = HistogramMetricFamily("loopwright_gateway_batch_rows", "Rows answered together")
        batches.add_metric([], self._batches.buckets(), self._batches.total)
        yield batches
        lost = GaugeMetricFamily("loopwright_gateway_shadow_batches_lost", "Batches of shadow answers not kept")
        lost.add_metric([], self._lost_shadows)
        yield lost
        troubles = GaugeMetricFamily("loopwright_gateway_troubles", "What needs a person", labels=["kind"])
        for kind, count in self._troubles().items():
            troubles.add_metric([kind], count)
        yield troubles
        for gauge in self._gauges:
            family = GaugeMetricFamily(f"loopwright_gateway_{gauge.name}", gauge.meaning)
            family.add_metric([], gauge.read())
            yield family

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)
