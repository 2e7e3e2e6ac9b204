"""What Prometheus reads on /metrics; kept in plain counters, because every request passes here."""

from bisect import bisect_left
from collections.abc import Iterator

_LATENCY_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_BATCH_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 512, 2048, 10_000)


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

    def lines(self, name: str, labels: str = "") -> Iterator[str]:
        """Yield the text of a Prometheus histogram."""
        running = 0
        comma = "," if labels else ""
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            running += count
            yield f'{name}_bucket{{{labels}{comma}le="{bound}"}} {running}'
        inside = f"{{{labels}}}" if labels else ""
        yield f"{name}_sum{inside} {self.total:.6f}"
        yield f"{name}_count{inside} {running}"


class Metrics:
    """Requests, latencies and batch sizes of one gateway."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, str, int], int] = {}
        self._latency: dict[str, Histogram] = {}
        self._batches = Histogram(_BATCH_ROWS)
        self._lost_shadows = 0

    def observe(self, route: str, target: str, status: int, seconds: float) -> None:
        """Count one answered request of a route on a deployment or dataset."""
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

    def text(self, gauges: dict[str, float]) -> str:
        """Return everything in Prometheus' text format."""
        lines = ["# TYPE loopwright_gateway_requests_total counter"]
        for (route, target, status), count in sorted(self._requests.items()):
            labels = f'route="{route}",target="{target}",status="{status}"'
            lines.append(f"loopwright_gateway_requests_total{{{labels}}} {count}")
        lines.append("# TYPE loopwright_gateway_latency_seconds histogram")
        for route, latency in sorted(self._latency.items()):
            lines += latency.lines("loopwright_gateway_latency_seconds", f'route="{route}"')
        lines.append("# TYPE loopwright_gateway_batch_rows histogram")
        lines += self._batches.lines("loopwright_gateway_batch_rows")
        gauges = {**gauges, "shadow_batches_lost": self._lost_shadows}
        for name, value in gauges.items():
            lines += [f"# TYPE loopwright_gateway_{name} gauge", f"loopwright_gateway_{name} {value:g}"]
        return "\n".join(lines) + "\n"
